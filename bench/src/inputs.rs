//! Inputs that are generated, always the same: a C++ file, a git history, a puzzle for a solver.

use std::fmt::Write as _;

/// A repeatable random source (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// A C++ file of the usual kind: records, containers of them, templates, lambdas; `units` parts of it.
pub fn cpp_file(units: usize) -> String {
    let mut text = String::from(
        "#include <algorithm>\n#include <functional>\n#include <map>\n#include <memory>\n#include <string>\n\
         #include <unordered_map>\n#include <vector>\n#include <sstream>\n\n\
         template <int N, typename T> struct Chain { T head; Chain<N - 1, T> tail;\n\
         T sum() const { return head + tail.sum(); } };\n\
         template <typename T> struct Chain<0, T> { T sum() const { return T(); } };\n\n",
    );
    for unit in 0..units {
        let _ = write!(
            text,
            "struct Record{unit} {{ int id; std::string name; std::vector<double> values; \
             std::map<std::string, std::shared_ptr<Record{unit}>> children; }};\n\
             static double total{unit}(const std::vector<Record{unit}> &all) {{\n\
             \x20 double sum = 0;\n\
             \x20 std::unordered_map<std::string, std::function<double(double)>> steps;\n\
             \x20 steps[\"scale\"] = [&](double x) {{ return x * {unit}.5; }};\n\
             \x20 steps[\"shift\"] = [&](double x) {{ return x + double(all.size()); }};\n\
             \x20 for (const auto &record : all)\n\
             \x20   for (double value : record.values) for (const auto &step : steps) sum += step.second(value);\n\
             \x20 return sum;\n}}\n\
             std::string describe{unit}(std::vector<Record{unit}> all) {{\n\
             \x20 std::sort(all.begin(), all.end(), [](const auto &a, const auto &b) {{ return a.name < b.name; }});\n\
             \x20 std::ostringstream out;\n\
             \x20 Chain<{depth}, long> chain{{}};\n\
             \x20 for (auto &record : all) {{ record.values.push_back(record.id); out << record.name << chain.sum(); }}\n\
             \x20 out << total{unit}(all);\n\
             \x20 return out.str();\n}}\n\n",
            depth = unit % 9 + 2,
        );
    }
    text
}

/// A history for `git fast-import`: files of random words that are changed a little in each commit.
pub fn git_history(commits: usize) -> String {
    const FILES: usize = 60;
    let mut random = Random(3);
    let mut files: Vec<Vec<String>> =
        (0..FILES).map(|_| (0..80).map(|_| line_of_words(&mut random)).collect()).collect();
    let mut stream = String::new();
    for commit in 0..commits {
        let message = format!("change {commit}\n");
        let time = 1_600_000_000 + commit * 600;
        let _ = write!(
            stream,
            "commit refs/heads/main\ncommitter A B <a@example.org> {time} +0000\ndata {}\n{message}",
            message.len()
        );
        let touched: Vec<usize> =
            if commit == 0 { (0..FILES).collect() } else { (0..3).map(|_| random.below(FILES)).collect() };
        for file in touched {
            let lines = &mut files[file];
            for _ in 0..6 {
                let at = random.below(lines.len());
                lines[at] = line_of_words(&mut random);
            }
            lines.insert(random.below(lines.len()), line_of_words(&mut random));
            let text = lines.concat();
            let _ = write!(
                stream,
                "M 100644 inline folder{}/file{file}\ndata {}\n{text}\n",
                file % 7,
                text.len()
            );
        }
    }
    stream
}

fn line_of_words(random: &mut Random) -> String {
    const WORDS: [&str; 16] = [
        "block", "span", "owner", "free", "heap", "thread", "mark", "page", "slice", "class", "bin", "site",
        "sweep", "root", "word", "bit",
    ];
    let mut line = String::new();
    for _ in 0..4 + random.below(8) {
        let _ = write!(line, "{}{} ", WORDS[random.below(WORDS.len())], random.below(1000));
    }
    line.push('\n');
    line
}

/// Two questions for an SMT solver: a magic square of order 4 in integers (search), and whether a word of
/// `a b c` equals its reverse in a group whose squares vanish (quantifiers, many terms made). The second is
/// cut off by the solver's own deterministic work limit.
pub fn solver_puzzle() -> String {
    const N: usize = 4;
    let cell = |row: usize, column: usize| format!("x{row}_{column}");
    let total = N * (N * N + 1) / 2;
    let mut text = String::new();
    let all: Vec<String> = (0..N * N).map(|i| cell(i / N, i % N)).collect();
    for name in &all {
        let _ =
            writeln!(text, "(declare-const {name} Int) (assert (and (<= 1 {name}) (<= {name} {})))", N * N);
    }
    let _ = writeln!(text, "(assert (distinct {}))", all.join(" "));
    let mut lines: Vec<Vec<String>> = Vec::new();
    for i in 0..N {
        lines.push((0..N).map(|j| cell(i, j)).collect());
        lines.push((0..N).map(|j| cell(j, i)).collect());
    }
    lines.push((0..N).map(|i| cell(i, i)).collect());
    lines.push((0..N).map(|i| cell(i, N - 1 - i)).collect());
    for line in lines {
        let _ = writeln!(text, "(assert (= {total} (+ {})))", line.join(" "));
    }
    text.push_str(
        "(check-sat)\n(reset)\n(declare-sort G 0)\n(declare-fun m (G G) G)\n(declare-fun i (G) G)\n\
         (declare-const e G)\n\
         (assert (forall ((x G) (y G) (z G)) (! (= (m (m x y) z) (m x (m y z)))\n\
         \x20 :pattern ((m (m x y) z)) :pattern ((m x (m y z))))))\n\
         (assert (forall ((x G)) (! (= (m e x) x) :pattern ((m e x)))))\n\
         (assert (forall ((x G)) (! (= (m (i x) x) e) :pattern ((i x)))))\n\
         (assert (forall ((x G)) (! (= (m x x) e) :pattern ((m x x)))))\n\
         (declare-const a G)\n(declare-const b G)\n(declare-const c G)\n\
         (assert (not (= (m (m a b) c) (m (m c b) a))))\n(check-sat)\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_always_the_same() {
        assert_eq!(git_history(20), git_history(20));
        assert_eq!(cpp_file(5), cpp_file(5));
        assert!(solver_puzzle().matches("(check-sat)").count() == 2);
    }

    #[test]
    fn shuffle_keeps_all() {
        let mut items: Vec<u32> = (0..100).collect();
        Random(1).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}

//! What the doctor says: lines of a fact and what follows from it, and one verdict over all of them.

use std::fmt::Write;

/// Widest line that is printed, in columns.
const WIDTH: usize = 98;
/// Where facts begin: after the level's name.
const INDENT: usize = 9;

/// How bad a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; it takes nothing away.
    Note,
    /// Something of what heapkeeper gives will be missing.
    Warning,
    /// The program will not run on our heap.
    Problem,
}

impl Level {
    /// The word that its lines begin with.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }

    /// The terminal's code for its colour.
    const fn colour(self) -> &'static str {
        match self {
            Level::Ok => "\x1b[32m",
            Level::Note => "\x1b[36m",
            Level::Warning => "\x1b[33m",
            Level::Problem => "\x1b[1;31m",
        }
    }
}

/// A fact, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub fact: String,
    /// What that means for a run, or what to do.
    pub follows: String,
}

impl Line {
    /// A line of this level.
    pub fn new(level: Level, fact: impl Into<String>, follows: impl Into<String>) -> Self {
        Line { level, fact: fact.into(), follows: follows.into() }
    }
}

/// What all lines together mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is missing.
    Works,
    /// There are warnings.
    WorksWithLimits,
    /// There is a problem.
    NotCovered,
}

impl Verdict {
    /// Exit status of the verb: 0 if the program will run on our heap, 1 if not.
    pub const fn exit_status(self) -> u8 {
        match self {
            Verdict::Works | Verdict::WorksWithLimits => 0,
            Verdict::NotCovered => 1,
        }
    }
}

/// All lines, in sections.
#[derive(Debug, Default)]
pub struct Diagnosis {
    sections: Vec<(&'static str, Vec<Line>)>,
}

impl Diagnosis {
    /// Appends a section; one without lines is left out.
    pub fn add(&mut self, title: &'static str, lines: Vec<Line>) {
        if !lines.is_empty() {
            self.sections.push((title, lines));
        }
    }

    /// The worst level decides.
    pub fn verdict(&self) -> Verdict {
        match self.lines().map(|line| line.level).max() {
            Some(Level::Problem) => Verdict::NotCovered,
            Some(Level::Warning) => Verdict::WorksWithLimits,
            _ => Verdict::Works,
        }
    }

    /// The text, with the terminal's colour codes if `colour`.
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for (title, lines) in &self.sections {
            let _ = writeln!(out, "{}", paint(colour, "\x1b[1m", title));
            for line in lines {
                render_line(&mut out, line, colour);
            }
            out.push('\n');
        }
        let (word, level) = match self.verdict() {
            Verdict::Works => ("works".to_owned(), Level::Ok),
            Verdict::WorksWithLimits => {
                (format!("works with limits: {}", self.first(Level::Warning)), Level::Warning)
            }
            Verdict::NotCovered => {
                (format!("will not be covered: {}", self.first(Level::Problem)), Level::Problem)
            }
        };
        for (i, part) in wrap(&word, WIDTH - INDENT).iter().enumerate() {
            let head = if i == 0 { "verdict  " } else { "         " };
            let _ =
                writeln!(out, "{}{}", paint(colour, "\x1b[1m", head), paint(colour, level.colour(), part));
        }
        out
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.sections.iter().flat_map(|(_, lines)| lines)
    }

    /// The first fact of a level, and how many more there are.
    fn first(&self, level: Level) -> String {
        let mut facts = self.lines().filter(|line| line.level == level).map(|line| line.fact.as_str());
        let first = facts.next().unwrap_or_default();
        match facts.count() {
            0 => first.to_owned(),
            more => format!("{first} (and {more} more {}{})", level.name(), if more == 1 { "" } else { "s" }),
        }
    }
}

fn render_line(out: &mut String, line: &Line, colour: bool) {
    let level = format!("{:<width$}", line.level.name(), width = INDENT);
    let mut head = paint(colour, line.level.colour(), &level);
    for part in wrap(&line.fact, WIDTH - INDENT) {
        let _ = writeln!(out, "{head}{part}");
        head = " ".repeat(INDENT);
    }
    let mut head = format!("{}→ ", " ".repeat(INDENT));
    for part in wrap(&line.follows, WIDTH - INDENT - 2) {
        let _ = writeln!(out, "{}", paint(colour, "\x1b[2m", &format!("{head}{part}")));
        head = " ".repeat(INDENT + 2);
    }
}

fn paint(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("{code}{text}\x1b[0m") } else { text.to_owned() }
}

/// Breaks a text at spaces so that no line is wider than `width` columns, but for words that are.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis(levels: &[Level]) -> Diagnosis {
        let mut diagnosis = Diagnosis::default();
        diagnosis.add(
            "here",
            levels.iter().map(|&l| Line::new(l, format!("a {} fact", l.name()), "so")).collect(),
        );
        diagnosis
    }

    #[test]
    fn the_worst_line_decides() {
        assert_eq!(diagnosis(&[]).verdict(), Verdict::Works);
        assert_eq!(diagnosis(&[Level::Ok, Level::Note]).verdict(), Verdict::Works);
        assert_eq!(diagnosis(&[Level::Warning, Level::Ok]).verdict(), Verdict::WorksWithLimits);
        assert_eq!(diagnosis(&[Level::Warning, Level::Problem, Level::Ok]).verdict(), Verdict::NotCovered);
        assert_eq!(
            [0, 0, 1],
            [Verdict::Works, Verdict::WorksWithLimits, Verdict::NotCovered].map(Verdict::exit_status)
        );
    }

    #[test]
    fn the_verdict_names_the_first_of_the_worst() {
        let text = diagnosis(&[Level::Note, Level::Warning, Level::Warning]).render(false);
        assert!(
            text.ends_with("verdict  works with limits: a warning fact (and 1 more warning)\n"),
            "{text}"
        );
        assert!(!text.contains('\x1b'));
        assert!(diagnosis(&[Level::Ok]).render(true).contains("\x1b[32mok"));
    }

    #[test]
    fn lines_stay_within_the_width() {
        let mut diagnosis = Diagnosis::default();
        let long = "word ".repeat(80);
        diagnosis.add("here", vec![Line::new(Level::Note, long.trim(), long.trim())]);
        for line in diagnosis.render(false).lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert_eq!(wrap("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrap("abcdefgh i", 4), ["abcdefgh", "i"]);
    }
}

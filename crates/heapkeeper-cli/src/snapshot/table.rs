//! Tables for a terminal: numbers to the right, what they are about last and to the left.

use hk_report::bytes;

/// Columns that a line has at most, where that is in our hands.
pub const WIDTH: usize = 100;

/// Between the links of a chain.
const ARROW: &str = " ← ";

/// Rows of cells, of which the last one is text.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these heads.
    pub fn new(heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|&head| head.into()).collect()] }
    }

    /// One more row, with as many cells.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a table's rows are of one length");
        self.rows.push(cells);
    }

    /// One more row whose text is a chain of links: on more lines than one if it finds no room on one.
    fn chain_row(&mut self, cells: &[String], links: &[String], room: usize) {
        let blank = vec![String::new(); cells.len()];
        for (at, line) in wrapped(links, room).into_iter().enumerate() {
            let before = if at == 0 { cells } else { &blank };
            self.row(before.iter().cloned().chain([line]).collect());
        }
    }

    /// With these heads, and rows whose text is a chain of links.
    pub fn of_chains(heads: &[&str], rows: &[(Vec<String>, &[String])]) -> Table {
        // How wide the numbers are has to be known before chains are wrapped.
        let mut numbers = Table::new(heads);
        rows.iter().for_each(|(cells, _)| numbers.row([&cells[..], &[String::new()]].concat()));
        let mut table = Table::new(heads);
        rows.iter().for_each(|(cells, links)| table.chain_row(cells, links, numbers.room()));
        table
    }

    /// The lines, two blanks from the left.
    pub fn text(&self) -> String {
        let numbers = self.rows[0].len() - 1;
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..numbers).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("  {cell:>width$}"));
            let line = format!("{}  {}", cells.collect::<String>(), row[numbers]);
            format!("{}\n", line.trim_end())
        };
        self.rows.iter().map(line).collect()
    }

    /// How wide the last cell may be, if the others are as the rows are so far.
    fn room(&self) -> usize {
        let numbers = self.rows[0].len() - 1;
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count() + 2).max().unwrap_or(0);
        WIDTH.saturating_sub((0..numbers).map(width).sum::<usize>() + 2)
    }
}

/// The links of a chain that find room, of which the first is always there. Where not all do, functions go without their lines: first all but the
/// innermost, then that one too, if more of them are seen then.
pub fn fit(links: &[String], room: usize) -> String {
    let without_lines: Vec<String> = links.iter().map(|link| function(link).to_owned()).collect();
    let mut first_with_line = without_lines.clone();
    if let (Some(first), Some(link)) = (first_with_line.first_mut(), links.first()) {
        first.clone_from(link);
    }
    let mut best = (0, String::new());
    for variant in [links, &first_with_line, &without_lines] {
        let (shown, text) = cut(variant, room);
        if shown > best.0 {
            best = (shown, text);
        }
    }
    best.1
}

/// All links, on as many lines as they need.
fn wrapped(links: &[String], room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for link in links {
        match lines.last_mut() {
            None => lines.push(link.clone()),
            Some(line) if line.chars().count() + link.chars().count() + 3 <= room => {
                line.push_str(ARROW);
                line.push_str(link);
            }
            Some(_) => lines.push(format!(" {ARROW}{link}")),
        }
    }
    lines
}

/// How many links find room, and they.
fn cut(links: &[String], room: usize) -> (usize, String) {
    let mut text = String::new();
    for (at, link) in links.iter().enumerate() {
        let left = room.saturating_sub(text.chars().count() + ARROW.chars().count());
        // What is left out has to be marked, and that takes room too.
        let marked = if at + 1 == links.len() { 0 } else { 4 };
        match at {
            0 => text.push_str(link),
            _ if link.chars().count() + marked <= left => {
                text.push_str(ARROW);
                text.push_str(link);
            }
            _ => return (at, text + " ← …"),
        }
    }
    (links.len(), text)
}

/// `session_open` of `session_open leaky.c:13`.
fn function(link: &str) -> &str {
    let is_place = |word: &str| word.rsplit_once(':').is_some_and(|(_, line)| line.parse::<u32>().is_ok());
    link.rsplit_once(' ').filter(|(_, word)| is_place(word)).map_or(link, |(function, _)| function)
}

/// `53.3 %`.
pub fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".into(),
        whole => format!("{:.1} %", part as f64 * 100.0 / whole as f64),
    }
}

/// A difference in bytes, with its sign: `+1.5 MiB`.
pub fn signed(before: u64, after: u64) -> String {
    let sign = match after.cmp(&before) {
        std::cmp::Ordering::Less => "−",
        std::cmp::Ordering::Equal => "",
        std::cmp::Ordering::Greater => "+",
    };
    format!("{sign}{}", bytes(after.abs_diff(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = Table::new(&["bytes", "site"]);
        table.row(vec!["1.0 KiB".into(), "session_open".into()]);
        table.row(vec!["9 bytes".into(), String::new()]);
        assert_eq!(table.text(), "    bytes  site\n  1.0 KiB  session_open\n  9 bytes\n");
        assert_eq!(table.room(), WIDTH - 11);
    }

    #[test]
    fn links_that_find_no_room_are_marked() {
        let links = ["strdup", "session_open a.c:1", "main a.c:9"].map(String::from);
        assert_eq!(fit(&links, 80), "strdup ← session_open a.c:1 ← main a.c:9");
        assert_eq!(fit(&links, 40), "strdup ← session_open a.c:1 ← main a.c:9");
        assert_eq!(fit(&links, 39), "strdup ← session_open ← main");
        assert_eq!(fit(&links, 27), "strdup ← session_open ← …");
        assert_eq!(fit(&links[1..], 26), "session_open a.c:1 ← main");
        assert_eq!(fit(&links[1..], 24), "session_open ← main");
        assert_eq!(fit(&links, 5), "strdup ← …");
    }

    #[test]
    fn chains_in_tables_are_wrapped() {
        let links = ["strdup", "session_open a.c:1", "main a.c:9"].map(String::from);
        assert_eq!(wrapped(&links, 80), ["strdup ← session_open a.c:1 ← main a.c:9"]);
        assert_eq!(wrapped(&links, 30), ["strdup ← session_open a.c:1", "  ← main a.c:9"]);
        let table = Table::of_chains(&["n", "site"], &[(vec!["12".into()], &links)]);
        assert_eq!(table.text(), "   n  site\n  12  strdup ← session_open a.c:1 ← main a.c:9\n");
    }

    #[test]
    fn differences_have_signs() {
        assert_eq!(signed(0, 1536), "+1.5 KiB");
        assert_eq!(signed(1536, 0), "−1.5 KiB");
        assert_eq!(signed(5, 5), "0 bytes");
    }
}

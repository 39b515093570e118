//! The account as text: two lines a part, the largest first.

use super::{Answer, PartRow};
use crate::snapshot::{Names, Page, Table, WIDTH};
use hk_report::{bytes, clean, count};

/// Parts of a name that have less tenths of a percent are told together.
const NAMED_PERMILLE_MIN: u64 = 5;

/// Parts below this have no advice.
const ADVICE_PERMILLE_MIN: u64 = 5;
/// What the numbers leave of a line.
const ROOM: usize = WIDTH - 24;

/// Numbers begin before this column, advice behind it.
const ADVICE_INDENT_MIN: usize = 16;

/// Writes it.
pub fn text(page: &mut Page, answer: &Answer, names: &Names<'_>) {
    let live = answer.head.live;
    page.line(&format!(
        "{}: {} resident (RSS), {} live in {}",
        names.process(),
        bytes(answer.resident_bytes),
        bytes(live.bytes),
        count(live.blocks, "block")
    ));
    page.line("");
    let mut table = Table::new(&["bytes", "of RSS", "part"]);
    let told = told(&answer.parts);
    for row in &told {
        let mark = if row.is_estimate { "≈ " } else { "" };
        let percent = format!("{}.{} %", row.permille / 10, row.permille % 10);
        table.row(vec![format!("{mark}{}", bytes(row.bytes)), percent, named(row)]);
        if row.permille >= ADVICE_PERMILLE_MIN {
            let lines = wrapped(&row.advice).into_iter();
            lines.for_each(|line| table.row(vec![String::new(), String::new(), line]));
        }
    }
    let permille: u64 = told.iter().map(|row| row.permille).sum();
    let sum = format!("{}.{} %", permille / 10, permille % 10);
    table.row(vec![bytes(answer.resident_bytes), sum, "RSS".into()]);
    for line in table.text().lines() {
        // Advice has no numbers before it.
        match line.len() - line.trim_start().len() {
            0..ADVICE_INDENT_MIN => page.line(line),
            _ => page.remark(line),
        }
    }
    remarks(page, answer);
}

/// Small parts of one kind, which differ by name alone, are one.
fn told(parts: &[PartRow]) -> Vec<PartRow> {
    let mut told: Vec<PartRow> = Vec::new();
    let mut small: Vec<(PartRow, u64)> = Vec::new();
    for part in parts {
        if part.name.is_empty() || part.permille >= NAMED_PERMILLE_MIN {
            told.push(part.clone());
        } else if let Some((sum, parts)) = small.iter_mut().find(|(sum, _)| sum.part == part.part) {
            sum.bytes += part.bytes;
            sum.permille += part.permille;
            *parts += 1;
        } else {
            small.push((part.clone(), 1));
        }
    }
    told.extend(small.into_iter().map(|(sum, parts)| match parts {
        1 => sum,
        parts => PartRow { name: format!("{parts} others"), ..sum },
    }));
    told.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    told
}

/// The title and a name, of which the end is shown if there is no room for it.
fn named(row: &PartRow) -> String {
    if row.name.is_empty() {
        return row.title.clone();
    }
    let name = clean(&row.name);
    let room = ROOM.saturating_sub(row.title.chars().count() + 2);
    match name.chars().count().checked_sub(room) {
        None | Some(0) => format!("{}: {name}", row.title),
        Some(over) => format!("{}: …{}", row.title, name.chars().skip(over + 1).collect::<String>()),
    }
}

/// A sentence on as many lines as it needs.
fn wrapped(sentence: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= ROOM => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

fn remarks(page: &mut Page, answer: &Answer) {
    let mut remarks = Vec::new();
    let blocks = count(answer.known_requests, "block");
    match answer.parts.iter().any(|row| row.is_estimate) {
        true => remarks.push(format!("≈ estimated by {blocks} whose requested size was recorded")),
        false if answer.has_rounded => remarks.push(format!(
            "what rounding up takes of live blocks is not told: requested sizes were recorded of {blocks}"
        )),
        false => {}
    }
    remarks.push(format!("beside RSS: {} of page tables", bytes(answer.page_table_bytes)));
    if answer.swapped_bytes > 0 {
        remarks.push(format!("and {} swapped out", bytes(answer.swapped_bytes)));
    }
    page.remark(&format!("\n{}", remarks.join("\n")));
}

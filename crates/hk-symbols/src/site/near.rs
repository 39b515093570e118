//! Names that somebody may have meant who misspelt one.

use std::collections::BTreeSet;

/// Names that are suggested.
const NAMES_MAX: usize = 3;
/// Longer names are not compared letter by letter.
const CHARS_MAX: usize = 100;

/// Those that are nearest to what was asked for, nearest first; none that are far.
pub(super) fn names(asked: &str, there: impl Iterator<Item = String>) -> Vec<String> {
    let wanted = asked.to_lowercase();
    let wanted_last = last_part(&wanted);
    let distance = |name: &String| {
        let name = name.to_lowercase();
        let last = last_part(&name);
        let enough = wanted_last.chars().count().div_ceil(3).max(1);
        let apart = letters_apart(wanted_last, last);
        // A part of the name is as good as one letter less.
        let part = wanted_last.len() > 2 && last.contains(wanted_last);
        (apart <= enough || part).then_some(if part { apart.min(2) } else { apart })
    };
    let all: BTreeSet<String> = there.collect();
    let mut near: Vec<(usize, &String)> =
        all.iter().filter_map(|name| Some((distance(name)?, name))).collect();
    near.sort();
    near.into_iter().take(NAMES_MAX).map(|(_, name)| name.clone()).collect()
}

fn last_part(name: &str) -> &str {
    let before_parameters = name.split('(').next().unwrap_or(name);
    before_parameters.rsplit("::").next().unwrap_or(before_parameters)
}

/// How many letters have to be changed, added or left out (Levenshtein).
fn letters_apart(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > CHARS_MAX / 10 || a.len().max(b.len()) > CHARS_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near() {
        let there = ["order_total", "order_totals", "main", "shop::Table::close", "release"];
        let near = |asked| names(asked, there.iter().map(|name| (*name).to_owned()));
        assert_eq!(near("order_totl"), ["order_total", "order_totals"]);
        assert_eq!(near("Table::clsoe"), ["shop::Table::close"]);
        assert_eq!(near("total"), ["order_total", "order_totals"]);
        assert_eq!(near("Main"), ["main"]);
        assert!(near("unheard_of").is_empty());
    }
}

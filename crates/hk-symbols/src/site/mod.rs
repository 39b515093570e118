//! From a place in the code, as a person names it, to the addresses that it has in the program's file.
//!
//! A function has as many places as it has overloads, clones and callers that it was inlined into: all of them are meant.

mod functions;
mod lines;
mod near;

use crate::elf::{Bytes, Image};
use crate::search::{self, DebugFolders};
use std::ops::Range;
use std::path::Path;

/// Why there are no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SiteError {
    /// The file is no program, or has neither symbols nor debug information.
    NoProgram,
    /// A line was asked for, and there is no debug information.
    NoLines,
    /// There is no such function, file, or line with code; what is there that is near to it.
    Unknown(Vec<String>),
}

/// Where a site's code lies: `FUNC` (as `close`, `Shop::close`, `shop::close(int)`) or `FILE:LINE`. The ranges are sorted and apart.
pub fn find_site(path: &Path, site: &str, folders: &DebugFolders) -> Result<Vec<Range<u64>>, SiteError> {
    let image = Image::open(path).ok_or(SiteError::NoProgram)?;
    let debug = match image.has_debug_info() {
        true => None,
        false => search::debug_file(Some(&image), path, &image.build_id(), folders),
    };
    let source = debug.as_ref().unwrap_or(&image);
    let dwarf = source.has_debug_info().then(|| dwarf(source, folders)).flatten();
    let found = match line(site) {
        Some((file, line)) => lines::find(&dwarf.ok_or(SiteError::NoLines)?, file, line)?,
        None => functions::find(dwarf.as_ref(), &symbols(source, &image), site)?,
    };
    Ok(united(found))
}

/// `orders.c:12`.
fn line(site: &str) -> Option<(&str, u64)> {
    let (file, line) = site.rsplit_once(':')?;
    let is_file = !file.is_empty() && !file.ends_with(':');
    is_file.then(|| Some((file, line.parse().ok()?)))?
}

fn dwarf(image: &Image, folders: &DebugFolders) -> Option<gimli::Dwarf<Bytes>> {
    let mut dwarf = image.dwarf()?;
    if let Some(shared) = search::supplement(image, folders).and_then(|found| found.dwarf()) {
        dwarf.set_sup(shared);
    }
    Some(dwarf)
}

fn symbols(source: &Image, image: &Image) -> Vec<crate::elf::Symbol> {
    let symbols = source.functions();
    if symbols.is_empty() { image.functions() } else { symbols }
}

/// Ranges that touch or overlap are one.
fn united(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut apart: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_from_a_function() {
        assert_eq!(line("orders.c:12"), Some(("orders.c", 12)));
        assert_eq!(line("/src/a:b.c:1"), Some(("/src/a:b.c", 1)));
        for function in ["close", "Shop::close", "shop::f::5", ":12", "orders.c:"] {
            assert_eq!(line(function), None, "{function}");
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(united(vec![8..9, 1..3, 3..5, 2..4]), [1..5, 8..9]);
    }
}

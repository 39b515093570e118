//! Lines of source files, from DWARF's line programs.

use super::{SiteError, near};
use crate::elf::Bytes;
use gimli::{Dwarf, LineProgramHeader, Reader, Unit};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Lines with code that are named where the one asked for has none.
const NEAR_LINES: usize = 3;

pub(super) fn find(dwarf: &Dwarf<Bytes>, file: &str, line: u64) -> Result<Vec<Range<u64>>, SiteError> {
    let mut search = Search {
        file: Path::new(file),
        line,
        found: Vec::new(),
        lines: BTreeSet::new(),
        files: BTreeSet::new(),
    };
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        if let Ok(unit) = dwarf.unit(header) {
            // A damaged unit is left out.
            let _ = search.unit(dwarf, &unit);
        }
    }
    match search.found.is_empty() {
        false => Ok(search.found),
        true => Err(SiteError::Unknown(search.near())),
    }
}

struct Search<'a> {
    file: &'a Path,
    line: u64,
    found: Vec<Range<u64>>,
    /// Those of the file that have code.
    lines: BTreeSet<u64>,
    files: BTreeSet<PathBuf>,
}

impl Search<'_> {
    fn unit(&mut self, dwarf: &Dwarf<Bytes>, unit: &Unit<Bytes>) -> gimli::Result<()> {
        let Some(program) = unit.line_program.clone() else { return Ok(()) };
        let mut is_asked: Vec<Option<bool>> = Vec::new();
        let mut rows = program.rows();
        // Where the line's code began that goes on to the next row.
        let mut since: Option<u64> = None;
        while let Some((header, row)) = rows.next_row()? {
            if let Some(start) = since.take()
                && start != 0
                && start < row.address()
            {
                self.found.push(start..row.address());
            }
            let index = row.file_index() as usize;
            if is_asked.len() <= index {
                is_asked.resize(index + 1, None);
            }
            let asked =
                *is_asked[index].get_or_insert_with(|| self.is_asked(dwarf, unit, header, row.file_index()));
            let Some(line) = row.line().filter(|_| asked && !row.end_sequence()) else { continue };
            self.lines.insert(line.get());
            since = (line.get() == self.line).then(|| row.address());
        }
        Ok(())
    }

    /// Whether a file of a line program is the one that is asked for: by the end of its path.
    fn is_asked(
        &mut self,
        dwarf: &Dwarf<Bytes>,
        unit: &Unit<Bytes>,
        header: &LineProgramHeader<Bytes>,
        index: u64,
    ) -> bool {
        let Some(file) = header.file(index) else { return false };
        let text = |value| {
            let raw: Bytes = dwarf.attr_string(unit, value).ok()?;
            Some(raw.to_string_lossy().ok()?.into_owned())
        };
        let mut path = unit.comp_dir.as_ref().and_then(|dir| Some(dir.to_string_lossy().ok()?.into_owned()));
        let mut path = PathBuf::from(path.take().unwrap_or_default());
        path.extend(file.directory(header).and_then(text));
        path.extend(text(file.path_name()));
        let asked = path.ends_with(self.file.strip_prefix("./").unwrap_or(self.file));
        self.files.insert(path);
        asked
    }

    fn near(&self) -> Vec<String> {
        if self.lines.is_empty() {
            let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
            let asked = self.file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            return near::names(&asked, self.files.iter().filter_map(name));
        }
        let mut lines: Vec<u64> = self.lines.iter().copied().collect();
        lines.sort_by_key(|line| line.abs_diff(self.line));
        lines.truncate(NEAR_LINES);
        lines.sort_unstable();
        lines.iter().map(|line| format!("{}:{line}", self.file.display())).collect()
    }
}

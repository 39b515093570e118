//! The text of source lines, where the source is there.

use crate::fold::is_library;
use crate::model::StackFrame;
use std::fs;
use std::path::Path;

/// Larger files are no source.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Longer lines are cut.
const LINE_CHARS_MAX: usize = 160;

/// Adds the text of the lines that a stack's own frames are at.
pub(crate) fn add_lines(stack: &mut [StackFrame]) {
    for frame in stack.iter_mut().filter(|frame| !is_library(frame)) {
        if let (Some(file), Some(line)) = (&frame.file, frame.line) {
            frame.source = line_of(Path::new(file), line);
        }
    }
}

fn line_of(file: &Path, line: u32) -> Option<String> {
    let about = fs::metadata(file).ok().filter(|about| about.is_file() && about.len() <= FILE_BYTES_MAX)?;
    let bytes = fs::read(file).ok().filter(|bytes| bytes.len() as u64 <= about.len())?;
    let line = bytes.split(|&byte| byte == b'\n').nth(line.checked_sub(1)? as usize)?;
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(LINE_CHARS_MAX).collect())
}

//! Follows a recording while it is written, and gives each finding once.

use crate::recording::{Body, Record, Recording, RecordingError, Step};
use hk_format::RecordState;
use std::time::{Duration, Instant};

/// How long a record whose length is missing holds up those behind it. Its writer is two instructions
/// from writing the length; if that takes longer, it is dead, and the final reading counts it as torn.
const HOLE_PATIENCE: Duration = Duration::from_secs(1);
const HOLE_STEP_BYTES: u64 = 64;

/// A position in a recording, and the findings before it whose stacks were not complete yet.
#[derive(Debug, Default)]
pub struct Tail {
    offset: Option<u64>,
    incomplete: Vec<u64>,
    hole_since: Option<Instant>,
}

impl Tail {
    /// At the start of the records.
    pub fn new() -> Tail {
        Tail::default()
    }

    /// The findings that became complete since the last call.
    pub fn findings(&mut self, recording: &Recording) -> Result<Vec<Record>, RecordingError> {
        let end = recording.records_end()?;
        let mut found = Vec::new();
        for offset in std::mem::take(&mut self.incomplete) {
            match recording.step(offset, end)? {
                Step::Record(record, _) => self.take(record, offset, &mut found),
                Step::Hole | Step::End => {}
            }
        }
        let mut offset = match self.offset {
            Some(offset) => offset,
            None => recording.header()?.records_offset,
        };
        loop {
            match recording.step(offset, end)? {
                Step::Record(record, len) => {
                    self.hole_since = None;
                    self.take(record, offset, &mut found);
                    offset += len;
                }
                Step::Hole if self.hole_is_dead() => offset += HOLE_STEP_BYTES,
                Step::Hole | Step::End => break,
            }
        }
        self.offset = Some(offset);
        Ok(found)
    }

    /// None is a record that is claimed and not written yet: looked at again next time.
    fn take(&mut self, record: Option<Record>, offset: u64, found: &mut Vec<Record>) {
        match record {
            Some(record) if !matches!(record.body, Body::Finding(_)) => {}
            Some(record) if record.state == RecordState::Complete => found.push(record),
            _ => self.incomplete.push(offset),
        }
    }

    fn hole_is_dead(&mut self) -> bool {
        self.hole_since.get_or_insert_with(Instant::now).elapsed() >= HOLE_PATIENCE
    }
}

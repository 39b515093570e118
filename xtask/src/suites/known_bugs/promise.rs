//! What hardware guards promise about an access, from the layout alone: a block of 16-byte alignment stands
//! at the end (or start) of whole pages, an inaccessible page is on either side, and what is left over holds
//! a canary.

const PAGE: u64 = 4096;
const ALIGNMENT: u64 = 16;

/// What is promised about a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// It is seen when it happens.
    AtOnce,
    /// A canary tells it when the block is freed, or at exit.
    Late,
    /// It may go unseen, for this reason.
    Nothing(&'static str),
}

/// At which end of its pages a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The default.
    End,
    /// Two runs, one each.
    Both,
}

/// What is touched: so many bytes, or all from the block to the far end of the distance.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Bytes of a plain access.
    pub width: Option<u64>,
    /// Bytes of the block.
    pub bytes: u64,
    /// From the block's end or start to the far end of the access.
    pub distance: u64,
}

impl Range {
    /// Bytes between the block and the near end of the access.
    fn gap(&self) -> u64 {
        self.width.map_or(0, |width| self.distance.saturating_sub(width))
    }

    fn slack(&self) -> u64 {
        self.bytes.next_multiple_of(ALIGNMENT) - self.bytes
    }

    /// Bytes of the pages that stand before a block at their end.
    fn unused(&self) -> u64 {
        let rounded = self.bytes.next_multiple_of(ALIGNMENT);
        rounded.next_multiple_of(PAGE) - rounded
    }
}

/// Past the end. The start side adds nothing: more lies between the block and the page behind it.
pub fn of_overrun(range: &Range, writes: bool) -> Promise {
    beyond(range, writes, range.slack(), "a read within the alignment's slack")
}

/// Before the start.
pub fn of_underrun(range: &Range, writes: bool, side: Side) -> Promise {
    match side {
        Side::End => beyond(range, writes, range.unused(), "a read within the block's own pages"),
        Side::Both => beyond(range, writes, 0, ""),
    }
}

/// To the first zero: there may be one within the slack.
pub fn of_text(range: &Range) -> Promise {
    match range.slack() {
        0 => Promise::AtOnce,
        _ => Promise::Nothing("a read of text that may end within the alignment's slack"),
    }
}

/// An access that reaches over `room` accessible bytes to the inaccessible page behind them, or does not.
fn beyond(range: &Range, writes: bool, room: u64, unseen: &'static str) -> Promise {
    if range.gap() >= room + PAGE {
        return Promise::Nothing("it lies beyond the inaccessible page");
    }
    match (range.distance > room, writes) {
        (true, _) => Promise::AtOnce,
        (false, true) => Promise::Late,
        (false, false) => Promise::Nothing(unseen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_byte(bytes: u64, distance: u64) -> Range {
        Range { width: Some(1), bytes, distance }
    }

    #[test]
    fn slack_hides_reads_and_delays_writes() {
        assert_eq!(of_overrun(&one_byte(16, 1), false), Promise::AtOnce);
        assert_eq!(of_overrun(&one_byte(13, 3), true), Promise::Late);
        assert!(matches!(of_overrun(&one_byte(13, 3), false), Promise::Nothing(_)));
        assert_eq!(of_overrun(&one_byte(13, 4), false), Promise::AtOnce);
        assert_eq!(of_overrun(&one_byte(16, 4096), false), Promise::AtOnce);
        assert!(matches!(of_overrun(&one_byte(16, 4097), true), Promise::Nothing(_)));
    }

    #[test]
    fn underruns_are_promised_at_both_ends() {
        assert!(matches!(of_underrun(&one_byte(24, 1), false, Side::End), Promise::Nothing(_)));
        assert_eq!(of_underrun(&one_byte(24, 1), true, Side::End), Promise::Late);
        assert_eq!(of_underrun(&one_byte(4096, 1), false, Side::End), Promise::AtOnce);
        assert_eq!(of_underrun(&one_byte(24, 1), false, Side::Both), Promise::AtOnce);
    }

    #[test]
    fn what_touches_all_bytes_cannot_jump_over_the_page() {
        let whole = Range { width: None, bytes: 16, distance: 70000 };
        assert_eq!(of_overrun(&whole, false), Promise::AtOnce);
    }
}

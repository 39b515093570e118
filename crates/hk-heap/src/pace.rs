//! How often a thread heap's polls look at the clock and for mail.
//!
//! Polls come with mallocs, so how much time passes between two of them is the program's affair. One that allocates all the time polls
//! every microsecond or two, and a clock is not to be read so often; one that wakes up ten times a second and allocates a little would
//! otherwise see the clock once in minutes, and keep all that time what it freed. So the number of polls from one look to the next
//! follows the time that went by.

use core::cell::Cell;

/// Most polls between two looks.
const POLLS_PER_LOOK_MAX: u32 = 32;
/// Looks between two at the mailbox: the more frees of a span pile up, the less each of them costs.
const LOOKS_PER_MAIL: u32 = 16;
/// Looks further apart are too few, and those closer too many. The clock goes in steps of up to 10 ms.
const SLOW_MS: u64 = 16;
const FAST_MS: u64 = 2;

/// See the module head.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Polls before the next look.
    polls_left: Cell<u32>,
    polls_per_look: Cell<u32>,
    looks: Cell<u32>,
    looked_ms: Cell<u64>,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Pace {
            polls_left: Cell::new(POLLS_PER_LOOK_MAX),
            polls_per_look: Cell::new(POLLS_PER_LOOK_MAX),
            looks: Cell::new(0),
            looked_ms: Cell::new(0),
        }
    }

    /// Whether this poll is to look.
    #[inline(always)]
    pub(crate) fn is_due(&self) -> bool {
        !self.passes()
    }

    /// A poll that cannot look itself: false if this one is to.
    #[inline(always)]
    pub(crate) fn passes(&self) -> bool {
        let left = self.polls_left.get();
        if left > 1 {
            self.polls_left.set(left - 1);
        }
        left > 1
    }

    /// A poll looks, at this time. True if it is the mailbox's turn too.
    pub(crate) fn note_look(&self, now_ms: u64) -> bool {
        let passed = now_ms.saturating_sub(self.looked_ms.replace(now_ms));
        let polls = self.polls_per_look.get();
        self.polls_per_look.set(match passed {
            SLOW_MS.. => (u64::from(polls) * SLOW_MS / 2 / passed).max(1) as u32,
            ..FAST_MS => (polls * 2).min(POLLS_PER_LOOK_MAX),
            _ => polls,
        });
        self.polls_left.set(self.polls_per_look.get());
        let looks = self.looks.get() + 1;
        self.looks.set(looks % LOOKS_PER_MAIL);
        looks == LOOKS_PER_MAIL
    }

    /// The next poll looks.
    pub(crate) fn hurry(&self) {
        self.polls_left.set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks in a thousand polls that are so many milliseconds apart.
    fn looks(pace: &Pace, ms_per_poll: u64) -> usize {
        let start = pace.looked_ms.get();
        (0..1000)
            .filter(|poll| {
                let due = pace.is_due();
                if due {
                    pace.note_look(start + poll * ms_per_poll);
                }
                due
            })
            .count()
    }

    #[test]
    fn slow_programs_look_at_each_poll_and_fast_ones_seldom() {
        let pace = Pace::new();
        assert_eq!(looks(&pace, 0), 1000 / POLLS_PER_LOOK_MAX as usize);
        assert!((950..=1000).contains(&looks(&pace, 20)));
        assert!((250..=500).contains(&looks(&pace, 4)), "one in 4 is 16 ms");
        assert!(looks(&pace, 0) < 1000 / POLLS_PER_LOOK_MAX as usize + 10);
    }

    #[test]
    fn it_is_the_mailboxs_turn_now_and_then() {
        let pace = Pace::new();
        let turns = (0..40).filter(|_| pace.note_look(0)).count();
        assert_eq!(turns, 40 / LOOKS_PER_MAIL as usize);
    }
}

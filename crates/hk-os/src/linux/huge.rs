//! Whether the system gives huge pages to who asks for them.

use super::read_file;
use core::sync::atomic::{AtomicU8, Ordering};

const UNKNOWN: u8 = 0;
const GIVEN: u8 = 1;
const NOT_GIVEN: u8 = 2;

/// Looked at once: it is a setting of the machine.
static ANSWER: AtomicU8 = AtomicU8::new(UNKNOWN);

/// False also where it cannot be known: fetching 2 MiB in small pages ahead would only cost memory.
/// (/sys/kernel/mm/transparent_hugepage/enabled, Linux 2.6.38.)
pub(super) fn are_given() -> bool {
    // Relaxed: whoever looks finds the same.
    match ANSWER.load(Ordering::Relaxed) {
        UNKNOWN => {
            let mut text = [0; 64];
            let text = read_file(c"/sys/kernel/mm/transparent_hugepage/enabled", &mut text);
            let given = is_given(text);
            ANSWER.store(if given { GIVEN } else { NOT_GIVEN }, Ordering::Relaxed);
            given
        }
        answer => answer == GIVEN,
    }
}

/// The choice stands in brackets.
fn is_given(text: &[u8]) -> bool {
    let is_chosen = |choice: &[u8]| text.windows(choice.len()).any(|part| part == choice);
    is_chosen(b"[always]") || is_chosen(b"[madvise]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_choice() {
        assert!(is_given(b"always [madvise] never\n") && is_given(b"[always] madvise never\n"));
        assert!(!is_given(b"always madvise [never]\n") && !is_given(b""));
    }
}

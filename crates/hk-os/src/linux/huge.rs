//! Whether the system gives huge pages to who asks for them.

use super::read_file;
use core::sync::atomic::{AtomicBool, Ordering};

static GIVEN: AtomicBool = AtomicBool::new(false);

/// To be called at the start, while the process may still open files: it may be about to forbid that to itself.
/// (/sys/kernel/mm/transparent_hugepage/enabled, Linux 2.6.38.)
pub(super) fn look() {
    let mut text = [0; 64];
    let text = read_file(c"/sys/kernel/mm/transparent_hugepage/enabled", &mut text);
    // Relaxed: it is a setting of the machine; nothing is published with it.
    GIVEN.store(is_given(text), Ordering::Relaxed);
}

/// False also where it cannot be known: fetching 2 MiB in small pages ahead would only cost memory.
pub(super) fn are_given() -> bool {
    GIVEN.load(Ordering::Relaxed)
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

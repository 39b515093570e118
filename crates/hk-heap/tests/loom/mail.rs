//! Spans on their way to mailboxes: through retirement, new owners, and thread heaps that change hands.
fn _x() {
    crate::explore(|| ());
}

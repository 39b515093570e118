//! heapkeeper's own lines: each begins with `heapkeeper:`, each goes out in one write.

use std::io::Write;

/// What every line of ours begins with.
pub const PREFIX: &str = "heapkeeper:";

/// Prints one line on standard error. That standard error is closed or full is no reason to fail.
pub fn tell(message: &str) {
    let mut text = String::new();
    for line in message.lines() {
        text.push_str(PREFIX);
        text.push(' ');
        text.push_str(line);
        text.push('\n');
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

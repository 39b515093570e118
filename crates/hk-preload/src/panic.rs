//! What happens when an assertion of ours fails: one line, and the end. Going on would hide a broken heap.

use core::fmt::Write;
use core::panic::PanicInfo;

const LINE_BYTES: usize = 512;

struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = LINE_BYTES - self.len;
        let taken = text.len().min(room);
        self.bytes[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
    let _ = writeln!(line, "heapkeeper: internal error, please report: {info}");
    // SAFETY: the buffer is valid for its length.
    unsafe { libc::write(2, line.bytes.as_ptr().cast(), line.len) };
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}

//! A drop that runs because of a panic frees what was freed before it.
//! Promised: caught; the panic is still caught where it should be.
mod victim;

struct Book(*mut [u64; 4]);

impl Drop for Book {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: none; this is the bug.
        #[cfg(not(twin))]
        drop(unsafe { Box::from_raw(self.0) }); // BUG
        victim::hide(self);
    }
}

#[inline(never)]
fn work() {
    let book = Book(victim::hide(Box::into_raw(Box::new([7; 4]))));
    // SAFETY: the pointer came from Box::into_raw.
    drop(unsafe { Box::from_raw(book.0) });
    std::panic::resume_unwind(Box::new("closed"));
}

fn main() {
    assert!(std::panic::catch_unwind(work).is_err(), "the panic arrives");
    victim::survived();
}

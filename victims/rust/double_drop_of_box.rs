//! A box is taken back from its raw pointer twice, the second time by a named thread.
//! Promised: caught at the second drop, and the thread is named.
mod victim;

#[inline(never)]
fn audit(order: usize) {
    // SAFETY: none; this is the bug.
    #[cfg(not(twin))]
    drop(unsafe { Box::from_raw(victim::hide(order as *mut [u64; 12])) }); // BUG
    victim::hide(order as *mut u64);
}

fn main() {
    let order = Box::into_raw(Box::new([7u64; 12])) as usize;
    // SAFETY: the pointer came from Box::into_raw.
    drop(unsafe { Box::from_raw(victim::hide(order as *mut [u64; 12])) });
    let thread = std::thread::Builder::new().name("auditor".into()).spawn(move || audit(order));
    thread.expect("a thread").join().expect("the thread ends well");
    victim::survived();
}

//! A box is made from the address of a local variable and dropped.
//! Promised: caught (CWE-590).
mod victim;

#[inline(never)]
fn settle(order: *mut u64) {
    // SAFETY: none; this is the bug.
    #[cfg(not(twin))]
    drop(unsafe { Box::from_raw(order) }); // BUG
    victim::hide(order);
}

fn main() {
    let mut order = 7u64;
    settle(victim::hide(&mut order));
    assert_eq!(order, 7, "the local variable is unharmed");
    victim::survived();
}

//! Two vectors are made from the raw parts of one: both free its memory.
//! Promised: caught at the second drop; Rust names are demangled.
mod victim;

#[inline(never)]
fn settle(orders: Vec<u64>) {
    let mut orders = std::mem::ManuallyDrop::new(orders);
    let (start, len, capacity) = (orders.as_mut_ptr(), orders.len(), orders.capacity());
    // SAFETY: the first one is sound; the second is the bug.
    drop(unsafe { Vec::from_raw_parts(victim::hide(start), len, capacity) });
    #[cfg(not(twin))]
    drop(unsafe { Vec::from_raw_parts(victim::hide(start), len, capacity) }); // BUG
}

fn main() {
    settle(vec![1, 2, 3, 4]);
    victim::survived();
}

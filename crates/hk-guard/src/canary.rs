//! What stands in a block's pages beside it: bytes that depend on where in the page they are, so that a copy of a neighbour does not pass
//! for them. They are copied from a page that has them all, and compared with it, as libc does both at some tens of bytes a cycle:
//! most of a page is filled and looked at for each block.

use crate::layout::PAGE_BYTES;

/// Where something else stands than what was put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Address of the first such byte.
    pub start: usize,
    /// Behind the last.
    pub end: usize,
}

#[repr(align(4096))]
struct Page([u8; PAGE_BYTES]);

static PAGE: Page = Page(page());

/// No byte is zero, as memory is by itself.
const fn page() -> [u8; PAGE_BYTES] {
    let mut bytes = [0; PAGE_BYTES];
    let mut at = 0;
    while at < PAGE_BYTES {
        bytes[at] = (((at as u32).wrapping_mul(0x9e37_79b9) >> 23) as u8) | 0x81;
        at += 1;
    }
    bytes
}

/// The range in parts that lie in a page each: where in the range, and the bytes that belong there.
fn parts(start: usize, bytes: usize) -> impl Iterator<Item = (usize, &'static [u8])> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let from = (start + at) % PAGE_BYTES;
        let len = (PAGE_BYTES - from).min(bytes - at);
        let part = (at, &PAGE.0[from..from + len]);
        at += len;
        (len > 0).then_some(part)
    })
}

/// Fills the range.
///
/// # Safety
/// It is writable, and nobody else uses it.
pub unsafe fn fill(start: *mut u8, bytes: usize) {
    for (at, canary) in parts(start.addr(), bytes) {
        let place = start.wrapping_add(at);
        // SAFETY: inside the range, by the caller's word; the canary is a static.
        unsafe { place.copy_from_nonoverlapping(canary.as_ptr(), canary.len()) };
    }
}

/// Looks whether the range is as [`fill`] left it.
///
/// # Safety
/// It is readable. If it is written to meanwhile, which only a bug of the program does, the answer is that of some moment.
pub unsafe fn check(start: *const u8, bytes: usize) -> Option<Damage> {
    let is_whole = parts(start.addr(), bytes).all(|(at, canary)| {
        let place = start.wrapping_add(at);
        // SAFETY: inside the range, by the caller's word.
        unsafe { core::slice::from_raw_parts(place, canary.len()) == canary }
    });
    // SAFETY: the caller's word.
    if is_whole { None } else { unsafe { find(start, bytes) } }
}

/// # Safety
/// As [`check`].
#[cold]
unsafe fn find(start: *const u8, bytes: usize) -> Option<Damage> {
    let mut damage: Option<Damage> = None;
    for place in (0..bytes).map(|at| start.wrapping_add(at)) {
        // SAFETY: inside the range. Volatile, as the program may be writing.
        if unsafe { place.read_volatile() } != PAGE.0[place.addr() % PAGE_BYTES] {
            let start = damage.map_or(place.addr(), |damage| damage.start);
            damage = Some(Damage { start, end: place.addr() + 1 });
        }
    }
    damage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_found() {
        let mut memory = [0u64; 16];
        let start: *mut u8 = memory.as_mut_ptr().cast();
        for from in 0..9 {
            for to in from..100 {
                // SAFETY: inside the array.
                let place = unsafe { start.add(from) };
                // SAFETY: as above.
                unsafe { fill(place, to - from) };
                // SAFETY: as above.
                assert_eq!(unsafe { check(place, to - from) }, None);
                for at in from..to {
                    // SAFETY: as above.
                    let byte = unsafe { &mut *start.wrapping_add(at) };
                    *byte ^= 0x40;
                    let damage = Damage { start: start.addr() + at, end: start.addr() + at + 1 };
                    // SAFETY: as above.
                    assert_eq!(unsafe { check(place, to - from) }, Some(damage));
                    // SAFETY: as above.
                    unsafe { fill(place, to - from) };
                }
            }
        }
    }

    #[test]
    fn no_byte_of_it_is_zero_and_neighbours_differ() {
        assert!(PAGE.0.iter().all(|&byte| byte != 0));
        for distance in [1, 8, 16, 64] {
            let alike = (distance..PAGE_BYTES).filter(|&at| PAGE.0[at] == PAGE.0[at - distance]).count();
            assert!(alike < PAGE_BYTES / 8, "{alike} bytes are as those {distance} before");
        }
    }
}

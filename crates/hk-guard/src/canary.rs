//! What stands in a block's pages beside it: bytes that depend on their address, so that a copy of a neighbour does not pass for them.

/// Where something else stands than what was put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Address of the first such byte.
    pub start: usize,
    /// Behind the last.
    pub end: usize,
}

const WORD_BYTES: usize = size_of::<u64>();

/// The bytes for the aligned word at an address.
fn pattern(address: usize) -> u64 {
    (address as u64 ^ 0x5bd1_e995_9e37_79b9).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 0x0101_0101_0101_0101
}

fn byte(address: usize) -> u8 {
    let word = pattern(address & !(WORD_BYTES - 1));
    word.to_ne_bytes()[address % WORD_BYTES]
}

/// Fills the range.
///
/// # Safety
/// It is writable, and nobody else uses it.
pub unsafe fn fill(start: *mut u8, bytes: usize) {
    let mut at = 0;
    while at < bytes {
        let address = start.addr() + at;
        if address.is_multiple_of(WORD_BYTES) && bytes - at >= WORD_BYTES {
            // SAFETY: inside the range, and aligned.
            unsafe { start.wrapping_add(at).cast::<u64>().write(pattern(address)) };
            at += WORD_BYTES;
        } else {
            // SAFETY: inside the range.
            unsafe { start.wrapping_add(at).write(byte(address)) };
            at += 1;
        }
    }
}

/// Looks whether the range is as [`fill`] left it.
///
/// # Safety
/// It is readable. It may be written to meanwhile.
pub unsafe fn check(start: *const u8, bytes: usize) -> Option<Damage> {
    let mut damage: Option<Damage> = None;
    let mut at = 0;
    while at < bytes {
        let address = start.addr() + at;
        if address.is_multiple_of(WORD_BYTES) && bytes - at >= WORD_BYTES {
            // SAFETY: inside the range, and aligned. Volatile: the program may be writing.
            if unsafe { start.wrapping_add(at).cast::<u64>().read_volatile() } == pattern(address) {
                at += WORD_BYTES;
                continue;
            }
        }
        // SAFETY: as above.
        if unsafe { start.wrapping_add(at).read_volatile() } != byte(address) {
            let start = damage.map_or(address, |damage| damage.start);
            damage = Some(Damage { start, end: address + 1 });
        }
        at += 1;
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
    fn no_byte_of_it_is_zero() {
        assert!((0..4096).all(|address| byte(address) != 0));
    }
}

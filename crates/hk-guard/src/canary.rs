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

/// The bytes for the aligned word at an address. No byte of it is zero, as memory is by itself; and no more than two instructions, so that the
/// compiler makes vectors of it: most of a page is filled and looked at for each block.
const fn pattern(address: usize) -> u64 {
    (address as u64 ^ 0x5bd1_e995_9e37_79b9) | 0x8181_8181_8181_8181
}

fn byte(address: usize) -> u8 {
    let word = pattern(address & !(WORD_BYTES - 1));
    word.to_ne_bytes()[address % WORD_BYTES]
}

/// Bytes up to the first whole word, whole words, and bytes behind them.
fn parts(start: usize, bytes: usize) -> (usize, usize, usize) {
    let before = (start.next_multiple_of(WORD_BYTES) - start).min(bytes);
    let words = (bytes - before) / WORD_BYTES;
    (before, words, bytes - before - words * WORD_BYTES)
}

/// Fills the range.
///
/// # Safety
/// It is writable, and nobody else uses it.
pub unsafe fn fill(start: *mut u8, bytes: usize) {
    let (before, words, behind) = parts(start.addr(), bytes);
    let middle = start.wrapping_add(before);
    for word in 0..words {
        let place = middle.cast::<u64>().wrapping_add(word);
        // SAFETY: inside the range, and aligned.
        unsafe { place.write(pattern(place.addr())) };
    }
    let ends = (0..before).chain(bytes - behind..bytes);
    for place in ends.map(|at| start.wrapping_add(at)) {
        // SAFETY: inside the range.
        unsafe { place.write(byte(place.addr())) };
    }
}

/// Looks whether the range is as [`fill`] left it.
///
/// # Safety
/// It is readable. If it is written to meanwhile, which only a bug of the program does, the answer is that of some moment.
pub unsafe fn check(start: *const u8, bytes: usize) -> Option<Damage> {
    let (before, words, behind) = parts(start.addr(), bytes);
    let middle = start.wrapping_add(before);
    let mut differences = 0;
    for word in 0..words {
        let place = middle.cast::<u64>().wrapping_add(word);
        // SAFETY: inside the range, and aligned.
        differences |= unsafe { place.read() } ^ pattern(place.addr());
    }
    for place in (0..before).chain(bytes - behind..bytes).map(|at| start.wrapping_add(at)) {
        // SAFETY: inside the range.
        differences |= u64::from(unsafe { place.read() } ^ byte(place.addr()));
    }
    // SAFETY: the caller's word.
    if differences == 0 { None } else { unsafe { find(start, bytes) } }
}

/// # Safety
/// As [`check`].
#[cold]
unsafe fn find(start: *const u8, bytes: usize) -> Option<Damage> {
    let mut damage: Option<Damage> = None;
    for place in (0..bytes).map(|at| start.wrapping_add(at)) {
        // SAFETY: inside the range. Volatile, as the program may be writing.
        if unsafe { place.read_volatile() } != byte(place.addr()) {
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
    fn no_byte_of_it_is_zero() {
        assert!((0..4096).all(|address| byte(address) != 0));
    }
}

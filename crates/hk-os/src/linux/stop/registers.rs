//! The words in a stopped thread's registers, with the registers' numbers in DWARF (System V ABI, AMD64, figure 3.36).

use super::handler::Context;

const WORD_BYTES: usize = size_of::<usize>();

/// In the order in which the kernel lays the general ones down (`REG_R8` and so on, sys/ucontext.h).
const GENERAL: [u8; 17] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16];

/// Parts of the state of vectors: where they begin, how many registers, how many bytes each has there, and the number of the first (Intel SDM, volume 1,
/// chapter 13: the standard form).
const VECTORS: [(usize, usize, usize, u8); 5] =
    [(32, 8, 16, 33), (160, 16, 16, 17), (576, 16, 16, 17), (1152, 16, 32, 17), (1664, 16, 64, 67)];

impl Context {
    /// Calls `found` with the number of a register and a word in it, for all.
    pub fn for_each_register(&self, mut found: impl FnMut(u8, usize)) {
        let [(general, _), (vectors, vector_bytes)] = self.registers();
        let word = |at: usize| {
            let place: *const usize = core::ptr::with_exposed_provenance(at);
            // SAFETY: inside the context of a thread that waits in its handler.
            unsafe { place.read_unaligned() }
        };
        for (nth, &number) in GENERAL.iter().enumerate() {
            found(number, word(general + nth * WORD_BYTES));
        }
        for (start, count, bytes, first) in VECTORS {
            for nth in 0..count * bytes / WORD_BYTES {
                let at = start + nth * WORD_BYTES;
                if at + WORD_BYTES <= vector_bytes {
                    found(first + (nth * WORD_BYTES / bytes) as u8, word(vectors + at));
                }
            }
        }
    }
}

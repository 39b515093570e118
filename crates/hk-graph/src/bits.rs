//! A set of numbers below a limit: a bit for each.

/// See the module head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The empty set of numbers below `limit`.
    pub fn new(limit: usize) -> Bits {
        Bits { words: vec![0; limit.div_ceil(64)] }
    }

    /// Whether the number is in it.
    ///
    /// # Panics
    /// If it is far beyond the limit.
    pub fn contains(&self, number: u32) -> bool {
        self.words[number as usize / 64] >> (number % 64) & 1 != 0
    }

    /// Puts it in; whether it was not there yet.
    ///
    /// # Panics
    /// If it is far beyond the limit.
    pub fn insert(&mut self, number: u32) -> bool {
        let word = &mut self.words[number as usize / 64];
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

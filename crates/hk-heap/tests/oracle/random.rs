//! Where choices come from: seeded random numbers, or bytes that a fuzzer chose.
#![allow(dead_code, reason = "no test uses all of it")]

/// A source of choices.
pub enum Random {
    /// xorshift64*: small, seeded, good enough to choose operations.
    Seeded(u64),
    /// The bytes that are left, then zeros.
    Bytes(Vec<u8>),
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Random::Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        Random::Bytes(bytes.iter().rev().copied().collect())
    }

    pub fn next(&mut self) -> u64 {
        match self {
            Random::Seeded(state) => {
                *state ^= *state >> 12;
                *state ^= *state << 25;
                *state ^= *state >> 27;
                state.wrapping_mul(0x2545_f491_4f6c_dd1d)
            }
            Random::Bytes(bytes) => u64::from(bytes.pop().unwrap_or(0)),
        }
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        if let Random::Seeded(_) = self {
            return (self.next() >> 11) % limit;
        }
        // As few bytes as will do: each is one choice of the fuzzer.
        let bytes = (u64::BITS - limit.leading_zeros()).div_ceil(8);
        (0..bytes).fold(0, |number, _| number << 8 | self.next()) % limit
    }

    /// Whether all bytes were used up.
    pub fn is_spent(&self) -> bool {
        matches!(self, Random::Bytes(bytes) if bytes.is_empty())
    }
}

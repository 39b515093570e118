//! Program counter to rule, for all threads.
//!
//! Fixed, four-way, without a lock: a set is a cache line of four pairs. What is displaced is computed again.

use super::rule::{GENERATION_BITS, PackedRule};
use crate::pair::Pair;

/// Sets; with four rules of 16 bytes each that is 512 KiB, of which a program touches what it needs.
const SETS: usize = 8192;
const WAYS: usize = 4;
/// Program counters of programs are below this.
pub(crate) const PC_BITS: u32 = 47;

#[repr(align(64))]
struct Set([Pair; WAYS]);

/// The cache.
pub(crate) struct RuleCache {
    sets: [Set; SETS],
}

impl RuleCache {
    pub(crate) const fn new() -> Self {
        RuleCache { sets: [const { Set([const { Pair::NONE }; WAYS]) }; SETS] }
    }

    /// The rule at `pc` that was found in `generation`.
    #[inline(always)]
    pub(crate) fn get(&self, pc: u64, generation: u64) -> Option<PackedRule> {
        let key = key(pc, generation);
        for pair in &self.sets[set(pc)].0 {
            if let Some(bits) = pair.get(key) {
                let rule = PackedRule::from_bits(bits);
                let same = rule.generation_bits() == generation & ((1 << GENERATION_BITS) - 1);
                return same.then_some(rule);
            }
        }
        None
    }

    /// Keeps a rule that was found in `generation`, which it carries.
    pub(crate) fn put(&self, pc: u64, generation: u64, rule: PackedRule) {
        if pc >> PC_BITS != 0 {
            return;
        }
        let ways = &self.sets[set(pc)].0;
        let key = key(pc, generation);
        let way = ways
            .iter()
            .position(|pair| pair.get(key).is_some())
            .or_else(|| ways.iter().position(Pair::is_empty))
            // Any will do. Most that meet in a full set have places of their own by this.
            .unwrap_or(pc as usize % WAYS);
        ways[way].set(key, rule.bits());
    }
}

/// Generations differ in the key or, further apart, in the bits that a rule carries. Not 0: no code lies there.
#[inline(always)]
fn key(pc: u64, generation: u64) -> u64 {
    pc ^ ((generation >> GENERATION_BITS) << PC_BITS)
}

#[inline(always)]
fn set(pc: u64) -> usize {
    (pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51) as usize % SETS
}

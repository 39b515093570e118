//! Blocks counted by some key, as their allocation site or their size, and what changed from one snapshot to another.
//!
//! If one block in N was sampled, so many of a site mean N times as many blocks. What was sampled is a matter of chance, as rare events are (a Poisson
//! process): a count of n is off by √n in the mean, and so is what it stands for by N√n; a sum of bytes by N times the root of the sum of their
//! squares.

use std::collections::BTreeMap;
use std::fmt::Debug;

/// Blocks that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// How many.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sum of the squares of their bytes.
    squares: f64,
}

impl Count {
    /// One more.
    pub fn add(&mut self, bytes: u64) {
        self.blocks += 1;
        self.bytes += bytes;
        self.squares += (bytes as f64) * (bytes as f64);
    }
}

/// A number that may be an estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// The number.
    pub value: u64,
    /// How far it is off in the mean; 0 if it was counted.
    pub error: u64,
}

/// What one counted block stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u64);

impl Scale {
    /// One block in `every` was counted, in the mean. 0 is as 1: nothing was left to chance.
    pub fn new(every: u32) -> Scale {
        Scale(u64::from(every.max(1)))
    }

    /// Whether what it gives are estimates.
    pub fn is_estimate(self) -> bool {
        self.0 > 1
    }

    /// How many blocks that many stand for.
    pub fn blocks(self, count: &Count) -> Estimate {
        self.estimate(count.blocks, (count.blocks as f64).sqrt())
    }

    /// How many bytes they stand for.
    pub fn bytes(self, count: &Count) -> Estimate {
        self.estimate(count.bytes, count.squares.sqrt())
    }

    fn estimate(self, counted: u64, deviation: f64) -> Estimate {
        let error = if self.is_estimate() { (deviation * self.0 as f64).round() as u64 } else { 0 };
        Estimate { value: counted.saturating_mul(self.0), error }
    }
}

/// Counts by key.
pub type Census<K> = BTreeMap<K, Count>;

/// What changed for a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<K> {
    /// The key.
    pub key: K,
    /// Before.
    pub before: Count,
    /// After.
    pub after: Count,
}

/// What changed, keys that grew or shrank by most bytes first. Keys that are as before are left out.
pub fn changes<K: Ord + Clone + Debug>(before: &Census<K>, after: &Census<K>) -> Vec<Change<K>> {
    let of = |census: &Census<K>, key: &K| census.get(key).copied().unwrap_or_default();
    let new = after.keys().filter(|key| !before.contains_key(key));
    let mut changes: Vec<Change<K>> = before
        .keys()
        .chain(new)
        .map(|key| Change { key: key.clone(), before: of(before, key), after: of(after, key) })
        .filter(|change| change.before != change.after)
        .collect();
    changes.sort_by_key(|change| {
        let by = change.after.bytes.abs_diff(change.before.bytes);
        (std::cmp::Reverse(by), change.key.clone())
    });
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(sizes: &[u64]) -> Count {
        let mut count = Count::default();
        sizes.iter().for_each(|&bytes| count.add(bytes));
        count
    }

    #[test]
    fn samples_are_scaled_and_counts_are_not() {
        let count = counted(&[100; 16]);
        assert_eq!(Scale::new(1).blocks(&count), Estimate { value: 16, error: 0 });
        assert_eq!(Scale::new(0).bytes(&count), Estimate { value: 1600, error: 0 });
        assert_eq!(Scale::new(50).blocks(&count), Estimate { value: 800, error: 200 });
        assert_eq!(Scale::new(50).bytes(&count), Estimate { value: 80_000, error: 20_000 });
        // One large block among small ones is most of what is not sure.
        assert_eq!(Scale::new(10).bytes(&counted(&[3000, 4000])), Estimate { value: 70_000, error: 50_000 });
    }

    /// The error that is told is that of drawing blocks at random, again and again.
    #[test]
    fn the_error_is_that_of_chance() {
        let mut state = 1u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let (blocks, every) = (20_000u64, 100);
        let (mut squares, mut told, trials) = (0.0, 0.0, 200);
        for _ in 0..trials {
            let mut count = Count::default();
            (0..blocks).filter(|_| random() % every == 0).for_each(|block| count.add(16 + block % 64));
            let truth: u64 = (0..blocks).map(|block| 16 + block % 64).sum();
            let estimate = Scale::new(every as u32).bytes(&count);
            squares += (estimate.value as f64 - truth as f64).powi(2);
            told += estimate.error as f64;
        }
        let (real, told) = ((squares / f64::from(trials)).sqrt(), told / f64::from(trials));
        assert!((0.8..1.25).contains(&(real / told)), "{real} {told}");
    }

    #[test]
    fn changes_are_told_largest_first() {
        let before = Census::from([("a", counted(&[10])), ("b", counted(&[5])), ("c", counted(&[1]))]);
        let after = Census::from([("a", counted(&[10])), ("b", counted(&[6])), ("d", counted(&[100]))]);
        let keys: Vec<&str> = changes(&before, &after).iter().map(|change| change.key).collect();
        assert_eq!(keys, ["d", "b", "c"]);
    }
}

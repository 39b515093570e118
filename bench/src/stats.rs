//! The few statistics that the tables need.

use crate::args::Statistic;

/// The smallest or the middle one (the mean of the two middle ones); nothing of nothing.
pub fn reduce(values: &[f64], statistic: Statistic) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match statistic {
        Statistic::Min => sorted.first().copied(),
        Statistic::Median if sorted.is_empty() => None,
        Statistic::Median if sorted.len() % 2 == 1 => Some(sorted[middle]),
        Statistic::Median => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The geometric mean of positive ratios; nothing of nothing.
pub fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (logs / ratios.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_and_smallest() {
        assert_eq!(reduce(&[3.0, 1.0, 2.0], Statistic::Median), Some(2.0));
        assert_eq!(reduce(&[4.0, 1.0, 2.0, 3.0], Statistic::Median), Some(2.5));
        assert_eq!(reduce(&[3.0, 1.0, 2.0], Statistic::Min), Some(1.0));
        assert_eq!(reduce(&[], Statistic::Median), None);
    }

    #[test]
    fn a_half_and_a_double_cancel() {
        let mean = geometric_mean(&[0.5, 2.0]).expect("two ratios");
        assert!((mean - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
    }
}

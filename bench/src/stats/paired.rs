//! Compares two contenders round by round.
//!
//! Rounds interleave all contenders, so a disturbance in a round affects both and cancels out of a pair. The median of
//! such ratios is therefore steadier than the ratio of two medians.

use super::order::{Estimate, Sorted};

/// A sample and its round.
pub type InRound = (u32, f64);

/// The ratio of the other contender to `to`: the median of the ratios of all rounds. Rounds that lack either do not
/// count.
pub fn ratio(of: &[InRound], to: &[InRound]) -> Option<Estimate> {
    // A ratio to zero is not a number, and so no sample.
    Sorted::new(pairs(of, to).map(|(of, to)| of / to)).estimate()
}

/// The difference of the other contender to `from`: the median of the differences of all rounds.
pub fn difference(of: &[InRound], from: &[InRound]) -> Option<Estimate> {
    Sorted::new(pairs(of, from).map(|(of, from)| of - from)).estimate()
}

/// Pairs of samples from each round that both have; if a round has several, in their order.
fn pairs(left: &[InRound], right: &[InRound]) -> impl Iterator<Item = (f64, f64)> + use<> {
    let in_order = |samples: &[InRound]| {
        let mut samples = samples.to_vec();
        samples.sort_by_key(|(round, _)| *round);
        samples.into_iter().peekable()
    };
    let mut right = in_order(right);
    in_order(left).filter_map(move |(round, value)| {
        while right.next_if(|(other, _)| *other < round).is_some() {}
        right.next_if(|(other, _)| *other == round).map(|(_, other)| (value, other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_rounds() {
        // Each round is ten times as slow as the one before, and the contender always takes twice as long.
        let baseline: Vec<InRound> = (0..8).map(|round| (round, 10f64.powi(round as i32))).collect();
        let other: Vec<InRound> = baseline.iter().rev().map(|(round, value)| (*round, value * 2.0)).collect();
        let found = ratio(&other, &baseline).unwrap();
        assert_eq!((found.median, found.interval.low, found.interval.high, found.count), (2.0, 2.0, 2.0, 8));
        let more = difference(&other[..1], &baseline).unwrap();
        assert_eq!((more.median, more.count), (1e7, 1));
    }

    #[test]
    fn rounds_that_lack_one_do_not_count() {
        let of = [(1, 2.0), (2, 6.0), (4, 100.0), (5, 10.0), (5, 20.0)];
        let to = [(0, 1.0), (2, 2.0), (3, 7.0), (5, 5.0), (5, 5.0)];
        assert_eq!(pairs(&of, &to).collect::<Vec<_>>(), [(6.0, 2.0), (10.0, 5.0), (20.0, 5.0)]);
        assert_eq!(ratio(&of, &to).unwrap().median, 3.0);
        assert_eq!(ratio(&of, &[]), None);
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        assert_eq!(ratio(&[(0, 1.0)], &[(0, 0.0)]), None);
        assert_eq!(ratio(&[(0, 1.0), (1, 3.0)], &[(0, 0.0), (1, 1.0)]).unwrap().median, 3.0);
    }
}

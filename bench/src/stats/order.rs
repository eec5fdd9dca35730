//! Order statistics.

/// The confidence that intervals are made for.
pub const CONFIDENCE: f64 = 0.95;

/// An outlier is further from the quartiles than this many times the interquartile range (Tukey's outer fence).
const FENCE: f64 = 3.0;

/// Samples in order. Values that are not finite numbers are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sorted(Vec<f64>);

/// The confidence interval of the true median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end, which is a sample.
    pub low: f64,
    /// The upper end, which is a sample.
    pub high: f64,
    /// The probability that an interval like this contains the true median. With fewer than six samples it is below
    /// [`CONFIDENCE`], and the interval reaches from the least sample to the largest.
    pub confidence: f64,
}

/// A median with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// The confidence interval.
    pub interval: Interval,
    /// The number of samples.
    pub count: usize,
}

impl Interval {
    /// Whether the interval has the confidence that it is made for.
    pub fn is_sure(&self) -> bool {
        self.confidence >= CONFIDENCE
    }

    /// Whether this value can be the true median.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// The median of these values, as [`Sorted::median`] gives it. A report takes hundreds of medians of thousands of
/// values, and none of these needs the others in order.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    let (middle, is_even) = (values.len() / 2, values.len().is_multiple_of(2));
    if values.is_empty() {
        return None;
    }
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| is_even);
    Some(lower.map_or(*upper, |lower| f64::midpoint(lower, *upper)))
}

impl Sorted {
    /// Sorts the samples.
    pub fn new(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().filter(|sample| sample.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The samples from the least to the largest.
    pub fn samples(&self) -> &[f64] {
        &self.0
    }

    /// The number of samples.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The largest sample.
    pub fn largest(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// The middle sample; of an even number, the mean of the two.
    pub fn median(&self) -> Option<f64> {
        let upper = *self.0.get(self.0.len() / 2)?;
        match self.0.len() % 2 {
            0 => Some(f64::midpoint(self.0[self.0.len() / 2 - 1], upper)),
            _ => Some(upper),
        }
    }

    /// The least sample that this share of all samples does not exceed (nearest rank), which is always a measured one.
    /// The 99th percentile of fewer than 100 samples is therefore the largest.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        self.0.get(rank(share, self.0.len() as u64) as usize - 1).copied()
    }

    /// The median with its interval. The ends are samples, chosen by the binomial distribution so that the true median
    /// of any distribution lies between them with a probability of at least [`CONFIDENCE`].
    pub fn estimate(&self) -> Option<Estimate> {
        let (median, count) = (self.median()?, self.0.len());
        let (outside, tail) = outside(count);
        let interval =
            Interval { low: self.0[outside], high: self.0[count - 1 - outside], confidence: 1.0 - 2.0 * tail };
        Some(Estimate { median, interval, count })
    }

    /// The interquartile range as a share of the median.
    pub fn relative_iqr(&self) -> Option<f64> {
        let (low, high) = self.quartiles()?;
        let median = self.median()?;
        (median > 0.0).then(|| (high - low) / median)
    }

    /// The number of outliers, which something other than the target must have caused.
    pub fn outliers(&self) -> usize {
        let Some((low, high)) = self.fences() else { return 0 };
        self.0.iter().filter(|sample| **sample < low || **sample > high).count()
    }

    /// The largest sample that is no outlier.
    pub fn largest_near(&self) -> Option<f64> {
        let (_, high) = self.fences()?;
        self.0.iter().copied().rev().find(|sample| *sample <= high)
    }

    fn fences(&self) -> Option<(f64, f64)> {
        let (low, high) = self.quartiles()?;
        let reach = FENCE * (high - low);
        Some((low - reach, high + reach))
    }

    fn quartiles(&self) -> Option<(f64, f64)> {
        Some((self.percentile(0.25)?, self.percentile(0.75)?))
    }
}

/// The rank, from 1, of a percentile among this many samples. Shares such as 0.999 are not exact binary fractions:
/// without the tolerance, 99.9 % of 1,000 would be rank 1,000.
pub fn rank(share: f64, count: u64) -> u64 {
    ((share * count as f64 - 1e-6).ceil() as u64).clamp(1, count.max(1))
}

/// How many samples may lie outside the interval on each side, and the probability that the true median is beyond one
/// end: the largest number for which that probability is small enough, or 0.
fn outside(count: usize) -> (usize, f64) {
    let half = (1.0 - CONFIDENCE) / 2.0;
    // Probabilities of a fair coin as logarithms, because 2⁻ⁿ soon underflows.
    let mut log = -(count as f64) * std::f64::consts::LN_2;
    let mut tail = log.exp();
    let mut outside = 0;
    loop {
        log += ((count - outside) as f64 / (outside + 1) as f64).ln();
        let next = tail + log.exp();
        if next > half {
            return (outside, tail);
        }
        (tail, outside) = (next, outside + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(last: u32) -> Sorted {
        Sorted::new((1..=last).rev().map(f64::from))
    }

    #[test]
    fn medians_and_percentiles_of_known_samples() {
        assert_eq!(Sorted::new([3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(Sorted::new([4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
        assert_eq!(Sorted::new([]).median(), None);
        // The classical example of nearest ranks.
        let five = Sorted::new([15.0, 20.0, 35.0, 40.0, 50.0]);
        let of = |share| five.percentile(share);
        assert_eq!([of(0.05), of(0.3), of(0.4), of(0.5), of(1.0)], [15.0, 20.0, 20.0, 35.0, 50.0].map(Some));
        assert_eq!((up_to(100).percentile(0.99), up_to(99).percentile(0.99)), (Some(99.0), Some(99.0)));
        assert_eq!((up_to(1000).percentile(0.999), up_to(0).percentile(0.5)), (Some(999.0), None));
        assert_eq!(up_to(4).percentile(0.0), Some(1.0));
    }

    #[test]
    fn what_is_no_number_is_no_sample() {
        let sorted = Sorted::new([f64::NAN, 2.0, f64::INFINITY, 1.0, f64::NEG_INFINITY]);
        assert_eq!(sorted.samples(), [1.0, 2.0]);
    }

    #[test]
    fn a_median_is_that_of_the_sorted_samples() {
        let values = [7.0, f64::NAN, -1.0, 7.0, 0.5, f64::INFINITY, 3.0, -0.0, 9.0];
        for count in 0..=values.len() {
            let values = &values[..count];
            assert_eq!(median(values.iter().copied()), Sorted::new(values.iter().copied()).median(), "{values:?}");
        }
    }

    /// Ranks and probabilities as printed in tables of the sign test.
    #[test]
    fn intervals_have_the_ranks_of_the_tables() {
        for (count, low, high, confidence) in [
            (6, 1.0, 6.0, 0.96875),
            (7, 1.0, 7.0, 0.984_375),
            (9, 2.0, 8.0, 0.960_937_5),
            (10, 2.0, 9.0, 0.978_515_625),
            (15, 4.0, 12.0, 0.964_843_75),
            (20, 6.0, 15.0, 0.958_610_5),
            (100, 40.0, 61.0, 0.964_8),
        ] {
            let Interval { low: found_low, high: found_high, confidence: found } =
                up_to(count).estimate().unwrap().interval;
            assert_eq!((found_low, found_high), (low, high), "{count}");
            assert!((found - confidence).abs() < 1e-4, "{count}: {found}");
        }
    }

    #[test]
    fn few_samples_give_their_range_and_say_so() {
        let estimate = up_to(5).estimate().unwrap();
        assert_eq!(estimate.interval, Interval { low: 1.0, high: 5.0, confidence: 0.9375 });
        assert!(!estimate.interval.is_sure());
        assert_eq!(up_to(1).estimate().unwrap().interval, Interval { low: 1.0, high: 1.0, confidence: 0.0 });
        assert_eq!(up_to(0).estimate(), None);
    }

    #[test]
    fn many_samples_do_not_underflow() {
        let interval = up_to(100_000).estimate().unwrap().interval;
        // The median ± 1.96 √n / 2.
        assert!((interval.low - 49_690.0).abs() < 2.0 && (interval.high - 50_311.0).abs() < 2.0, "{interval:?}");
        assert!(interval.is_sure() && interval.confidence < 0.951);
    }

    #[test]
    fn far_out_is_counted_beyond_both_fences() {
        // Quartiles 25 and 75, so the fences are at -125 and 225.
        let with = |more: &[f64]| Sorted::new((1..=100).map(f64::from).chain(more.iter().copied())).outliers();
        assert_eq!((with(&[]), with(&[220.0]), with(&[1000.0]), with(&[-1000.0, 1000.0])), (0, 0, 1, 2));
        assert_eq!((Sorted::new([]).outliers(), Sorted::new([]).largest_near()), (0, None));
        assert_eq!(Sorted::new((1..=100).map(f64::from).chain([1000.0])).largest_near(), Some(100.0));
    }

    #[test]
    fn the_interquartile_range_is_relative() {
        assert_eq!(up_to(100).relative_iqr(), Some(50.0 / 50.5));
        assert_eq!(Sorted::new([2.0, 2.0]).relative_iqr(), Some(0.0));
        assert_eq!((Sorted::new([0.0]).relative_iqr(), Sorted::new([]).relative_iqr()), (None, None));
    }
}

//! Decides whether something grows: a straight line through samples, with its standard error. Pure.
//!
//! Allocators keep pages, so neither the level nor one step means growth: by chance, more large bodies can be in memory
//! at once than ever before. A leak continues. So it counts as growth only if the line through the last four fifths
//! rises faster than the bound plus a multiple of its standard error, and the lines through both halves of these do,
//! too.

use serde::Serialize;

/// The share of the samples at the beginning that is warm-up.
const WARM_UP: f64 = 0.2;

/// Neighbouring samples are similar, so the error is computed from this many blocks.
const BLOCKS: usize = 12;

/// The number of standard errors that a line must rise by.
const SURE: f64 = 3.0;

/// With fewer samples in a line, nothing can be said.
const SAMPLES_MIN: usize = 16;

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Regression {
    /// How much it rises in a minute (least squares).
    pub per_minute: f64,
    /// The standard error, computed from blocks of residuals.
    pub standard_error: f64,
}

/// The trend of some samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The line through all samples after the warm-up.
    pub whole: Regression,
    /// The lines through the two halves of these.
    pub halves: [Regression; 2],
}

impl Trend {
    /// The trend of one sample per second. `None` if there are too few.
    pub fn of(samples: &[(f64, f64)]) -> Option<Self> {
        let rest = &samples[(samples.len() as f64 * WARM_UP) as usize..];
        let (first, second) = rest.split_at(rest.len() / 2);
        Some(Self {
            whole: Regression::through(rest)?,
            halves: [Regression::through(first)?, Regression::through(second)?],
        })
    }

    /// Whether it grows by more than this in a minute.
    pub fn exceeds(&self, per_minute_max: f64) -> bool {
        let [first, second] = self.halves;
        [self.whole, first, second].iter().all(|line| line.per_minute - SURE * line.standard_error > per_minute_max)
    }
}

impl Regression {
    fn through(samples: &[(f64, f64)]) -> Option<Self> {
        if samples.len() < SAMPLES_MIN {
            return None;
        }
        let count = samples.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
        let (at, level) = (mean(|sample| sample.0), mean(|sample| sample.1));
        let width: f64 = samples.iter().map(|sample| (sample.0 - at).powi(2)).sum();
        let slope = samples.iter().map(|sample| (sample.0 - at) * (sample.1 - level)).sum::<f64>() / width;
        let residual = |sample: &(f64, f64)| sample.1 - level - slope * (sample.0 - at);
        let blocks = samples.chunks(samples.len().div_ceil(BLOCKS));
        let of_block = |block: &[(f64, f64)]| block.iter().map(|s| (s.0 - at) * residual(s)).sum::<f64>().powi(2);
        let error = blocks.map(of_block).sum::<f64>().sqrt() / width;
        Some(Self { per_minute: slope * 60.0, standard_error: error * 60.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc_testkit::Rng;

    /// Ten minutes of samples, one per second: growth by this much a second, and noise that lasts for some seconds.
    fn samples(rise: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let (mut rng, mut noise) = (Rng::new(3), 0.0);
        let sample = |second: u32| {
            noise = 0.8 * noise + rng.within(0, 200) as f64 - 100.0;
            (f64::from(second), 2000.0 + rise(f64::from(second)) + noise)
        };
        (0..600).map(sample).collect()
    }

    #[test]
    fn a_leak_is_told_from_noise_and_from_a_step() {
        assert!(!Trend::of(&samples(|_| 0.0)).unwrap().exceeds(16.0));
        for minute in [3.0, 5.5, 8.0] {
            let step = |second: f64| if second > 60.0 * minute { 800.0 } else { 0.0 };
            assert!(!Trend::of(&samples(step)).unwrap().exceeds(16.0), "a step in minute {minute}");
        }
        assert!(!Trend::of(&samples(|second| 4000.0 * (-second / 30.0).exp())).unwrap().exceeds(16.0));
        let leak = Trend::of(&samples(|second| 2.0 * second)).unwrap();
        assert!(leak.exceeds(16.0) && (leak.whole.per_minute - 120.0).abs() < 30.0, "{leak:?}");
    }

    #[test]
    fn an_exact_line_has_no_error_and_few_samples_no_line() {
        let exact: Vec<(f64, f64)> = (0..100).map(|second| (f64::from(second), f64::from(second))).collect();
        let line = Trend::of(&exact).unwrap().whole;
        assert!((line.per_minute - 60.0).abs() < 1e-6 && line.standard_error < 1e-6, "{line:?}");
        assert_eq!(Trend::of(&exact[..38]), None);
        assert_eq!(Trend::of(&[]), None);
    }
}

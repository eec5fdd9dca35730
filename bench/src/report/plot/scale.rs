//! Converts values to pixels, and chooses the values that an axis names.

/// An axis.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// A linear axis from zero.
    pub fn linear(high: f64, from: f64, to: f64) -> Self {
        let high = if high.is_finite() && high > 0.0 { high } else { 1.0 };
        Self { low: 0.0, high, from, to, log: false }
    }

    /// A logarithmic axis: equal ratios have equal distances.
    pub fn log(low: f64, high: f64, from: f64, to: f64) -> Self {
        let sound = low.is_finite() && high.is_finite() && low > 0.0 && high > low;
        let (low, high) = if sound { (low, high) } else { (1.0, 10.0) };
        Self { low, high, from, to, log: true }
    }

    /// The position of a value. A value beyond an end is at the end.
    pub fn at(&self, value: f64) -> f64 {
        let (low, high, value) = (self.warp(self.low), self.warp(self.high), self.warp(value.max(self.low)));
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// Round values that are at least this many pixels apart.
    pub fn ticks(&self, apart: f64) -> Vec<f64> {
        let room = ((self.to - self.from).abs() / apart).max(2.0);
        let sets: [&[f64]; 3] =
            [&[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]];
        let fine = |set: &&[f64]| self.named(set).len() >= 4;
        let mut ticks = match sets.iter().filter(|_| self.log).find(|set| fine(set)) {
            Some(set) => self.named(set),
            None => self.steps(room),
        };
        // On a logarithmic axis with many decades, powers of ten are enough.
        if self.log && ticks.len() as f64 > room {
            ticks = self.named(&[1.0]);
        }
        let mut last = f64::NEG_INFINITY;
        ticks.retain(|tick| {
            let at = self.at(*tick);
            let keep = (at - last).abs() >= apart * 0.8;
            last = if keep { at } else { last };
            keep
        });
        ticks
    }

    fn warp(&self, value: f64) -> f64 {
        if self.log { value.ln() } else { value }
    }

    /// The values on the axis that are one of these factors times a power of ten.
    fn named(&self, set: &[f64]) -> Vec<f64> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let all = decades.flat_map(|decade| set.iter().map(move |mantissa| mantissa * 10f64.powi(decade)));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }

    /// Equal steps of 1, 2 or 5 times a power of ten.
    fn steps(&self, room: f64) -> Vec<f64> {
        let least = (self.high - self.low) / room;
        let power = 10f64.powf(least.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|mantissa| mantissa * power).into_iter().find(|step| *step >= least);
        let step = step.unwrap_or(power * 10.0);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_pixels_and_stay_on_the_axis() {
        let linear = Scale::linear(10.0, 100.0, 200.0);
        assert_eq!([-1.0, 0.0, 5.0, 10.0, 99.0].map(|value| linear.at(value)), [100.0, 100.0, 150.0, 200.0, 200.0]);
        let log = Scale::log(1.0, 100.0, 0.0, 200.0);
        assert_eq!([0.0, 1.0, 10.0, 100.0, 1e9].map(|value| log.at(value)), [0.0, 0.0, 100.0, 200.0, 200.0]);
        assert_eq!(Scale::log(0.0, f64::NAN, 0.0, 1.0).at(1.0), 0.0);
        assert!(Scale::linear(0.0, 0.0, 1.0).at(0.0).is_finite());
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(Scale::linear(10.0, 0.0, 300.0).ticks(60.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(Scale::linear(0.7, 0.0, 240.0).ticks(60.0), [0.0, 0.2, 0.4, 0.6000000000000001]);
        assert_eq!(Scale::log(0.4, 6.0, 0.0, 300.0).ticks(40.0), [0.5, 1.0, 2.0, 5.0]);
        assert_eq!(Scale::log(310.0, 390.0, 0.0, 300.0).ticks(60.0), [320.0, 340.0, 360.0, 380.0]);
        assert_eq!(Scale::log(10.0, 1e7, 0.0, 300.0).ticks(40.0), [10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7]);
    }
}

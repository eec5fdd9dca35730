//! Latencies in buckets, merged over rounds.

use super::order::rank;

/// The upper bounds of buckets, in order, and how many latencies fell into each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    buckets: Vec<(f64, u64)>,
    count: u64,
}

impl Histogram {
    /// Merges all of them. They may have different buckets.
    pub fn merge<'a>(parts: impl IntoIterator<Item = &'a [(f64, u64)]>) -> Self {
        let seen = |(bound, count): &&(f64, u64)| bound.is_finite() && *count > 0;
        let mut all: Vec<(f64, u64)> = parts.into_iter().flatten().filter(seen).copied().collect();
        all.sort_by(|left, right| left.0.total_cmp(&right.0));
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(all.len());
        for (bound, count) in all {
            match buckets.last_mut() {
                Some(last) if last.0 == bound => last.1 += count,
                _ => buckets.push((bound, count)),
            }
        }
        let count = buckets.iter().map(|(_, count)| count).sum();
        Self { buckets, count }
    }

    /// How many latencies there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The bound that this share of all latencies does not exceed.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let rank = rank(share, self.count);
        self.points().find(|(_, seen)| *seen >= rank).map(|(bound, _)| bound)
    }

    /// Each bound and how many latencies do not exceed it.
    pub fn points(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.buckets.iter().scan(0, |seen, (bound, count)| {
            *seen += count;
            Some((*bound, *seen))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_merged_and_read_by_rank() {
        let rounds: [&[(f64, u64)]; 3] = [&[(10.0, 90), (20.0, 9)], &[(50.0, 1), (20.0, 0)], &[(10.0, 900)]];
        let merged = Histogram::merge(rounds);
        assert_eq!(merged.buckets, [(10.0, 990), (20.0, 9), (50.0, 1)]);
        assert_eq!(merged.count(), 1000);
        let of = |share| merged.percentile(share);
        assert_eq!([of(0.5), of(0.99), of(0.991), of(0.999), of(1.0)], [10.0, 10.0, 20.0, 20.0, 50.0].map(Some));
        assert_eq!(merged.points().last(), Some((50.0, 1000)));
    }

    #[test]
    fn nothing_seen_has_no_percentile() {
        assert_eq!(Histogram::merge([]).percentile(0.5), None);
        let odd: [&[(f64, u64)]; 1] = [&[(f64::NAN, 3), (1.0, 0)]];
        assert_eq!(Histogram::merge(odd).percentile(0.5), None);
    }
}

//! Warnings about orders of targets that noise could explain.

use crate::stats::order::Sorted;
use crate::stats::paired::{InRound, ratio};

/// A target in the order of medians.
struct Place<'a> {
    middle: f64,
    name: &'a str,
    samples: &'a [InRound],
}

/// Names the targets whose medians differ although the interval of their ratio contains 1, so that their order is not
/// known. `None` if there are no such pairs.
pub fn indistinct(targets: &[(String, &[InRound])]) -> Option<String> {
    let mut places: Vec<Place> =
        targets.iter().filter_map(|(name, samples)| Some(Place { middle: median(samples)?, name, samples })).collect();
    places.sort_by(|left, right| left.middle.total_cmp(&right.middle));
    let groups: Vec<String> = groups(&places)
        .iter()
        .map(|group| group.iter().map(|index| places[*index].name).collect::<Vec<_>>().join(" ≈ "))
        .collect();
    (!groups.is_empty()).then(|| format!("differences within the noise: {}", groups.join("; ")))
}

/// The largest groups in which no two members can be told apart. Every such pair is in one of them.
fn groups(places: &[Place]) -> Vec<Vec<usize>> {
    let alike: Vec<Vec<bool>> =
        places.iter().map(|left| places.iter().map(|right| are_alike(left, right)).collect()).collect();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for first in 0..places.len() {
        for second in (first + 1..places.len()).filter(|second| alike[first][*second]) {
            if groups.iter().any(|group| group.contains(&first) && group.contains(&second)) {
                continue;
            }
            let mut group = vec![first, second];
            for (next, alike) in alike.iter().enumerate().skip(second + 1) {
                if group.iter().all(|member| alike[*member]) {
                    group.push(next);
                }
            }
            groups.push(group);
        }
    }
    groups
}

fn are_alike(left: &Place, right: &Place) -> bool {
    let (less, more) = if left.middle < right.middle { (left, right) } else { (right, left) };
    less.middle != more.middle && ratio(more.samples, less.samples).is_some_and(|ratio| ratio.interval.holds(1.0))
}

fn median(samples: &[InRound]) -> Option<f64> {
    Sorted::new(samples.iter().map(|(_, value)| *value)).median()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: [f64; 8]) -> Vec<InRound> {
        (0..).zip(values).collect()
    }

    #[test]
    fn an_order_that_rounds_contradict_is_named() {
        let steady = rounds([10.0, 11.0, 10.0, 12.0, 10.0, 11.0, 10.0, 12.0]);
        let wild = rounds([9.0, 12.0, 9.0, 14.0, 9.0, 12.0, 11.0, 15.0]);
        // Slower by a tenth in each round, so they can be told apart although both vary by more than that.
        let slower = rounds(steady.iter().map(|(_, value)| value * 1.1).collect::<Vec<_>>().try_into().unwrap());
        let target = |name: &str, samples| (name.to_owned(), samples);
        let all = [target("steady", &steady[..]), target("wild", &wild), target("slower", &slower)];
        let text = indistinct(&all).unwrap();
        assert!(text.ends_with(": steady ≈ wild; wild ≈ slower"), "{text}");
        assert_eq!(indistinct(&[all[0].clone(), all[2].clone()]), None);
    }

    #[test]
    fn equal_medians_and_missing_samples_are_no_order() {
        let same = rounds([3.0; 8]);
        let target = |name: &str, samples| (name.to_owned(), samples);
        assert_eq!(indistinct(&[target("a", &same[..]), target("b", &same), target("none", &[])]), None);
        assert_eq!(indistinct(&[]), None);
    }

    #[test]
    fn those_alike_are_one_group() {
        let wild = |shift: usize| rounds(std::array::from_fn(|round| (10 + (round * 5 + shift * 3) % 8) as f64));
        let all: Vec<Vec<InRound>> =
            (0..4).map(|shift| wild(shift).iter().map(|(r, v)| (*r, v + shift as f64 / 10.0)).collect()).collect();
        let named: Vec<(String, &[InRound])> =
            all.iter().enumerate().map(|(i, it)| (format!("s{i}"), &it[..])).collect();
        assert!(indistinct(&named).unwrap().ends_with(": s0 ≈ s1 ≈ s2 ≈ s3"));
    }
}

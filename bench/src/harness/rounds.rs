//! The order within a round.

use fc_testkit::Rng;

/// The numbers below `count` in an order that depends only on seed and round. The order differs between rounds, so that
/// no contender always follows the same other one, and a run can be repeated.
pub fn shuffled(count: usize, seed: u64, round: u32) -> Vec<usize> {
    let mut random = Rng::new(seed ^ (u64::from(round) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, random.within(0, last as u64) as usize);
    }
    order
}

/// What a user listed, each once, in the order of the list.
pub fn distinct<T: Copy + PartialEq>(listed: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for one in listed {
        if !kept.contains(one) {
            kept.push(*one);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_twice_counts_once() {
        assert_eq!(distinct(&[10, 1, 10, 100, 1]), [10, 1, 100]);
    }

    #[test]
    fn orders_are_whole_repeatable_and_different() {
        let orders: Vec<Vec<usize>> = (0..50).map(|round| shuffled(6, 7, round)).collect();
        for (round, order) in (0..).zip(&orders) {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
            assert_eq!(*order, shuffled(6, 7, round));
        }
        let firsts: std::collections::BTreeSet<usize> = orders.iter().map(|order| order[0]).collect();
        assert_eq!(firsts.len(), 6);
        assert_eq!((shuffled(0, 1, 1), shuffled(1, 1, 1)), (vec![], vec![0]));
    }
}

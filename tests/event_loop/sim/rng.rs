//! Every choice of a world, from its seed.

/// Any seed is a good one, also one next to another.
#[derive(Clone)]
pub(super) struct Rng(fc_testkit::Rng);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        Rng(fc_testkit::Rng::new(seed))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0.draw()
    }

    /// From 0 to `bound - 1`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound.max(1))
    }

    /// True in so many of a thousand cases.
    pub(super) fn permille(&mut self, share: usize) -> bool {
        share > 0 && self.below(1000) < share
    }

    pub(super) fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// From 1 to `whole`; every other time all of it.
    pub(super) fn portion(&mut self, whole: usize) -> usize {
        if whole == 0 || self.one_in(2) { whole } else { 1 + self.below(whole) }
    }

    /// A size: mostly small, at most `bound`.
    pub(super) fn size(&mut self, bound: usize) -> usize {
        let reach = self.pick(&[1, 40, 40, 400, 400, 6_000, bound]);
        self.below(reach.min(bound) + 1)
    }
}

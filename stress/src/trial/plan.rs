//! The plan of a trial, drawn from a seed: when the instance is frozen, for how long, and how it wakes up. A seed
//! repeats the plan. What the clients do at each moment depends on the machine.

use std::time::Duration;

use fc_testkit::Rng;

/// When an instance is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// While it handles calls.
    Busy,
    /// At rest, asleep in its wait. The server must notice.
    Quiet,
    /// At rest, announced by this many calls of the pre-freeze hook. The server must notice.
    Announced(u32),
}

/// One freeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// How long the instance runs before the freeze.
    pub awake: Duration,
    /// The moment of the freeze.
    pub moment: Moment,
    /// The length of the freeze.
    pub frozen: Duration,
    /// Whether the next call is sent while the instance is frozen.
    pub asked: bool,
}

/// How cycles are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// The longest time between two freezes, in milliseconds.
    pub awake_ms_max: u64,
    /// The longest freeze, in milliseconds: longer than every time limit.
    pub frozen_ms_max: u64,
}

impl Rhythm {
    /// The next freeze: of 100, 85 are short, 11 take up to 250 ms, and 4 up to the longest.
    pub fn cycle(self, rng: &mut Rng) -> Cycle {
        let awake = rng.millis(0, self.awake_ms_max);
        let moment = match rng.within(0, 99) {
            0..=79 => Moment::Busy,
            80..=91 => Moment::Quiet,
            _ => Moment::Announced(1 + u32::from(rng.one_in(4))),
        };
        let frozen = match rng.within(0, 99) {
            0..=84 => rng.millis(1, 30),
            85..=95 => rng.millis(30, 250),
            _ => rng.millis(250, self.frozen_ms_max),
        };
        Cycle { awake, moment, frozen, asked: rng.one_in(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm = Rhythm { awake_ms_max: 40, frozen_ms_max: 1500 };

    fn plan(seed: u64) -> Vec<Cycle> {
        let mut rng = Rng::new(seed);
        (0..2000).map(|_| RHYTHM.cycle(&mut rng)).collect()
    }

    #[test]
    fn a_seed_replays_its_plan_and_another_has_its_own() {
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
        let mut forks = [Rng::new(1).fork(0), Rng::new(1).fork(1), Rng::new(2).fork(0)].map(|mut r| r.draw());
        forks.sort_unstable();
        assert!(forks.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_plan_has_every_moment_and_every_length() {
        let plan = plan(7);
        for wanted in [Moment::Busy, Moment::Quiet, Moment::Announced(1), Moment::Announced(2)] {
            assert!(plan.iter().any(|cycle| cycle.moment == wanted), "{wanted:?}");
        }
        let longer = |ms| plan.iter().filter(|cycle| cycle.frozen > Duration::from_millis(ms)).count();
        assert!(longer(1000) > 10 && longer(250) < 200 && longer(30) > 200, "{} {}", longer(1000), longer(250));
        assert!(plan.iter().all(|cycle| cycle.frozen <= Duration::from_millis(1500)));
        let mean = plan.iter().map(|cycle| cycle.frozen.as_secs_f64()).sum::<f64>() / 2000.0;
        assert!((0.03..0.1).contains(&mean), "{mean}");
    }
}

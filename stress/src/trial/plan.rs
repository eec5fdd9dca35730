//! What is done, from a seed: when it is frozen, how long, and how it wakes. A seed replays the plan; what the clients
//! are doing at each of its moments is the machine's affair.

use std::time::Duration;

use fc_testkit::Rng;

/// When an instance is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// In the middle of whatever it does.
    Busy,
    /// At rest, asleep in its wait: it has to notice.
    Quiet,
    /// At rest and told by the pre-freeze hook, so many times: it has to notice.
    Announced(u32),
}

/// One freeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// How long it runs before.
    pub awake: Duration,
    /// When it is frozen.
    pub moment: Moment,
    /// For how long.
    pub frozen: Duration,
    /// The next call is sent while it stands still.
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

//! What an instance takes, looked at each second: memory, descriptors, threads, page faults.
//!
//! Whoever looks sees to it that nothing is in hand: a body that is just being read is no leak.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::trend::Trend;
use fc_emulator::error::Result;
use fc_testkit::proc::{self, Faults, Memory};

const EVERY: Duration = Duration::from_secs(1);

/// One look.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Seconds since the first look.
    pub at: f64,
    /// Pages that no file stands behind, in kB: heap and stack. What of the program itself is in memory is the kernel's
    /// affair.
    pub anonymous_kb: u64,
    /// All pages that it has in memory, in kB.
    pub resident_kb: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Page faults served from memory, so far.
    pub minor_faults: u64,
}

/// All looks.
pub struct Watch {
    pid: u32,
    began: Instant,
    samples: Vec<Sample>,
}

impl Watch {
    /// Of this process.
    pub fn new(pid: u32) -> Self {
        Self { pid, began: Instant::now(), samples: Vec::new() }
    }

    /// Whether it is time for a look.
    pub fn is_due(&self) -> bool {
        let at = self.began.elapsed().as_secs_f64();
        self.samples.last().is_none_or(|last| at - last.at >= EVERY.as_secs_f64())
    }

    /// Looks.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn look(&mut self) -> Result<()> {
        let at = self.began.elapsed().as_secs_f64();
        let Memory { anonymous_kb, resident_kb, .. } = Memory::of(self.pid)?;
        let (descriptors, threads) = (self.descriptors()?, proc::threads(self.pid)?);
        let minor_faults = Faults::of(self.pid)?.minor;
        self.samples.push(Sample { at, anonymous_kb, resident_kb, descriptors, threads, minor_faults });
        Ok(())
    }

    /// Open descriptors now.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(proc::descriptors(self.pid)?)
    }

    /// All looks so far.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// How its memory goes.
    pub fn trend(&self) -> Option<Trend> {
        let of = |sample: &Sample| (sample.at, sample.anonymous_kb as f64);
        Trend::of(&self.samples.iter().map(of).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_sees_our_own_process_and_the_next_is_due_a_second_later() {
        let mut watch = Watch::new(std::process::id());
        assert!(watch.is_due());
        watch.look().unwrap();
        assert!(!watch.is_due());
        let [sample] = watch.samples() else { panic!("{:?}", watch.samples()) };
        assert!(sample.descriptors >= 3 && sample.threads >= 1 && sample.anonymous_kb > 0 && sample.minor_faults > 0);
        assert!(watch.trend().is_none());
        let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(watch.descriptors().unwrap() >= files.len());
        assert!(Watch::new(u32::MAX).look().is_err());
    }
}

//! Samples of an instance, one per second: memory, descriptors, threads, page faults.
//!
//! The caller makes sure that no call is in progress: a body that is being read is no leak.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::trend::Trend;
use fc_emulator::error::Result;
use fc_testkit::proc::{self, Faults, Memory};

const EVERY: Duration = Duration::from_secs(1);

/// One sample.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Seconds since the first sample.
    pub at: f64,
    /// Anonymous memory in kB: heap and stack. How much of the program itself is in memory depends on the kernel.
    pub anonymous_kb: u64,
    /// Resident memory in kB.
    pub resident_kb: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Minor page faults so far.
    pub minor_faults: u64,
}

/// All samples.
pub struct Watch {
    pid: u32,
    began: Instant,
    samples: Vec<Sample>,
}

impl Watch {
    /// Watches this process.
    pub fn new(pid: u32) -> Self {
        Self { pid, began: Instant::now(), samples: Vec::new() }
    }

    /// Whether the next sample is due.
    pub fn is_due(&self) -> bool {
        let at = self.began.elapsed().as_secs_f64();
        self.samples.last().is_none_or(|last| at - last.at >= EVERY.as_secs_f64())
    }

    /// Takes a sample.
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

    /// The number of open descriptors now.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(proc::descriptors(self.pid)?)
    }

    /// All samples so far.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The trend of its memory.
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

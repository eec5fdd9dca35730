//! The guest's own word: questions to `init.sh` on a port that is not the network.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::output::{Output, Stream};

/// How long the guest may take to answer. Under emulation it starts a program or two for it.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// The clocks of a guest at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// When the host asked, by the host's monotonic clock.
    pub asked: Instant,
    /// When the host asked, by the host's clock of the day.
    pub asked_at: SystemTime,
    /// `CLOCK_MONOTONIC` of the guest.
    pub monotonic: Duration,
    /// `CLOCK_BOOTTIME` of the guest.
    pub boottime: Duration,
    /// `CLOCK_REALTIME` of the guest, since 1970.
    pub realtime: Duration,
    /// The guest's hardware clock, since 1970, in whole seconds. Zero if the guest has none.
    pub rtc: Duration,
}

/// By how much less than the host a guest has lived between two moments: what it did not run. Each value is exact to
/// about 0.1 s, the time of a question and its answer under emulation.
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    /// The time between the two moments by the host.
    pub host: Duration,
    /// By `CLOCK_MONOTONIC`.
    pub monotonic: Duration,
    /// By `CLOCK_BOOTTIME`.
    pub boottime: Duration,
    /// By `CLOCK_REALTIME`. Zero if somebody has set the clock meanwhile.
    pub realtime: Duration,
    /// How far `CLOCK_REALTIME` of the guest is behind that of the host now.
    pub behind_host: Duration,
}

impl Clocks {
    /// Compares with an earlier moment of the same guest.
    pub fn since(&self, earlier: &Self) -> Lag {
        let host = self.asked.saturating_duration_since(earlier.asked);
        let lag = |now: Duration, then: Duration| host.saturating_sub(now.saturating_sub(then));
        let day = self.asked_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Lag {
            host,
            monotonic: lag(self.monotonic, earlier.monotonic),
            boottime: lag(self.boottime, earlier.boottime),
            realtime: lag(self.realtime, earlier.realtime),
            behind_host: day.saturating_sub(self.realtime),
        }
    }

    /// `NOW REALTIME-NOW BOOTTIME-NOW` in nanoseconds and the hardware clock in seconds, as `init.sh` prints them.
    fn parse(text: &str, asked: Instant, asked_at: SystemTime) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (now, real, boot, rtc) = (next()?, next()?, next()?, next()?);
        let (monotonic, nanos) = (Duration::from_nanos(now), Duration::from_nanos);
        let (boottime, realtime) = (monotonic + nanos(boot), monotonic + nanos(real));
        Some(Self { asked, asked_at, monotonic, boottime, realtime, rtc: Duration::from_secs(rtc) })
    }
}

/// The connection to the agent of one guest.
pub(super) struct Agent {
    port: UnixStream,
    lines: Output,
    asked: u64,
}

impl Agent {
    /// Reads what the guest says from now on.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub(super) fn open(port: UnixStream) -> Result<Self> {
        let lines = Output::new();
        let reader = port.try_clone().map_err(|cause| Error::failed("read from", "the guest", cause))?;
        lines.follow(Stream::Out, reader);
        Ok(Self { port, lines, asked: 0 })
    }

    /// Waits until the guest says that it starts the target.
    ///
    /// # Errors
    /// If it says that it failed, if it ends, or if the deadline passes.
    pub(super) fn wait_up(&self, deadline: Deadline) -> Result<()> {
        let line = self.lines.wait_for(0, deadline, |line| &*line.text == "- up" || line.text.starts_with("- failed"));
        match line {
            Some(line) if &*line.text == "- up" => Ok(()),
            Some(line) => Err(Error::new(line.text.trim_start_matches("- failed").trim().to_owned())),
            None => Err(Error::new("the guest did not start in time, or it ended")),
        }
    }

    /// The exit code of the target, if the target has ended.
    pub(super) fn exit_code(&self) -> Option<i32> {
        let lines = self.lines.all();
        lines.iter().find_map(|line| line.text.strip_prefix("- exit ")?.trim().parse().ok())
    }

    /// Asks one question.
    ///
    /// # Errors
    /// If the guest does not answer in time, as when it stands still.
    pub(super) fn ask(&mut self, question: &str) -> Result<String> {
        // The number tells this answer from a late one to an earlier question, which a snapshot may have kept.
        self.asked += 1;
        let number = format!("{:x}-{} ", crate::platform::ids::random(), self.asked);
        let mark = self.lines.mark();
        let request = format!("{number}{question}\n");
        self.port.write_all(request.as_bytes()).map_err(|cause| Error::failed("ask the guest for", question, cause))?;
        let answer = self.lines.wait_for(mark, Deadline::after(ANSWER_WAIT), |line| line.text.starts_with(&number));
        let answer = answer.ok_or_else(|| Error::failed("ask the guest for", question, "it did not answer"))?;
        Ok(answer.text[number.len()..].trim().to_owned())
    }

    /// The clocks of the guest.
    ///
    /// # Errors
    /// As [`Agent::ask`], and if the kernel of the guest has no `/proc/timer_list`.
    pub(super) fn clocks(&mut self) -> Result<Clocks> {
        let (asked, asked_at) = (Instant::now(), SystemTime::now());
        let told = self.ask("clocks")?;
        Clocks::parse(&told, asked, asked_at)
            .ok_or_else(|| Error::failed("understand the guest's clocks", told, "no numbers"))
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// As [`Agent::ask`], and if the guest could not do it.
    pub(super) fn order(&mut self, question: &str) -> Result<()> {
        match self.ask(question)?.as_str() {
            "done" => Ok(()),
            other => Err(Error::failed("make the guest do", question, other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(text: &str, at_ms: u64) -> Clocks {
        let (asked, asked_at) = (Instant::now(), UNIX_EPOCH);
        let late = Duration::from_millis(at_ms);
        Clocks::parse(text, asked + late, asked_at + Duration::from_secs(1000) + late).unwrap()
    }

    #[test]
    fn a_machine_that_stood_lags_by_the_pause() {
        let before = clocks("5000000000 995000000000 0 1000", 0);
        let after = clocks("5500000000 995000000000 0 1006", 6500);
        let lag = after.since(&before);
        let near = |span: Duration, ms: u128| span.as_millis().abs_diff(ms) <= 20;
        assert!(near(lag.host, 6500) && near(lag.monotonic, 6000) && near(lag.realtime, 6000), "{lag:?}");
        assert!(near(lag.behind_host, 6000), "{lag:?}");
        assert_eq!(after.rtc - before.rtc, Duration::from_secs(6));
    }

    #[test]
    fn a_clock_that_was_set_does_not_lag() {
        let before = clocks("5000000000 995000000000 0 1000", 0);
        let after = clocks("5500000000 1001000000000 0 1006", 6500);
        assert!(after.since(&before).realtime.as_millis() <= 20);
        assert!(Clocks::parse("1 2 x 4", Instant::now(), UNIX_EPOCH).is_none());
    }
}

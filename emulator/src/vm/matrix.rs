//! Every way to freeze a guest, tried on one program, and what the program noticed.
//!
//! The program must report its life as the inspector of `fc-hooks` does: JSON with an object `lifecycle`, in which
//! `thawed` counts the thaws that it noticed and `lastThaw` has the evidence. Whatever evidence there is, by whatever
//! name, is shown. The calls are those of FC 3.0, whose request ids carry the time of the caller (C-FRZ-10).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{ClockSource, Guest, Lag, Method, Options, Program, Rtc, Tools};
use crate::clock::{Deadline, seconds};
use crate::error::{Error, Result};
use crate::http::Conn;
use crate::platform::{Generation, Hook, IdForm, Platform, Request, Settings};
use crate::target::Listener;

/// How long a program may take from its start to an open port, and to answer a call.
const READY_WAIT: Duration = Duration::from_secs(60);
const CALL_WAIT: Duration = Duration::from_secs(20);

/// What Kata Containers gives its guests, as far as it concerns clocks and starts.
const KATA: &str = "tsc=reliable no_timer_check rcupdate.rcu_expedited=1 i8042.direct=1 i8042.dumbkbd=1 i8042.nopnp=1 \
                    i8042.noaux=1 noreplace-smp reboot=k cryptomgr.notests net.ifnames=0";

/// What is done to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Freeze(Method),
    /// Two restores of one snapshot, which run at once.
    Clone,
}

/// One row of the table: a way of freezing, and how the guest measures time. Written as words with slashes between
/// them: `vm-pause`, `vm-snapshot/hpet`, `vm-pause/tsc/rt`, `vm-pause/kata`, `vm-pause/set-clock`,
/// `clone/generation-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    way: Way,
    clock_source: Option<ClockSource>,
    rtc: Rtc,
    kata: bool,
    generation_id: bool,
    /// The guest's clock is set right after the first call.
    set_clock: bool,
}

/// The rows that `make vm` tries. The first is the shortest.
pub const ROWS: [&str; 15] = [
    "vm-pause",
    "vm-pause/hpet",
    "vm-pause/acpi_pm",
    "vm-pause/tsc/vm",
    "vm-pause/tsc/rt",
    "vm-pause/kata",
    "vm-pause/set-clock",
    "vm-snapshot/tsc",
    "vm-snapshot/hpet",
    "vm-snapshot/acpi_pm/vm",
    "vm-snapshot-same/tsc",
    "vmm-stop",
    "clone",
    "clone/generation-id",
    "criu",
];

/// How the matrix is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long a guest is frozen.
    pub pause: Duration,
    /// How long the program is left alone before a freeze, so that it waits without a time limit.
    pub idle: Duration,
    /// How many freezes a row has. A clone has two restores, whatever this says.
    pub freezes: u32,
    /// A path whose GET draws something that should be unique, an id or a random number. Clones are compared by it.
    pub draw: Option<String>,
}

/// What came of one row.
#[derive(Clone, Debug)]
pub struct Outcome {
    row: Row,
    source: String,
    freezes: u32,
    noticed: u32,
    /// Thaws that were reported at a call before which there was no freeze: late, or false.
    late_thaws: u32,
    lag: Lag,
    last: Report,
    evidence: BTreeSet<String>,
    remark: Option<String>,
}

/// What a program says of its life.
#[derive(Clone, Debug, Default)]
struct Report {
    thawed: u64,
    gap_ms: Option<u64>,
    idle_ms: Option<u64>,
    /// Evidence of the last thaw, by its name in the document, with its value.
    evidence: BTreeSet<String>,
}

impl FromStr for Row {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut words = text.split('/');
        let first = words.next().unwrap_or_default();
        let method = Method::ALL.into_iter().find(|method| method.name() == first).map(Way::Freeze);
        let way = method.or((first == "clone").then_some(Way::Clone));
        let way = way.ok_or_else(|| format!("`{first}` is no way to freeze a virtual machine"))?;
        let mut row =
            Self { way, clock_source: None, rtc: Rtc::Host, kata: false, generation_id: false, set_clock: false };
        for word in words {
            match word {
                "tsc" => row.clock_source = Some(ClockSource::Tsc),
                "hpet" => row.clock_source = Some(ClockSource::Hpet),
                "acpi_pm" => row.clock_source = Some(ClockSource::AcpiPm),
                "host" => row.rtc = Rtc::Host,
                "rt" => row.rtc = Rtc::Rt,
                "vm" => row.rtc = Rtc::Vm,
                "kata" => row.kata = true,
                "generation-id" => row.generation_id = true,
                "set-clock" => row.set_clock = true,
                _ => return Err(format!("`{word}` is no variant of a row")),
            }
        }
        Ok(row)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            Way::Freeze(method) => method.name(),
            Way::Clone => "clone",
        })?;
        for (set, word) in [(self.kata, "kata"), (self.generation_id, "generation-id"), (self.set_clock, "set-clock")] {
            if set {
                write!(f, ", {word}")?;
            }
        }
        Ok(())
    }
}

impl Row {
    fn options(&self) -> Options {
        let append = if self.kata { KATA.split_whitespace().map(str::to_owned).collect() } else { Vec::new() };
        let (rtc, generation_id, criu) = (self.rtc, self.generation_id, self.way == Way::Freeze(Method::Criu));
        Options { clock_source: self.clock_source, rtc, generation_id, criu, append, memory_mib: None }
    }
}

/// Runs one row in a guest of its own. `program` listens on `port` in the guest.
///
/// # Errors
/// If the guest cannot be booted or frozen, or the program does not answer.
pub fn run(tools: &Tools, program: &Program, port: u16, row: &Row, plan: &Plan) -> Result<Outcome> {
    let mut guest = Guest::boot(tools, program, port, &row.options())?;
    let platform = Platform::new(Settings { generation: Generation::Fc3, ids: IdForm::Time, ..Settings::default() });
    wait_ready(&mut guest)?;
    call(&guest, &platform.hook(Hook::Initialize))?;
    let before = report(&guest, &platform)?;
    let source = guest.clock_source()?;
    std::thread::sleep(plan.idle);
    let mut trial = Trial { platform, plan, row, source, before };
    match row.way {
        Way::Freeze(method) => trial.freezes(guest, method),
        Way::Clone => trial.clones(guest),
    }
}

/// A row that is being tried.
struct Trial<'a> {
    platform: Platform,
    plan: &'a Plan,
    row: &'a Row,
    source: String,
    before: Report,
}

impl Trial<'_> {
    fn freezes(&mut self, mut guest: Guest, method: Method) -> Result<Outcome> {
        let mut noticed = 0;
        let mut late_thaws = 0;
        let mut evidence = BTreeSet::new();
        let mut thawed = self.before.thawed;
        let (mut last, mut lag) = (self.before.clone(), None);
        for _ in 0..self.plan.freezes {
            guest.freeze(method)?;
            std::thread::sleep(self.plan.pause);
            guest.thaw()?;
            last = report(&guest, &self.platform)?;
            noticed += u32::from(last.thawed > thawed);
            evidence.extend(last.evidence.iter().filter(|_| last.thawed > thawed).cloned());
            lag = Some(guest.lag()?);
            if self.row.set_clock {
                guest.set_clock(SystemTime::now())?;
            }
            let again = report(&guest, &self.platform)?;
            late_thaws += u32::from(again.thawed > last.thawed);
            thawed = again.thawed;
            std::thread::sleep(self.plan.idle);
        }
        let lag = lag.ok_or_else(|| Error::new("a row has at least one freeze"))?;
        Ok(self.outcome(self.plan.freezes, noticed, late_thaws, lag, last, evidence, None))
    }

    fn clones(&mut self, mut guest: Guest) -> Result<Outcome> {
        let snapshot = guest.snapshot()?;
        drop(guest);
        std::thread::sleep(self.plan.pause);
        let mut clones = [Guest::restore(&snapshot)?, Guest::restore(&snapshot)?];
        let reports = clones.iter().map(|clone| report(clone, &self.platform)).collect::<Result<Vec<_>>>()?;
        let numbers = clones.iter_mut().map(Guest::random).collect::<Result<Vec<_>>>()?;
        let mut remark = format!("the kernels' random numbers {}", compared(&numbers));
        if let Some(path) = &self.plan.draw {
            let draw = |clone| call(clone, &self.platform.http("GET", path, &[], Vec::new()));
            let drawn = clones.iter().map(draw).collect::<Result<Vec<_>>>()?;
            remark.push_str(&format!(", the answers to GET {path} {}", compared(&drawn)));
        }
        let noticed = reports.iter().filter(|report| report.thawed > self.before.thawed).count() as u32;
        let evidence = reports.iter().filter(|report| report.thawed > self.before.thawed);
        let evidence = evidence.flat_map(|report| report.evidence.iter().cloned()).collect();
        let lag = clones[0].lag()?;
        let last = reports.into_iter().next().unwrap_or_default();
        Ok(self.outcome(clones.len() as u32, noticed, 0, lag, last, evidence, Some(remark)))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an outcome, each once")]
    fn outcome(
        &self,
        freezes: u32,
        noticed: u32,
        late_thaws: u32,
        lag: Lag,
        last: Report,
        evidence: BTreeSet<String>,
        remark: Option<String>,
    ) -> Outcome {
        let (row, source) = (self.row.clone(), self.source.clone());
        Outcome { row, source, freezes, noticed, late_thaws, lag, last, evidence, remark }
    }
}

/// What two clones have drawn.
fn compared<T: PartialEq>(drawn: &[T]) -> &'static str {
    if drawn.windows(2).all(|pair| pair[0] == pair[1]) { "coincide" } else { "differ" }
}

/// Waits until the program listens.
fn wait_ready(guest: &mut Guest) -> Result<()> {
    let deadline = Deadline::after(READY_WAIT);
    loop {
        if guest.listener()? == Listener::Reachable {
            return Ok(());
        }
        if let Some(exit) = guest.try_exit() {
            let said: Vec<String> = guest.output().all().into_iter().map(|line| line.text).collect();
            return Err(Error::new(format!("the program {exit}: {}", said.join(" | "))));
        }
        if deadline.passed() {
            return Err(Error::new("the program did not listen in time"));
        }
    }
}

fn call(guest: &Guest, request: &Request) -> Result<Vec<u8>> {
    let deadline = Deadline::after(CALL_WAIT);
    let answered = Conn::open(guest.addr(), deadline).and_then(|mut conn| conn.exchange(&request.bytes(), deadline));
    let response = answered.map_err(|cause| Error::failed("call", &request.line, cause))?;
    if response.is_success() { Ok(response.body) } else { Err(Error::failed("call", &request.line, response.status)) }
}

fn report(guest: &Guest, platform: &Platform) -> Result<Report> {
    let body = call(guest, &platform.http("GET", "/", &[], Vec::new()))?;
    Report::parse(&body).ok_or_else(|| {
        let shown: String = String::from_utf8_lossy(&body).chars().take(80).collect();
        Error::failed("find `lifecycle` in", shown, "the program must answer as the inspector does")
    })
}

impl Report {
    fn parse(body: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(body).ok()?;
        let life = document.get("lifecycle")?;
        let thaw = &life["lastThaw"];
        let mut evidence = BTreeSet::new();
        for (name, value) in thaw["evidence"].as_object().into_iter().flatten() {
            match value {
                Value::Null | Value::Bool(false) => {}
                Value::Bool(true) => drop(evidence.insert(name.clone())),
                value => drop(evidence.insert(format!("{name} {value}"))),
            }
        }
        // How sure the program is, by whatever name.
        let words = thaw.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str());
        evidence.extend(words.map(|word| format!("({word})")));
        let (gap_ms, idle_ms) = (thaw["gapMs"].as_u64(), life["idleMs"].as_u64());
        Some(Self { thawed: life["thawed"].as_u64()?, gap_ms, idle_ms, evidence })
    }
}

impl Outcome {
    /// Whether every freeze was noticed at the first call after it, and only there.
    pub fn is_complete(&self) -> bool {
        self.noticed == self.freezes && self.late_thaws == 0
    }

    /// The head of the table whose rows [`Outcome`] displays, in Markdown.
    pub const HEAD: &'static str = "\
| how it is frozen | clock | rtc | noticed | evidence | gap | idle | MONOTONIC lacks | REALTIME lacks | |\n\
|---|---|---|---|---|---|---|---|---|---|";
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |value: Option<u64>| value.map_or("-".to_owned(), |ms| seconds(Duration::from_millis(ms)));
        let evidence: Vec<&str> = self.evidence.iter().map(String::as_str).collect();
        let evidence = if evidence.is_empty() { "none".to_owned() } else { evidence.join(", ") };
        let mut remarks: Vec<String> = self.remark.iter().cloned().collect();
        if self.late_thaws > 0 {
            let thaws = if self.late_thaws == 1 { "thaw" } else { "thaws" };
            remarks.push(format!("{} {thaws} reported at the second call", self.late_thaws));
        }
        write!(
            f,
            "| {} | {} | {} | {} of {} | {evidence} | {} | {} | {} | {} | {} |",
            self.row,
            self.source,
            self.row.rtc.name(),
            self.noticed,
            self.freezes,
            ms(self.last.gap_ms.filter(|_| self.noticed > 0)),
            ms(self.last.idle_ms),
            seconds(self.lag.monotonic),
            seconds(self.lag.realtime),
            remarks.join(", "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_read() {
        for text in ROWS {
            let row = text.parse::<Row>().unwrap();
            assert!(text.starts_with(row.to_string().split(',').next().unwrap()), "{text}");
        }
        let row: Row = "vm-snapshot/acpi_pm/vm".parse().unwrap();
        assert_eq!((row.clock_source, row.rtc), (Some(ClockSource::AcpiPm), Rtc::Vm));
        assert!("vm-pause/nothing".parse::<Row>().is_err() && "sigstop".parse::<Row>().is_err());
    }

    #[test]
    fn evidence_is_what_is_there() {
        let body = br#"{"lifecycle":{"thawed":2,"idleMs":6000,"lastThaw":{"certainty":"likely","gapMs":5900,
                       "evidence":{"preFreeze":false,"sigcont":true,"oversleptMs":null,"callerClockMs":5800}}}}"#;
        let report = Report::parse(body).unwrap();
        assert_eq!((report.thawed, report.gap_ms, report.idle_ms), (2, Some(5900), Some(6000)));
        let evidence: Vec<&str> = report.evidence.iter().map(String::as_str).collect();
        assert_eq!(evidence, ["(likely)", "callerClockMs 5800", "sigcont"]);
        assert!(Report::parse(br#"{"lifecycle":{"thawed":0,"lastThaw":null}}"#).unwrap().evidence.is_empty());
        assert!(Report::parse(b"{}").is_none() && Report::parse(b"hello").is_none());
    }
}

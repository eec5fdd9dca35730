//! Every way to freeze a guest, tried on one program, and what the program noticed: `make vm`.
//!
//! The program must report its life as the inspector of `fc-hooks` does: JSON with an object `lifecycle`, in which
//! `thawed` counts the thaws that it noticed and `lastThaw` has the evidence. Whatever evidence there is, by whatever
//! name, is shown. The calls are those of FC 3.0, whose request ids carry the time of the caller (C-FRZ-10).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{ClockSource, Guest, Lag, Method, Options, Program, Rtc, Tools};
use crate::clock::{Deadline, seconds};
use crate::error::{Error, Result};
use crate::http::Conn;
use crate::platform::{Generation, Hook, IdForm, Platform, Request, Settings};

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
/// them: `vm-pause`, `vm-snapshot/hpet`, `vm-pause/tsc/rt`, `vm-pause/kata`, `vm-pause/set-clock`, `vmm-stop/long`,
/// `clone/generation-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    text: String,
    way: Way,
    clock_source: Option<ClockSource>,
    rtc: Rtc,
    kata: bool,
    generation_id: bool,
    /// The guest's clock is set right after the first call.
    set_clock: bool,
    /// The freeze is longer than a platform's instances are idle without being frozen.
    long: bool,
}

/// The rows that `make vm` tries. The first is the shortest.
pub const ROWS: [&str; 16] = [
    "vm-pause/tsc",
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
    "vmm-stop/long",
    "clone",
    "clone/generation-id",
    "criu",
];

/// How the matrix is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long a guest is frozen.
    pub pause: Duration,
    /// How long it is frozen in a row `long`.
    pub long_pause: Duration,
    /// How long the program is left alone before a freeze, so that it waits without a time limit.
    pub idle: Duration,
    /// How many freezes a row has. A clone has two restores, whatever this says.
    pub freezes: u32,
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
    lag: Option<Lag>,
    last: Report,
    /// Evidence of the thaws that were noticed, by name, with the last value.
    evidence: BTreeMap<String, String>,
    remark: Option<String>,
}

/// What a program says of its life.
#[derive(Clone, Debug, Default)]
struct Report {
    thawed: u64,
    /// Each length with the clock that it is from.
    gap: Option<Length>,
    idle: Option<Length>,
    confidence: Option<String>,
    /// Evidence of the last thaw, by its name in the document, with its value.
    evidence: BTreeMap<String, String>,
}

type Length = (Duration, String);

impl FromStr for Row {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut words = text.split('/');
        let first = words.next().unwrap_or_default();
        let method = Method::ALL.into_iter().find(|method| method.name() == first).map(Way::Freeze);
        let way = method.or((first == "clone").then_some(Way::Clone));
        let way = way.ok_or_else(|| format!("unknown row: `{first}` is no way to freeze a virtual machine"))?;
        let mut row = Self {
            text: text.to_owned(),
            way,
            clock_source: None,
            rtc: Rtc::Host,
            kata: false,
            generation_id: false,
            set_clock: false,
            long: false,
        };
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
                "long" => row.long = true,
                _ => return Err(format!("unknown row: `{word}` is no variant")),
            }
        }
        Ok(row)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Row {
    /// Whether this row needs CRIU on this machine.
    pub fn needs_criu(&self) -> bool {
        self.way == Way::Freeze(Method::Criu)
    }

    /// Whether nothing in the guest can show the freeze, so that a miss is no fault: every clock runs on while QEMU is
    /// stopped, no wait is interrupted, and the gap is too short to mean anything.
    pub fn is_invisible(&self) -> bool {
        self.way == Way::Freeze(Method::VmmStop) && !self.long
    }

    fn options(&self) -> Options {
        let append = if self.kata { KATA.split_whitespace().map(str::to_owned).collect() } else { Vec::new() };
        let (clock_source, rtc, generation_id, criu) =
            (self.clock_source, self.rtc, self.generation_id, self.needs_criu());
        Options { clock_source, rtc, generation_id, criu, append, memory_mib: None }
    }
}

/// Runs one row in a guest of its own. `program` listens on `port` in the guest. It gets the environment of the
/// platform.
///
/// # Errors
/// If the guest cannot be booted or frozen, or the program does not answer.
pub fn run(tools: &Tools, program: &Program, port: u16, row: &Row, plan: &Plan) -> Result<Outcome> {
    let (mut guest, platform) = initialized(tools, program, port, &row.options())?;
    let before = report(&guest, &platform)?;
    let outcome = Outcome {
        row: row.clone(),
        source: guest.clock_source()?,
        freezes: 0,
        noticed: 0,
        late_thaws: 0,
        lag: None,
        last: before,
        evidence: BTreeMap::new(),
        remark: None,
    };
    std::thread::sleep(plan.idle);
    let pause = if row.long { plan.long_pause } else { plan.pause };
    let mut trial = Trial { platform, pause, outcome };
    match row.way {
        Way::Freeze(method) => trial.freezes(guest, method, plan)?,
        Way::Clone => trial.clones(guest)?,
    }
    Ok(trial.outcome)
}

/// Boots a guest and brings the program to where it takes calls.
pub(super) fn initialized(tools: &Tools, program: &Program, port: u16, options: &Options) -> Result<(Guest, Platform)> {
    let settings = Settings { generation: Generation::Fc3, ids: IdForm::Time, ..Settings::default() };
    let platform = Platform::new(settings);
    let mut guest = Guest::boot(tools, &program.with_env(&platform.env(port)), port, options)?;
    guest.wait_ready(READY_WAIT)?;
    call(&guest, &platform.hook(Hook::Initialize))?;
    Ok((guest, platform))
}

/// A row that is being tried.
struct Trial {
    platform: Platform,
    pause: Duration,
    outcome: Outcome,
}

impl Trial {
    fn freezes(&mut self, mut guest: Guest, method: Method, plan: &Plan) -> Result<()> {
        for _ in 0..plan.freezes {
            guest.freeze(method)?;
            std::thread::sleep(self.pause);
            guest.thaw()?;
            let thawed = self.outcome.last.thawed;
            let first = report(&guest, &self.platform)?;
            self.outcome.count(&first, thawed);
            self.outcome.lag = Some(guest.lag()?);
            if self.outcome.row.set_clock {
                guest.set_clock(SystemTime::now())?;
            }
            let second = report(&guest, &self.platform)?;
            self.outcome.late_thaws += u32::from(second.thawed > first.thawed);
            self.outcome.last = Report { thawed: second.thawed, ..first };
            std::thread::sleep(plan.idle);
        }
        Ok(())
    }

    fn clones(&mut self, mut guest: Guest) -> Result<()> {
        let snapshot = guest.snapshot()?;
        drop(guest);
        std::thread::sleep(self.pause);
        let mut clones = [Guest::restore(&snapshot)?, Guest::restore(&snapshot)?];
        // First of all: each kernel mixes in the timing of its interrupts soon, and then their numbers differ anyhow.
        let numbers = clones.iter_mut().map(Guest::random).collect::<Result<Vec<_>>>()?;
        self.outcome.remark = Some(format!("random numbers of the kernels {}", compared(&numbers)));
        let thawed = self.outcome.last.thawed;
        for clone in &clones {
            let first = report(clone, &self.platform)?;
            self.outcome.count(&first, thawed);
            self.outcome.last = first;
        }
        self.outcome.lag = Some(clones[0].lag()?);
        Ok(())
    }
}

/// What two clones have drawn.
fn compared<T: PartialEq>(drawn: &[T]) -> &'static str {
    if drawn.windows(2).all(|pair| pair[0] == pair[1]) { "coincide" } else { "differ" }
}

/// Makes one call on a connection of its own.
pub(super) fn call(guest: &Guest, request: &Request) -> Result<Vec<u8>> {
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
        let length = |object: &Value, ms: &str, clock: &str| -> Option<Length> {
            let clock = object[clock].as_str().unwrap_or("monotonic").to_owned();
            Some((Duration::from_millis(object[ms].as_u64()?), clock))
        };
        let mut evidence = BTreeMap::new();
        for (name, value) in thaw["evidence"].as_object().into_iter().flatten() {
            let (name, shown) = match (value, name.strip_suffix("Ms")) {
                (Value::Bool(true), _) => (name.as_str(), String::new()),
                (Value::Number(ms), Some(name)) => {
                    (name, seconds(Duration::from_millis(ms.as_u64().unwrap_or_default())))
                }
                _ => continue,
            };
            evidence.insert(name.to_owned(), shown);
        }
        Some(Self {
            thawed: life["thawed"].as_u64()?,
            gap: length(thaw, "gapMs", "gapClock"),
            idle: length(life, "idleMs", "idleClock"),
            confidence: thaw["confidence"].as_str().map(str::to_owned),
            evidence,
        })
    }
}

impl Outcome {
    /// Counts a freeze, and what the program says at the first call after it. It had noticed `thawed` thaws before.
    fn count(&mut self, first: &Report, thawed: u64) {
        self.freezes += 1;
        if first.thawed > thawed {
            self.noticed += 1;
            self.evidence.extend(first.evidence.clone());
        }
    }

    /// Whether every freeze that can be noticed was noticed at the first call after it, and only there.
    pub fn is_complete(&self) -> bool {
        (self.noticed == self.freezes || self.row.is_invisible()) && self.late_thaws == 0
    }

    /// The head of the table whose rows [`Outcome`] displays, in Markdown.
    pub const HEAD: &'static str = "\
| row | clock | rtc | noticed | by | sure | gap | idle | MONOTONIC lacks | REALTIME lacks | |\n\
|---|---|---|---|---|---|---|---|---|---|---|";
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |length: &Option<Length>| {
            length.as_ref().map_or("–".to_owned(), |(length, clock)| format!("{} ({clock})", seconds(*length)))
        };
        let lag = |of: fn(&Lag) -> Duration| self.lag.as_ref().map_or("–".to_owned(), |lag| seconds(of(lag)));
        let (noticed, last) = (self.noticed > 0, &self.last);
        let evidence: Vec<String> =
            self.evidence.iter().map(|(name, value)| format!("{name} {value}").trim_end().to_owned()).collect();
        let mut remarks: Vec<String> = self.remark.iter().cloned().collect();
        if self.late_thaws > 0 {
            let thaws = if self.late_thaws == 1 { "thaw" } else { "thaws" };
            remarks.push(format!("{} {thaws} reported at the second call", self.late_thaws));
        }
        write!(
            f,
            "| {} | {} | {} | {} of {} | {} | {} | {} | {} | {} | {} | {} |",
            self.row,
            self.source,
            self.row.rtc.name(),
            self.noticed,
            self.freezes,
            if noticed { evidence.join(", ") } else { "–".to_owned() },
            last.confidence.as_deref().filter(|_| noticed).unwrap_or("–"),
            if noticed { length(&last.gap) } else { "–".to_owned() },
            length(&last.idle),
            lag(|lag| lag.monotonic),
            lag(|lag| lag.realtime),
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
            assert_eq!(text.parse::<Row>().unwrap().to_string(), text);
        }
        let row: Row = "vm-snapshot/acpi_pm/vm".parse().unwrap();
        assert_eq!((row.clock_source, row.rtc), (Some(ClockSource::AcpiPm), Rtc::Vm));
        assert!("vm-pause/nothing".parse::<Row>().is_err() && "sigstop".parse::<Row>().is_err());
    }

    #[test]
    fn evidence_is_what_is_there() {
        let body = br#"{"lifecycle":{"thawed":2,"idleMs":6000,"idleClock":"caller","lastThaw":{"confidence":"certain",
                       "gapMs":5900,"gapClock":"caller",
                       "evidence":{"preFreeze":false,"sigcont":true,"oversleptMs":null,"callerClockMs":5800}}}}"#;
        let report = Report::parse(body).unwrap();
        let by_caller = |ms| Some((Duration::from_millis(ms), "caller".to_owned()));
        assert_eq!((report.thawed, report.gap, report.idle), (2, by_caller(5900), by_caller(6000)));
        assert_eq!(report.confidence.as_deref(), Some("certain"));
        let evidence: Vec<_> = report.evidence.iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(evidence, ["callerClock 5.8 s", "sigcont "]);
        assert!(Report::parse(br#"{"lifecycle":{"thawed":0,"lastThaw":null}}"#).unwrap().evidence.is_empty());
        assert!(Report::parse(b"{}").is_none() && Report::parse(b"hello").is_none());
    }
}

//! What `fc-emulator serve` costs: `make serve-bench`. Its calls per second beside nginx before the same function, the
//! time from a call of a frozen instance to the reply beside the bare freezer, and 200 instances.
//!
//! What is compared is measured in turns, so that a change of the machine meets both. wrk makes the load.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use fc_emulator::cleanup;
use fc_emulator::clock::Deadline;
use fc_emulator::freezer::FreezeWith;
use fc_emulator::http::{Conn, Response};
use fc_emulator::instance::{Instance, Limits, Setup, Variant};
use fc_emulator::platform::{Generation, IdForm, Settings};
use fc_emulator::target::{Port, Ready, Spec};
use serde_json::{Value, json};

/// What does not happen within this time never does.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections of the load.
const CONNECTIONS: usize = 16;
/// The length of one round of load.
const LOAD_SECS: u64 = 3;
/// Rounds of load, and thaws, of each of those that are compared.
const ROUNDS: usize = 5;
const THAWS: usize = 200;
/// From the freeze to the thaw.
const FROZEN_FOR: Duration = Duration::from_millis(20);
/// The instances of the fleet.
const FLEET: usize = 200;

type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [emulator, function, file, parts @ ..] = args.as_slice() else {
        eprintln!("usage: serve-bench FC-EMULATOR FUNCTION JSON-FILE [thaw] [load] [fleet]");
        return ExitCode::from(2);
    };
    match run(emulator, function, file, parts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("serve-bench: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(emulator: &str, function: &str, file: &str, parts: &[String]) -> Outcome<()> {
    cleanup::on_interrupt().map_err(said)?;
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    let mut whole = json!({});
    if wanted("thaw") {
        whole["thaw"] = thaws(emulator, function)?;
        show_thaws(&whole["thaw"]);
    }
    if wanted("load") {
        whole["load"] = load(emulator, function)?;
        show_load(&whole["load"]);
    }
    if wanted("fleet") {
        whole["fleet"] = fleet(emulator, function)?;
        show_fleet(&whole["fleet"]);
    }
    let text = serde_json::to_string_pretty(&whole).map_err(said)?;
    std::fs::write(file, text + "\n").map_err(|cause| format!("{file}: {cause}"))
}

fn show_thaws(thaws: &Value) {
    println!("{}", row("from a call of a frozen instance to its reply", &["median", "p90"]));
    for name in ["serve", "inside", "bare", "serveWarm", "nginxWarm", "bareWarm"] {
        let micros = |figure: &str| match thaws[name][figure].as_f64() {
            Some(micros) => format!("{micros:.0} µs"),
            None => "SKIPPED".to_owned(),
        };
        println!("{}", row(shown(name), &[&micros("median"), &micros("p90")]));
    }
    let ratio = |name: &str, figure: &str| format!("{:.2} ×", thaws[name][figure].as_f64().unwrap_or_default());
    for (name, label) in [("ratio", "serve to the bare freezer"), ("insideRatio", "the same inside of serve")] {
        println!("{}", row(label, &[&ratio(name, "median"), &ratio(name, "p90")]));
    }
    println!();
}

fn show_load(load: &Value) {
    println!("{}", row("calls per second on 16 connections", &["median", "least"]));
    for name in ["serve", "nginx", "direct"] {
        let rate = |figure: &str| match load[name][figure].as_f64() {
            Some(rate) => format!("{rate:.0}"),
            None => "SKIPPED".to_owned(),
        };
        println!("{}", row(shown(name), &[&rate("median"), &rate("least")]));
    }
    if let Some(ratio) = load["ratio"].as_f64() {
        println!("{}", row("serve to nginx", &[&format!("{ratio:.2} ×")]));
    }
    if let Some(why) = load["skipped"].as_str() {
        println!("SKIPPED: {why}");
    }
    println!();
}

fn show_fleet(fleet: &Value) {
    let number = |name: &str| fleet[name].as_f64().unwrap_or_default();
    println!("{FLEET} instances");
    for (name, figure) in [
        ("started, initialized and frozen", format!("{:.2} s", number("startSecs"))),
        ("thawed by as many calls at once, to the last reply", format!("{:.3} s", number("thawSecs"))),
        ("memory of the emulator", format!("{:.1} MB", number("emulatorKb") / 1024.0)),
        ("memory of each instance with its supervisor", format!("{:.0} kB", number("instanceKb"))),
    ] {
        println!("{}", row(name, &[&figure]));
    }
}

fn row(name: &str, cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>12}")).collect();
    format!("{name:<52}{}", cells.concat())
}

fn shown(name: &str) -> &str {
    match name {
        "serve" => "fc-emulator serve",
        "inside" => "the same inside of it: from the request to the end",
        "bare" => "the bare freezer and a call",
        "serveWarm" => "fc-emulator serve, awake",
        "nginxWarm" => "nginx before the function, awake",
        "bareWarm" => "the function alone, awake",
        "nginx" => "nginx, one process",
        _ => "the function alone",
    }
}

fn said(cause: impl std::fmt::Display) -> String {
    cause.to_string()
}

/// One emulator that serves the function.
struct Served {
    child: Child,
    addr: SocketAddr,
}

impl Served {
    fn start(emulator: &str, function: &str, options: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(emulator);
        command.args(["serve", "--listen=127.0.0.1:0", "--memory", "--quiet", "--env=FC_HOOKS_LOG_MARKERS=off"]);
        command.args(options).args(["--", function]).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|cause| format!("{emulator}: {cause}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(said)?;
        }
        let addr = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        match addr {
            Some(addr) => Ok(Self { child, addr }),
            None => Err(format!("{emulator} serve is not ready: `{line}`")),
        }
    }

    fn state(&self, query: &str) -> Outcome<Value> {
        let answer = get(&mut Conn::open(self.addr, soon())?, &format!("/_fc/state{query}"))?;
        serde_json::from_slice(&answer.body).map_err(said)
    }

    /// How long the calls took that thawed an instance, as the emulator sees it.
    fn thawed_calls(&self) -> Outcome<Vec<Duration>> {
        let state = self.state("")?;
        let calls = state["calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let thawed = calls.iter().filter(|call| call["found"] == "thawed");
        Ok(thawed.filter_map(|call| Some(Duration::from_secs_f64(call["took_ms"].as_f64()? / 1000.0))).collect())
    }

    /// How many instances are in this phase.
    fn count(&self, phase: &str) -> Outcome<usize> {
        let state = self.state("?since=99999999999")?;
        let instances = state["functions"][0]["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(instances.iter().filter(|one| one["phase"] == phase).count())
    }

    fn wait_for(&self, phase: &str, count: usize) -> Outcome<()> {
        let until = Instant::now() + PATIENCE;
        while self.count(phase)? != count {
            if Instant::now() > until {
                return Err(format!("there never are {count} instances that are {phase}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // SIGTERM lets it remove its instances.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

fn get(conn: &mut Conn, path: &str) -> Outcome<Response> {
    checked(conn.exchange(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), soon())?)
}

fn checked(answer: Response) -> Outcome<Response> {
    match answer.status {
        200 => Ok(answer),
        other => Err(format!("answered with {other}: {}", String::from_utf8_lossy(&answer.body))),
    }
}

/// The function without the emulator's platform: a process and its freezer.
fn bare(words: Vec<String>, port: Option<u16>) -> Outcome<Instance> {
    let [ready, initialize, call, pre_freeze, pre_stop, term] = [PATIENCE; 6];
    let settings = Settings { generation: Generation::Fc3, ids: IdForm::Time, ..Settings::default() };
    let setup = Setup {
        spec: Spec::Command(words),
        settings,
        freeze_with: FreezeWith::Auto,
        machines: None,
        port,
        env: vec![("FC_HOOKS_LOG_MARKERS".to_owned(), "off".to_owned())],
        limits: Limits { ready, initialize, call, pre_freeze, pre_stop, term },
    };
    Instance::start(&setup, &Variant::default()).map_err(said)
}

fn bare_function(function: &str) -> Outcome<Instance> {
    let mut instance = bare(vec![function.to_owned()], None)?;
    match instance.wait_ready() {
        Ready::Yes => Ok(instance),
        other => Err(format!("{function} is not ready: {other:?}")),
    }
}

/// Thaws by a call, through the emulator and by the bare freezer, in turns.
fn thaws(emulator: &str, function: &str) -> Outcome<Value> {
    let frozen = Served::start(emulator, function, &[])?;
    let awake = Served::start(emulator, function, &["--no-freeze"])?;
    let mut instance = bare_function(function)?;
    let (mut by_serve, mut by_awake) = (Conn::open(frozen.addr, soon())?, Conn::open(awake.addr, soon())?);
    let mut by_bare = instance.conn()?;
    // What any proxy adds to a call: nginx before a function that is awake.
    let (behind, folder) = (bare_function(function)?, tempfile::tempdir().map_err(said)?);
    let nginx = nginx(folder.path(), behind.target.addr())?;
    let mut by_nginx = nginx.as_ref().map(|(_, addr)| Conn::open(*addr, soon())).transpose()?;
    let request = instance.platform.http("GET", "/", &[], Vec::new()).bytes();
    for _ in 0..5 {
        get(&mut by_serve, "/")?;
        get(&mut by_awake, "/")?;
        checked(by_bare.exchange(&request, soon())?)?;
        by_nginx.as_mut().map(|conn| get(conn, "/")).transpose()?;
    }
    let mut nginx_warm = Vec::new();
    let (mut serve, mut bare, mut serve_warm, mut bare_warm) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..THAWS {
        frozen.wait_for("frozen", 1)?;
        instance.target.freeze_unproven().map_err(said)?;
        for turn in [round % 2, 1 - round % 2] {
            std::thread::sleep(FROZEN_FOR);
            let began = Instant::now();
            if turn == 0 {
                get(&mut by_serve, "/")?;
                serve.push(began.elapsed());
            } else {
                instance.target.thaw().map_err(said)?;
                checked(by_bare.exchange(&request, soon())?)?;
                bare.push(began.elapsed());
            }
            std::thread::sleep(FROZEN_FOR);
            let began = Instant::now();
            if turn == 0 {
                get(&mut by_awake, "/")?;
                serve_warm.push(began.elapsed());
                std::thread::sleep(FROZEN_FOR);
                let began = Instant::now();
                if let Some(conn) = &mut by_nginx {
                    get(conn, "/")?;
                    nginx_warm.push(began.elapsed());
                }
            } else {
                checked(by_bare.exchange(&request, soon())?)?;
                bare_warm.push(began.elapsed());
            }
        }
    }
    let (serve, bare, inside) = (spread(serve), spread(bare), spread(frozen.thawed_calls()?));
    let to_bare = |one: &Value| {
        let ratio = |figure: &str| ratio(one[figure].as_f64(), bare[figure].as_f64());
        json!({"median": ratio("median"), "p90": ratio("p90")})
    };
    let (of_client, of_inside) = (to_bare(&serve), to_bare(&inside));
    let freezer = instance.target.freezer();
    Ok(json!({
        "freezer": freezer, "thaws": THAWS, "unit": "µs", "serve": serve, "inside": inside, "bare": bare,
        "ratio": of_client, "insideRatio": of_inside,
        "serveWarm": spread(serve_warm), "bareWarm": spread(bare_warm), "nginxWarm": spread(nginx_warm),
    }))
}

fn ratio(of: Option<f64>, to: Option<f64>) -> f64 {
    of.unwrap_or(f64::NAN) / to.unwrap_or(f64::NAN)
}

fn spread(mut spans: Vec<Duration>) -> Value {
    spans.sort();
    let at = |share: usize| spans.get(spans.len() * share / 100).map_or(f64::NAN, |span| span.as_secs_f64() * 1e6);
    json!({"median": at(50), "p90": at(90)})
}

/// Load on the function through the emulator, through nginx, and without either, in turns.
fn load(emulator: &str, function: &str) -> Outcome<Value> {
    if Command::new("wrk").arg("-v").output().is_err() {
        return Ok(json!({"skipped": "there is no wrk, which makes the load (Debian: wrk)"}));
    }
    let served = Served::start(emulator, function, &["--concurrency=100"])?;
    let instance = bare_function(function)?;
    let folder = tempfile::tempdir().map_err(said)?;
    let nginx = nginx(folder.path(), instance.target.addr())?;
    let mut seen: Vec<(&str, SocketAddr, Vec<f64>)> =
        vec![("serve", served.addr, Vec::new()), ("direct", instance.target.addr(), Vec::new())];
    seen.extend(nginx.iter().map(|(_, addr)| ("nginx", *addr, Vec::new())));
    for round in 0..ROUNDS {
        let count = seen.len();
        for turn in 0..count {
            let (_, addr, rates) = &mut seen[(round + turn) % count];
            rates.push(wrk(*addr)?);
        }
    }
    let mut load = json!({"connections": CONNECTIONS, "rounds": ROUNDS, "secsEach": LOAD_SECS, "unit": "calls/s"});
    for (name, _, mut rates) in seen {
        rates.sort_by(f64::total_cmp);
        load[name] = json!({"median": rates[rates.len() / 2], "least": rates[0], "all": rates});
    }
    match nginx {
        Some(_) => load["ratio"] = json!(ratio(load["serve"]["median"].as_f64(), load["nginx"]["median"].as_f64())),
        None => load["skipped"] = json!("there is no nginx to compare with (Debian: nginx-light)"),
    }
    Ok(load)
}

/// Calls per second of one round. Every call must succeed.
fn wrk(addr: SocketAddr) -> Outcome<f64> {
    let (connections, secs) = (format!("-c{CONNECTIONS}"), format!("-d{LOAD_SECS}s"));
    let ran = Command::new("wrk").args(["-t1", &connections, &secs, &format!("http://{addr}/")]).output();
    let said = String::from_utf8_lossy(&ran.map_err(said)?.stdout).into_owned();
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(format!("calls of {addr} failed: {said}"));
    }
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    rate.ok_or_else(|| format!("wrk named no rate: {said}"))
}

/// nginx before this address. `None` where there is no nginx.
fn nginx(folder: &Path, program: SocketAddr) -> Outcome<Option<(Instance, SocketAddr)>> {
    let found =
        ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|it| Path::new(it).is_file());
    let Some(nginx) = found else { return Ok(None) };
    let port = Port::free().map_err(said)?.number();
    let (file, folder) = (folder.join("nginx.conf"), folder.display());
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
           access_log off; keepalive_timeout 600s; keepalive_requests 100000000;\n\
           client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
           fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
           upstream program {{ server {program}; keepalive 64; keepalive_requests 100000000; }}\n\
           server {{\n\
             listen 127.0.0.1:{port};\n\
             location / {{ proxy_pass http://program; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n\
           }}\n\
         }}\n"
    );
    std::fs::write(&file, text).map_err(said)?;
    let words = [nginx, "-p", &folder.to_string(), "-e", "/dev/null", "-c", &file.display().to_string()];
    let instance = bare(words.map(str::to_owned).to_vec(), Some(port))?;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    match soon().until(|| TcpStream::connect(addr).ok()) {
        Some(_) => Ok(Some((instance, addr))),
        None => Err("nginx does not listen".to_owned()),
    }
}

/// The time that many instances take, and their memory.
fn fleet(emulator: &str, function: &str) -> Outcome<Value> {
    let (least, most) = (format!("--instances-min={FLEET}"), format!("--instances-max={FLEET}"));
    let began = Instant::now();
    let served = Served::start(emulator, function, &[&least, &most])?;
    served.wait_for("frozen", FLEET)?;
    let start = began.elapsed();
    let conns: Outcome<Vec<Conn>> = (0..FLEET).map(|_| Conn::open(served.addr, soon())).collect();
    let mut conns = conns?;
    let began = Instant::now();
    for conn in &mut conns {
        conn.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", soon())?;
    }
    for conn in &mut conns {
        checked(conn.read(soon())?)?;
    }
    let thaw = began.elapsed();
    served.wait_for("frozen", FLEET)?;
    let pid = served.child.id();
    let own = fc_testkit::proc::Memory::of(pid).map_err(said)?.proportional_kb;
    let all = fc_testkit::proc::Memory::of_family(pid).map_err(said)?.proportional_kb;
    Ok(json!({
        "instances": FLEET, "startSecs": start.as_secs_f64(), "thawSecs": thaw.as_secs_f64(),
        "emulatorKb": own, "instanceKb": (all - own) as f64 / FLEET as f64,
    }))
}

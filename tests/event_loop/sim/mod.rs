//! Whole worlds from a seed: the true loop, core and function over a kernel, clients and clocks that are not.
//!
//! Everything that happens in a world follows from its seed: no real clock, no thread and no order of a hash table
//! decides anything. Between any two system calls clients act, time passes, the machine stands still or a signal comes;
//! every call can fail in every way in which the kernel's may. Rules are checked at every call and, on all data of the
//! server, its two state machines included, before every wait. The first rule that is broken ends the world.
//!
//! `FC_HOOKS_SEED=n` runs one world and counts what happened in it, `FC_HOOKS_WORLDS=m` runs m worlds from there on.

mod client;
mod close_check;
mod coverage;
mod directed;
mod function;
mod invariants;
mod kernel;
mod lifecycle_check;
mod machines;
mod reader;
mod reply_check;
mod requests;
mod rng;
mod scenario;
mod world;

use crate::function::context::Env;
use crate::function::dispatch::Dispatcher;
use crate::server::event_loop::Loop;
use coverage::{Kind, Seen};
use function::{Function, Variant};
use kernel::{BrokenOff, Kernel};
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use world::{Shared, Sim};

/// As many as the time of the default tests allows.
const WORLDS: u64 = 1000;

/// A rule that was broken.
struct Broken {
    rule: &'static str,
    details: String,
    trace: Vec<String>,
}

fn live_through(seed: u64, traced: bool) -> Result<Seen, Broken> {
    let sim: Shared = Rc::new(RefCell::new(Sim::new(seed, traced)));
    let (limits, app) = (sim.borrow().limits.clone(), sim.borrow().life.variant.app());
    let env = Env {
        now: world::env_now,
        cancelled: world::env_cancelled,
        machine: crate::function::freeze::Machine::UNKNOWN,
    };
    let dispatcher = Dispatcher::new(app, Function { sim: sim.clone() }, env);
    let kernel = Kernel { sim: sim.clone(), looked_at: false, waits: 0, idle_waits: 0, progress_before: u64::MAX };
    let mut server = Loop::new(kernel, dispatcher, limits, true);
    loop {
        match catch_unwind(AssertUnwindSafe(|| server.run())) {
            Ok(outcome) => {
                assert_eq!(outcome, Ok(()), "no wait of this kernel fails");
                machines::check_transitions(&mut sim.borrow_mut(), &[], server.accept.state());
                break check_exit(&mut sim.borrow_mut());
            }
            Err(payload) => match payload.downcast::<BrokenOff>() {
                Ok(broken_off) => invariants::audit(&mut server, broken_off.0),
                Err(payload) => sim.borrow_mut().fail("the server never panics", text(&*payload)),
            },
        }
        if sim.borrow().broken.is_some() {
            break;
        }
    }
    drop(server);
    let mut sim = sim.borrow_mut();
    let seen = std::mem::replace(&mut sim.seen, Seen::new());
    match sim.broken.take() {
        None => Ok(seen),
        Some((rule, details)) => {
            let trace = sim.trace.take().map(Vec::from).unwrap_or_default();
            Err(Broken { rule, details, trace })
        }
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// The checks when the server has ended.
fn check_exit(sim: &mut Sim) {
    sim.call_ends();
    if sim.clients.iter().any(|client| client.open) {
        sim.fail("the exit closes everything", "a connection is open");
    }
    if !sim.life.open.is_empty() {
        let open = format!("{:?}", sim.life.open);
        sim.fail("log markers in pairs", open);
    }
    let runs = u32::from(sim.life.variant != Variant::Bare);
    if sim.life.stop_runs != runs {
        let details = format!("pre-stop ran {} times", sim.life.stop_runs);
        sim.fail("hooks run when they must", details);
    }
    if sim.stop.is_none() {
        sim.fail("a stop is bounded", "the server ended by itself");
    }
    sim.seen.count(Kind::ExitInOrder);
}

/// Runs a world; if a rule is broken, runs it again to tell how.
fn world(seed: u64) -> Seen {
    match live_through(seed, false) {
        Ok(seen) => seen,
        Err(Broken { rule, details, .. }) => {
            if let Err(again) = live_through(seed, true) {
                println!("{}", again.trace.join("\n"));
            }
            panic!("seed {seed}: {rule}: {details}\nreplay with: make sim SEED={seed}");
        }
    }
}

#[test]
fn worlds() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}: '{text}' is not a whole number")))
    };
    let seed = number("FC_HOOKS_SEED");
    let count = number("FC_HOOKS_WORLDS").unwrap_or(if seed.is_some() { 1 } else { WORLDS });
    let first = seed.unwrap_or(1);
    let mut seen = Seen::new();
    for seed in first..first.saturating_add(count) {
        seen.add(&world(seed));
    }
    println!("seeds {first} and the next, {count} worlds: {}", seen.table());
    if count >= WORLDS {
        assert!(seen.never().is_empty(), "never happened: {:?}", seen.never());
    }
}

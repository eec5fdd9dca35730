//! Whole worlds from a seed: the adapter's true loop between clients and a program that are not.
//!
//! Everything that happens in a world follows from its seed. In half of the worlds nobody misbehaves, so no call may be
//! lost, whatever the kernel takes at a time and however often the instance is frozen; in the others clients leave and
//! stall, and the program breaks off, answers garbage, or dies. What the program gets must be what a client has sent,
//! once; what a client gets must be what the program has answered, or an answer of the adapter that says why not. Once
//! a freeze is announced the adapter holds no spare buffer.
//!
//! `FC_HOOKS_SEED=n` runs one world, `FC_HOOKS_WORLDS=m` runs m worlds from there on.

mod kernel;
mod message;
mod people;
mod servant;
mod world;

use crate::adapter::settings::{Action, Ready, Settings, Statuses};
use crate::adapter::{downstream, upstream};
use crate::config::Config;
use crate::platform::hooks::Hook;
use crate::server::adapter::proxy::Proxy;
use kernel::Kernel;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use world::{PROGRAM_PID, Shared, World};

/// Worlds in which something was found. In 13084 a client took a part of an interim reply, and the adapter forgot to
/// send it the rest.
const FOUND: [u64; 1] = [13_084];

/// As many as the time of the default tests allows.
const WORLDS: u64 = 600;

fn settings(seed: u64) -> Settings {
    let mut settings = Settings { event_path: Some("/event".into()), ..Settings::default() };
    let request = |method: &str, path: &str| Action::Request { method: method.into(), path: path.into() };
    *settings.hooks.get_mut(Hook::Initialize) = Some(request("POST", "/own/hook"));
    *settings.hooks.get_mut(Hook::PreStop) = Some(request("GET", "/own/stop"));
    if seed.is_multiple_of(3) {
        *settings.hooks.get_mut(Hook::PreFreeze) = Some(Action::Command(vec![c"true".into()]));
    }
    if seed.is_multiple_of(2) {
        settings.on_thaw = Some(request("POST", "/thaw"));
    }
    settings.early = seed.is_multiple_of(7);
    settings.fail_on = Statuses(vec![(500, 599)]);
    settings.ready = Ready::Connect;
    settings
}

/// The number of waits at which a freeze was announced.
fn live_through(seed: u64) -> usize {
    let world: Shared = Rc::new(RefCell::new(World::new(seed)));
    let config = Config { call_markers: world.borrow().logs_calls, ..Config::default() };
    let mut proxy = Proxy::new(Kernel { world: world.clone() }, config, settings(seed), PROGRAM_PID, Vec::new());
    let outcome = proxy.run();
    assert!(outcome.is_ok(), "{outcome:?}");
    proxy.check_end();
    drop(proxy);
    let world = world.borrow();
    for link in world.links.iter().filter(|link| !link.refused) {
        assert!(link.closed_by_adapter || link.reset_by_adapter, "left open: {link:?}");
    }
    let log = String::from_utf8(world.log.clone()).expect("text");
    for word in ["Invoke", "Initialize", "PreFreeze", "PreStop"] {
        let count = |edge: &str| log.matches(&format!("FC {word} {edge} ")).count();
        assert_eq!(count("Start"), count("End"), "log markers in pairs: {word}");
    }
    world.announced
}

#[test]
fn worlds() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let seed = number("FC_HOOKS_SEED");
    let count = number("FC_HOOKS_WORLDS").unwrap_or(if seed.is_some() { 1 } else { WORLDS });
    let first = seed.unwrap_or(1);
    let (mut of_clients, mut of_program, mut announced) = (Vec::new(), Vec::new(), 0);
    let found = FOUND.into_iter().filter(|_| seed.is_none());
    for seed in found.chain(first..first.saturating_add(count)) {
        match catch_unwind(AssertUnwindSafe(|| live_through(seed))) {
            Ok(waits) => announced += waits,
            Err(_) => panic!("seed {seed}; replay with FC_HOOKS_SEED={seed}"),
        }
        of_clients.append(&mut downstream::TAKEN.take());
        of_program.append(&mut upstream::TAKEN.take());
    }
    if count >= WORLDS {
        let missing = downstream::TRANSITIONS.iter().filter(|row| !of_clients.contains(row)).collect::<Vec<_>>();
        assert!(missing.is_empty(), "rows of clients that were never taken: {missing:?}");
        let missing = upstream::TRANSITIONS.iter().filter(|row| !of_program.contains(row)).collect::<Vec<_>>();
        assert!(missing.is_empty(), "rows of connections to the program that were never taken: {missing:?}");
        assert!(announced > 0, "no wait behind a pre-freeze was examined");
    }
}

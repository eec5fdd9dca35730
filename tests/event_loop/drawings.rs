//! The drawings of the state machines, held against their tables: those in the documentation of the modules, and those
//! in ARCHITECTURE.md.
//!
//! A drawing is a block of text. Each of its lines is a chain: names of states, names of events, `▶`, the name of the
//! next state, and so on from there. Lines that begin with `(` show how a machine begins.

use crate::function::lifecycle::{Event as LifeEvent, Hook, Phase, next};
use crate::server::{accept, connection};
use std::collections::BTreeSet;

const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

/// From a state, by an event, to a state: their names.
type Row = [String; 3];

/// Compares a drawing with the rows of its table. It is the first block of text behind the words `behind`.
///
/// # Panics
/// If one of them has a row that the other has not.
fn check(text: &str, behind: &str, table: &[Row]) {
    let states: BTreeSet<&str> = table.iter().flat_map(|[from, _, to]| [&**from, &**to]).collect();
    let blocks = text.split_once(behind).and_then(|(_, rest)| rest.split_once("```text\n"));
    let drawing = blocks.and_then(|(_, rest)| rest.split_once("```")).expect("a drawing").0;
    let mut drawn = BTreeSet::new();
    let lines = drawing.lines().map(|line| line.trim_start_matches("//!").trim());
    for line in lines.filter(|line| !line.starts_with('(')) {
        let (mut from, mut events): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let mut arrow = false;
        for word in line.split([' ', '─']).filter(|word| !word.is_empty()) {
            match (word, arrow) {
                ("▶", _) => arrow = true,
                (state, true) => {
                    assert!(states.contains(state) && !from.is_empty() && !events.is_empty(), "{line}: {word}");
                    let each = from.iter().flat_map(|from| events.iter().map(move |event| [*from, *event, state]));
                    drawn.extend(each.map(|row| row.map(str::to_owned)));
                    (from, events, arrow) = (vec![state], Vec::new(), false);
                }
                (state, false) if states.contains(state) => from.push(state),
                (event, false) => events.push(event),
            }
        }
        assert!(!arrow && events.is_empty(), "{line}: it does not end in a state");
    }
    let table: BTreeSet<Row> = table.iter().cloned().collect();
    let missing: Vec<_> = table.difference(&drawn).collect();
    let unknown: Vec<_> = drawn.difference(&table).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not drawn: {missing:?}; not in the table: {unknown:?}");
}

#[test]
fn the_drawing_of_a_connection_is_its_table() {
    use connection::{Event, Name, TRANSITIONS};
    let rows = TRANSITIONS.map(|(from, event, to)| match event {
        Event::Close(reason) => [format!("{from:?}"), format!("{reason:?}"), format!("{to:?}")],
        event => [format!("{from:?}"), format!("{event:?}"), format!("{to:?}")],
    });
    check(include_str!("../../src/server/connection.rs"), "", &rows);
    // The page leaves the ways to the end out.
    let open: Vec<Row> = rows.into_iter().filter(|[.., to]| to != "Closed").collect();
    check(ARCHITECTURE, "`src/server/connection.rs` has the table", &open);
    for index in 0..=Name::Closed as usize {
        let known = TRANSITIONS.iter().any(|(from, _, to)| *from as usize == index || *to as usize == index);
        assert!(known, "state {index} is in no row");
    }
    assert!(TRANSITIONS.iter().all(|(from, ..)| *from != Name::Closed), "Closed is the end");
}

#[test]
fn the_drawing_of_accepting_is_its_table() {
    use accept::{Name, TRANSITIONS};
    let rows = TRANSITIONS.map(|(from, event, to)| [format!("{from:?}"), format!("{event:?}"), format!("{to:?}")]);
    check(include_str!("../../src/server/accept.rs"), "", &rows);
    check(ARCHITECTURE, "`src/server/accept.rs` decides", &rows);
    for index in 0..=Name::Closed as usize {
        let known = TRANSITIONS.iter().any(|(from, _, to)| *from as usize == index || *to as usize == index);
        assert!(known, "state {index} is in no row");
    }
    assert!(TRANSITIONS.iter().all(|(from, ..)| *from != Name::Closed), "Closed is the end");
}

#[test]
fn the_drawing_of_a_life_is_its_table() {
    use LifeEvent::*;
    use Phase::*;
    let phases = [Created, Initializing, Ready, Freezing, Frozen, Stopping, Stopped];
    let of_hook = |&hook: &Hook| {
        let request = format!("{}{}", hook.method(), hook.path());
        [(HookBegins(hook), request), (HookSucceeds(hook), "200".to_owned()), (HookFails(hook), "404".to_owned())]
    };
    let calls = [(CallBegins, "call".to_owned()), (Thaws, "thaw".to_owned())];
    let events: Vec<_> = Hook::ALL.iter().flat_map(of_hook).chain(calls).collect();
    let row = |from: Phase, (event, name): &(LifeEvent, String)| {
        Some([format!("{from:?}"), name.clone(), format!("{:?}", next(from, *event)?)])
    };
    let rows: Vec<Row> = phases.iter().flat_map(|from| events.iter().filter_map(|event| row(*from, event))).collect();
    check(ARCHITECTURE, "## An instance's life", &rows);
}

/// A drawing that lacks a row, or has one too many, fails.
#[test]
fn a_wrong_drawing_is_found() {
    let text = |drawing: &str| format!("```text\n(born) ─▶ A\n\n{drawing}\n```");
    let rows = [["A", "x", "B"], ["B", "x", "B"], ["B", "y", "A"]].map(|row| row.map(str::to_owned));
    let is_found = |drawing: &str| std::panic::catch_unwind(|| check(&text(drawing), "", &rows)).is_err();
    assert!(!is_found("A B ── x ─▶ B ── y ─▶ A"));
    for wrong in ["A ── x ─▶ B ── y ─▶ A", "A B ── x y ─▶ B ── y ─▶ A", "A B ── x ─▶ B ── y", "A B ── x ─▶ C"]
    {
        assert!(is_found(wrong), "{wrong}");
    }
}

/// The machines of the adapter; the ways to the end are not drawn.
#[cfg(feature = "adapter")]
#[test]
fn the_drawings_of_the_adapter_are_its_tables() {
    use crate::adapter::{downstream, upstream};
    let rows =
        downstream::TRANSITIONS.map(|(from, event, to)| [format!("{from:?}"), format!("{event:?}"), format!("{to:?}")]);
    check(include_str!("../../src/adapter/downstream.rs"), "", &rows);
    let rows =
        upstream::TRANSITIONS.map(|(from, event, to)| [format!("{from:?}"), format!("{event:?}"), format!("{to:?}")]);
    check(include_str!("../../src/adapter/upstream.rs"), "", &rows);
}

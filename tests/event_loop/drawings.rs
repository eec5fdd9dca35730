//! The drawings of both state machines, held against their tables.
//!
//! A drawing is the first block of text in a module's documentation. Each of its lines is a chain: names of states,
//! names of events, `▶`, the name of the next state, and so on from there. Lines that begin with `(` show how a machine
//! begins.

use crate::server::{accept, connection};
use std::collections::BTreeSet;

/// Compares a drawing with the rows of its table.
///
/// # Panics
/// If one of them has a row that the other has not.
fn check(module: &str, table: &[[String; 3]]) {
    let states: BTreeSet<&str> = table.iter().flat_map(|[from, _, to]| [&**from, &**to]).collect();
    let text = module.split("```text\n").nth(1).and_then(|rest| rest.split("//! ```").next()).expect("a drawing");
    let mut drawn = BTreeSet::new();
    for line in text.lines().map(|line| line.trim_start_matches("//!").trim()).filter(|line| !line.starts_with('(')) {
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
    let table: BTreeSet<[String; 3]> = table.iter().cloned().collect();
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
    check(include_str!("../../src/server/connection.rs"), &rows);
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
    check(include_str!("../../src/server/accept.rs"), &rows);
    for index in 0..=Name::Closed as usize {
        let known = TRANSITIONS.iter().any(|(from, _, to)| *from as usize == index || *to as usize == index);
        assert!(known, "state {index} is in no row");
    }
    assert!(TRANSITIONS.iter().all(|(from, ..)| *from != Name::Closed), "Closed is the end");
}

//! Which of the contenders that a user has asked for have no figure in a measure.
//!
//! A server need not echo, and need not be made of files that are found, so where there are several measures, a missing
//! payload or image is no failure.

use crate::results::Results;

/// A contender without a figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The name of the contender.
    pub name: String,
    /// The measure.
    pub measure: &'static str,
    /// The first reason.
    pub reason: String,
}

/// What a measure has of one contender: whether there is a figure, and why not.
type Part<'a> = (bool, Option<&'a String>);

/// Of these contenders, those without a figure in a measure in which they took part.
pub fn failed(results: &Results, asked: &[String]) -> Vec<Failed> {
    let mut all = Vec::new();
    for name in asked {
        for (measure, parts) in parts(results, name) {
            if !parts.is_empty() && parts.iter().all(|(has_figure, _)| !has_figure) {
                let reason = parts.iter().find_map(|(_, reason)| *reason);
                let reason = reason.map_or_else(|| "no request was answered well".to_owned(), String::clone);
                all.push(Failed { name: name.clone(), measure, reason });
            }
        }
    }
    all
}

fn parts<'a>(results: &'a Results, name: &str) -> Vec<(&'static str, Vec<Part<'a>>)> {
    let is_it = |other: &String| other == name;
    let mut all = vec![("cold starts", coldstart(results, name))];
    if let Some(quota) = &results.quota {
        let starts = quota.process.iter().chain(&quota.container).filter(|it| is_it(&it.name));
        let parts = starts.map(|it| (!it.samples.is_empty(), it.failures.first().or(it.stopped_by.as_ref())));
        all.push(("shares of a processor", parts.collect()));
    }
    if let Some(burst) = &results.burst {
        let bursts = burst.bursts.iter().filter(|it| is_it(&it.name));
        let parts = bursts.map(|it| (!it.samples.is_empty(), it.failures.first().or(it.stopped_by.as_ref())));
        all.push(("bursts", parts.collect()));
    }
    if let Some(thaw) = &results.thaw {
        let thaws = thaw.contenders.iter().filter(|it| is_it(&it.name));
        all.push(("thaws", thaws.map(|it| (!it.samples.is_empty(), it.failures.first())).collect()));
    }
    if let Some(load) = &results.load {
        let cells = load.cells.iter().filter(|it| is_it(&it.name));
        let parts = cells.map(|it| {
            let notes = it.runs.iter().find_map(|run| run.note.as_ref());
            (it.runs.iter().any(|run| run.requests > 0), it.failures.first().or(notes))
        });
        all.push(("load", parts.collect()));
    }
    if let Some(density) = &results.density {
        let fleets = density.fleets.iter().filter(|it| is_it(&it.name));
        all.push(("density", fleets.map(|it| (it.answered > 0, it.stopped_by.as_ref())).collect()));
    }
    if let Some(restore) = &results.restore {
        let restores = restore.restores.iter().filter(|it| is_it(&it.name));
        all.push(("restores", restores.map(|it| (!it.samples.is_empty(), it.failures.first())).collect()));
    }
    if let Some(proxy) = &results.proxy {
        let rows = proxy.rows.iter().filter(|it| is_it(&it.name));
        let parts = rows.map(|it| (!(it.runs.is_empty() && it.starts_us.is_empty()), it.failures.first()));
        all.push(("proxies", parts.collect()));
    }
    if results.coldstart.is_none() {
        all.extend(what_need_not_be(results, name));
    }
    all
}

/// Starts are measured, and where none were wanted, counts.
fn coldstart<'a>(results: &'a Results, name: &str) -> Vec<Part<'a>> {
    let Some(coldstart) = &results.coldstart else { return Vec::new() };
    let starts = coldstart.process.iter().chain(&coldstart.container).filter(|it| it.name == name);
    let starts: Vec<Part<'_>> = starts.map(|it| (!it.samples.is_empty(), it.failures.first())).collect();
    if !starts.is_empty() {
        return starts;
    }
    let uncounted = format!("counts of {name}");
    let why = results.skipped.iter().filter(|it| it.what == uncounted).map(|it| (false, Some(&it.reason)));
    coldstart.counts.iter().filter(|it| it.name == name).map(|_| (true, None)).chain(why).collect()
}

fn what_need_not_be<'a>(results: &'a Results, name: &str) -> Vec<(&'static str, Vec<Part<'a>>)> {
    let mut all = Vec::new();
    if let Some(payload) = &results.payload {
        let is_it = |echo: &str| {
            echo == name || payload.echoes.iter().any(|other| other.described.name == echo && other.of == name)
        };
        let cells = payload.cells.iter().filter(|cell| is_it(&cell.name));
        all.push(("payloads", cells.map(|it| (!it.runs.is_empty(), it.failures.first())).collect()));
    }
    if let Some(image) = &results.image {
        let images = image.contenders.iter().filter(|it| it.name == name);
        all.push(("images", images.map(|it| (it.tar_bytes > 0, it.failures.first())).collect()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Results with these measures.
    fn results(measures: &Value) -> Results {
        let mut all = json!({
            "schema": 2, "version": "", "began": 0, "seconds": 0.0, "command": [], "contenders": [],
            "machine": { "processor": "", "processors": 1, "memory_kb": 1, "kernel": "", "load": 0.0 },
            "skipped": [{ "what": "counts of uncounted", "reason": "no strace" }],
        });
        all.as_object_mut().unwrap().extend(measures.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn found(measures: &Value, names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let all = failed(&results(measures), &names);
        all.into_iter().map(|it| format!("{}, {}: {}", it.name, it.measure, it.reason)).collect()
    }

    #[test]
    fn runs_without_a_good_answer_are_no_figures() {
        let cell = |name: &str, requests: u64| {
            let pattern = json!({ "connections": 1, "reconnect": false, "rate": null, "markers": null });
            let run = json!({
                "round": 0, "seconds": 1.0, "requests": requests, "errors": 9, "latency_us": [],
                "percentiles_us": [0.0, 0.0, 0.0, 0.0, 0.0], "client_busy": 0.1, "server_cpu_us": 1.0,
                "note": "status 500",
            });
            json!({ "name": name, "pattern": pattern, "runs": [run], "failures": [] })
        };
        let cells = json!([cell("well", 0), cell("well", 7), cell("wrong", 0)]);
        let load = json!({ "load": { "client_processors": [], "server_processors": [], "cells": cells } });
        assert_eq!(found(&load, &["well", "wrong", "missing"]), ["wrong, load: status 500"]);
    }

    #[test]
    fn counts_stand_for_starts_only_where_no_start_was_wanted() {
        let starts = json!([{ "name": "both", "samples": [], "image_bytes": null, "failures": ["round 0: no"] }]);
        let counts = json!([{ "name": "both" }, { "name": "counted" }]);
        let coldstart =
            json!({ "warm_up": 1, "attempt_pause_us": 0.0, "process": starts, "container": [], "counts": counts });
        let expected = ["both, cold starts: round 0: no", "uncounted, cold starts: no strace"];
        assert_eq!(found(&json!({ "coldstart": coldstart }), &["both", "counted", "uncounted"]), expected);
    }

    #[test]
    fn a_payload_is_owed_only_where_nothing_else_is_measured() {
        let echo = json!({
            "name": "echo", "label": "", "kind": "peer", "command": [], "env": [], "binary_bytes": null, "note": "",
            "of": "peer",
        });
        let cell =
            |name: &str, failures: &[&str]| json!({ "name": name, "body_bytes": 1, "runs": [], "failures": failures });
        let payload = json!({
            "client_processors": [], "server_processors": [], "cells": [cell("echo", &["no"])],
            "echoes": [echo],
        });
        let only = found(&json!({ "payload": payload }), &["peer", "echo", "other"]);
        assert_eq!(only, ["peer, payloads: no", "echo, payloads: no"]);
        let coldstart = json!({ "warm_up": 1, "attempt_pause_us": 0.0, "process": [], "container": [], "counts": [] });
        assert_eq!(found(&json!({ "payload": payload, "coldstart": coldstart }), &["peer"]), Vec::<String>::new());
    }
}

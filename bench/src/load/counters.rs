//! Counts of the requests of one run: how many, how late, and the first failure.
//!
//! It knows neither connections nor clocks.

use hdrhistogram::Histogram;

use super::Nanos;
use crate::results::LoadRun;

/// Longer than any run.
const LONGEST: Nanos = 3_600_000_000_000;

/// The precision of percentiles.
const DIGITS: u8 = 3;

/// The precision of the buckets in the results: finer than a plot can show, at a fifth of the bytes.
const BUCKET_DIGITS: u8 = 2;

/// A run may end with this many times the number of connections waiting before a note is written: a short delay causes
/// that many.
const LEFT_OVER: u64 = 100;

/// The counters of one run.
#[derive(Debug)]
pub struct Counters {
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
    /// Requests that were answered with 200 and the whole body.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests that were sent and still had no reply long after the end.
    pub hung: u64,
    /// Requests that were not sent by the end, because no connection was free.
    pub left_over: u64,
    /// Connections that the server closed although it should have kept them.
    pub closed: u64,
    /// Connections that the server kept although it should have closed them.
    pub kept: u64,
    /// The first failure.
    pub first_error: Option<String>,
}

impl Default for Counters {
    fn default() -> Self {
        let histogram = histogram(DIGITS);
        Self {
            latency: histogram.clone(),
            lateness: histogram,
            requests: 0,
            errors: 0,
            hung: 0,
            left_over: 0,
            closed: 0,
            kept: 0,
            first_error: None,
        }
    }
}

impl Counters {
    /// Counts a request that was answered after this time.
    pub fn answered(&mut self, after: Nanos) {
        self.requests += 1;
        self.latency.saturating_record(after);
    }

    /// Counts a request that was sent this long ago and whose reply is no longer awaited. To leave it out would flatter
    /// the server.
    pub fn hung(&mut self, age: Nanos) {
        self.hung += 1;
        self.latency.saturating_record(age);
    }

    /// Counts a request that was due this long ago and could not be sent. To leave it out would flatter the server.
    pub fn left_over(&mut self, age: Nanos) {
        self.left_over += 1;
        self.latency.saturating_record(age);
    }

    /// Counts a request that failed. It has no latency.
    pub fn failed(&mut self) {
        self.errors += 1;
    }

    /// Keeps the first cause.
    pub fn cause(&mut self, cause: impl FnOnce() -> String) {
        self.first_error.get_or_insert_with(cause);
    }

    /// Counts how long after it could have been sent a request was sent.
    pub fn sent_late(&mut self, by: Nanos) {
        self.lateness.saturating_record(by);
    }

    /// The counters as results have them. Fields that only the caller knows are zero.
    pub fn run(&self) -> LoadRun {
        let percentile = |share| micros(self.latency.value_at_quantile(share));
        let mut coarse = histogram(BUCKET_DIGITS);
        coarse.add(&self.latency).expect("the bounds are the same");
        let buckets = coarse.iter_recorded();
        LoadRun {
            round: 0,
            seconds: 0.0,
            requests: self.requests,
            errors: self.errors,
            unanswered: self.hung + self.left_over,
            latency_us: buckets.map(|it| (micros(it.value_iterated_to()), it.count_at_value())).collect(),
            percentiles_us: [percentile(0.5), percentile(0.9), percentile(0.99), percentile(0.999), percentile(1.0)],
            client_late_us: (!self.lateness.is_empty()).then(|| micros(self.lateness.value_at_quantile(0.99))),
            client_busy: 0.0,
            server_cpu_us: 0.0,
            note: self.complaint(),
        }
    }

    /// What is wrong with the run, if anything.
    fn complaint(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.errors > 0 {
            let cause = self.first_error.as_deref().unwrap_or("the cause is unknown");
            parts.push(format!("{} failed, the first: {cause}", counted(self.errors, "request")));
        }
        if self.hung > 0 {
            parts.push(format!("{} had no answer long after its end", counted(self.hung, "request")));
        }
        let due = self.requests + self.errors + self.hung + self.left_over;
        if self.left_over * LEFT_OVER > due {
            let longest = self.latency.max() as f64 / 1e6;
            let waiting = counted(self.left_over, "request");
            parts.push(format!("{waiting} of {due} still waited for a connection at its end, up to {longest:.0} ms"));
        }
        if self.closed > 0 {
            parts.push(format!("the server closed {} that it should have kept", counted(self.closed, "connection")));
        }
        if self.kept > 0 {
            parts.push(format!("the server kept {} that it should have closed", counted(self.kept, "connection")));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, digits).expect("the bounds are in order")
}

fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn micros(nanos: Nanos) -> f64 {
    nanos as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_every_request_and_no_failed_one() {
        let mut counters = Counters::default();
        for micros in 1..=1000 {
            counters.answered(micros * 1000);
        }
        counters.hung(5_000_000);
        counters.left_over(4_000_000);
        counters.failed();
        let run = counters.run();
        assert_eq!((run.requests, run.errors, run.unanswered), (1000, 1, 2));
        assert_eq!(run.latency_us.iter().map(|(_, count)| count).sum::<u64>(), 1002);
        let close = |came: f64, expected: f64, within: f64| {
            assert!((came / expected - 1.0).abs() < within, "{came}, not {expected}");
        };
        for (came, expected) in run.percentiles_us.into_iter().zip([501.0, 902.0, 992.0, 4000.0, 5000.0]) {
            close(came, expected, 0.002);
        }
        assert_eq!(run.client_late_us, None);
        close(run.latency_us.last().unwrap().0, 5000.0, 0.01);
    }

    #[test]
    fn all_that_was_wrong_is_told() {
        let mut counters = Counters::default();
        counters.failed();
        counters.cause(|| "reset".into());
        counters.cause(|| "refused".into());
        counters.hung(20_000_000);
        counters.left_over(30_000_000);
        counters.left_over(10_000_000);
        counters.closed = 1;
        counters.kept = 2;
        assert_eq!(
            counters.complaint().unwrap(),
            "1 request failed, the first: reset; 1 request had no answer long after its end; \
             2 requests of 4 still waited for a connection at its end, up to 30 ms; \
             the server closed 1 connection that it should have kept; \
             the server kept 2 connections that it should have closed"
        );
    }

    #[test]
    fn a_hiccup_at_the_end_is_no_complaint() {
        let mut counters = Counters::default();
        (0..99).for_each(|_| counters.answered(1));
        counters.left_over(1);
        assert_eq!(counters.complaint(), None);
        counters.left_over(1);
        assert!(counters.complaint().is_some());
    }

    #[test]
    fn a_run_without_an_answer_has_no_latency() {
        let run = Counters::default().run();
        assert_eq!((run.latency_us.len(), run.percentiles_us), (0, [0.0; 5]));
    }
}

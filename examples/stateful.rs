//! A function with state and every hook: a counter of words that survives freezes.
//!
//! ```sh
//! cargo run --example stateful
//! curl -X POST localhost:9000/initialize
//! curl -X POST localhost:9000/invoke -d 'to be or not to be'
//! curl 'localhost:9000/count?be'
//! curl localhost:9000/pre-stop
//! ```

use fc_hooks::{App, Context, Error, Reply, Request, Result, Route, Thaw};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

static APP: App<Words> = App::new(&[
    Route::initialize(initialize),
    Route::on_thaw(on_thaw),
    Route::invoke(count),
    Route::get("/count", show),
    Route::pre_freeze(save),
    Route::pre_stop(save),
]);

/// One thread, so plain data: no lock, no `Arc`, not even `Send`.
#[derive(Default)]
struct Words {
    counts: HashMap<String, u64>,
    unsaved: u64,
    upstream: Option<Upstream>,
}

/// What stands for a connection to a database: it may be dead after a freeze, and so may what it logged in with.
struct Upstream {
    opened: Instant,
    signed_in: bool,
}

impl Upstream {
    /// The credentials of the request in hand, never those of the environment: they expire, and a freeze can be long.
    fn open(context: &Context) -> Upstream {
        let signed_in = context.credentials().is_some_and(|role| !role.access_key_secret.reveal().is_empty());
        Upstream { opened: Instant::now(), signed_in }
    }
}

/// Slow work belongs here. Runs again if it failed, and never again once it has succeeded.
fn initialize(words: &mut Words, context: &Context) -> Result {
    // A failure that says why, while there is still time to say it.
    if context.time_left().is_some_and(|left| left < Duration::from_millis(100)) {
        return Err(Error::typed("TooLate", "not enough time left to load"));
    }
    words.counts.insert("be".to_owned(), 40);
    words.upstream = Some(Upstream::open(context));
    Ok("loaded".into())
}

/// Before the first request after a freeze. The platform does not announce the thaw; the server finds out.
fn on_thaw(words: &mut Words, context: &Context, thaw: &Thaw) -> Result<()> {
    log::info!("frozen for at most {:?} ({})", thaw.gap, thaw.evidence);
    words.upstream = Some(Upstream::open(context));
    Ok(())
}

/// An event. It is retried if it fails, so it changes nothing before it is sure to succeed.
fn count(words: &mut Words, context: &Context, event: &Request) -> Result {
    let text = std::str::from_utf8(event.body())?;
    let mut added: HashMap<&str, u64> = HashMap::new();
    for word in text.split_whitespace() {
        // Behind the deadline nobody reads the answer; after SIGTERM the instance wants to go.
        if context.cancelled() || context.time_left() == Some(Duration::ZERO) {
            return Err(Error::typed("Cancelled", "stopped half way, nothing was counted"));
        }
        *added.entry(word).or_default() += 1;
    }
    for (word, count) in &added {
        *words.counts.entry((*word).to_owned()).or_default() += count;
        words.unsaved += count;
    }
    Reply::json(&BTreeMap::from([("words", added.values().sum::<u64>()), ("different", added.len() as u64)]))
}

/// An HTTP call: how often a word was counted, by the query.
fn show(words: &mut Words, _: &Context, request: &Request) -> Result {
    let Some((word, _)) = request.query_pairs().next() else {
        return Ok(Reply::text("which word? /count?<word>\n").with_status(400)?);
    };
    Ok(format!("{}\n", words.counts.get(&*word).copied().unwrap_or(0)).into())
}

/// Before a freeze, and before the end. FC 3.0 never calls pre-freeze, so what must not be lost is saved in the call.
fn save(words: &mut Words, _: &Context) -> Result {
    let saved = std::mem::take(&mut words.unsaved);
    let upstream = match &words.upstream {
        Some(upstream) if upstream.signed_in => format!("signed in {:?} ago", upstream.opened.elapsed()),
        Some(_) => "without a role".to_owned(),
        None => "never opened".to_owned(),
    };
    Ok(format!("saved {saved} words, upstream {upstream}\n").into())
}

fn main() -> std::process::ExitCode {
    fc_hooks::run(&APP, Words::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc_hooks::testing::{Freeze, Instance, Request};

    fn loaded() -> Instance<Words> {
        let mut instance = Instance::new(&APP, Words::default());
        assert_eq!(instance.initialize().text(), "loaded");
        instance
    }

    #[test]
    fn words_are_counted() {
        let mut instance = loaded();
        assert_eq!(instance.invoke("to be or not to be").text(), r#"{"different":4,"words":6}"#);
        assert_eq!(instance.call(Request::get("/count?be")).text(), "42\n");
        assert_eq!(instance.call(Request::get("/count")).status(), 400);
        assert!(instance.pre_stop().text().starts_with("saved 6 words"));
    }

    #[test]
    fn an_event_that_is_no_text_changes_nothing() {
        let mut instance = loaded();
        let answer = instance.invoke([0xff]);
        assert!(answer.is_failed() && answer.text().contains("Utf8Error"));
        assert_eq!(instance.state().unsaved, 0);
    }

    /// After a freeze the connection is a new one, with the credentials of the request in hand.
    #[test]
    fn a_thaw_opens_the_connection_again() {
        let mut instance = loaded();
        assert!(!instance.state().upstream.as_ref().unwrap().signed_in);
        instance.freeze(Duration::from_secs(3600), Freeze::ControlGroup);
        let count = Request::get("/count?be").header("x-fc-access-key-id", "id").header("x-fc-access-key-secret", "s");
        let answer = instance.call(count);
        assert!(instance.state().upstream.as_ref().unwrap().signed_in);
        assert!(answer.log().contains(&"INFO frozen for at most 3600s (interrupted)".to_owned()), "{:?}", answer.log());
    }

    #[test]
    fn there_is_not_always_enough_time() {
        let mut instance = Instance::new(&APP, Words::default());
        let call = Request::post("/initialize").header("x-fc-control-path", "/initialize");
        let answer = instance.call(call.header("x-fc-initialization-timeout", "0"));
        assert_eq!((answer.status(), answer.text().contains("TooLate")), (404, true));
        instance.initialize();
        instance.cancel();
        assert!(instance.invoke("too late").text().contains("Cancelled"));
    }
}

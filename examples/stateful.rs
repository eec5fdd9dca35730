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
use std::collections::HashMap;
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
    Ok(serde_json::json!({ "words": added.values().sum::<u64>(), "different": added.len() }).into())
}

/// An HTTP call: how often a word was counted, by the query.
fn show(words: &mut Words, _: &Context, request: &Request) -> Result {
    let Some(word) = request.query() else { return Ok(Reply::from("which word? /count?<word>\n").with_status(400)?) };
    Ok(format!("{}\n", words.counts.get(word).copied().unwrap_or(0)).into())
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

//! What keeps a failing callback from taking the instance along.
//!
//! A panic is caught at the callback and becomes a failure like any other. Must not know which call
//! it is or what the failure is answered with: `dispatch` does.

use crate::function::error::Error;
use crate::json::Json;
use crate::platform::errors;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A callback that did not succeed, as its caller will read it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) error_type: String,
}

impl Failure {
    /// `{"errorMessage":…,"errorType":…}` (C-INV-5).
    pub(crate) fn to_json(&self) -> Vec<u8> {
        error_json(&self.message, &self.error_type)
    }
}

/// The description of an error as its caller reads it: `{"errorMessage":…,"errorType":…}` (C-INV-5).
pub(crate) fn error_json(message: &str, error_type: &str) -> Vec<u8> {
    Json::object().text(errors::MESSAGE, message).text(errors::TYPE, error_type).end().into_bytes()
}

/// Runs a callback. Its error is rendered under the same protection: an author's `Display` can panic like anything
/// else.
///
/// The state may be half changed after a panic. That is the author's to mind, as with a poisoned lock that is used on.
pub(crate) fn run<T>(callback: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
    match catch_panic(callback) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(render(error)),
        Err(failure) => Err(failure),
    }
}

/// Runs author code; a panic comes back as a failure of type `Panic`.
pub(crate) fn catch_panic<T>(code: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(code)).map_err(describe)
}

// Both are kept out of line: `run` and `isolated` are compiled once for each kind of callback.

#[inline(never)]
pub(crate) fn render(error: Error) -> Failure {
    let rendered = catch_panic(|| Failure { message: error.to_string(), error_type: error.error_type().to_owned() });
    drop_catching_panic(Box::new(error));
    rendered.unwrap_or_else(|failure| failure)
}

#[inline(never)]
fn describe(payload: Box<dyn Any + Send>) -> Failure {
    let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "panicked with a value that is not text".to_owned(),
    };
    drop_catching_panic(payload);
    Failure { message, error_type: "Panic".to_owned() }
}

/// Drops an author's value. What its destructor panics with is leaked: its own destructor could panic again.
pub(crate) fn drop_catching_panic<T: ?Sized>(value: Box<T>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        std::mem::forget::<Box<dyn Any + Send>>(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Spiteful;

    impl Drop for Spiteful {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[derive(Debug)]
    struct Mute;

    impl std::fmt::Display for Mute {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words")
        }
    }

    impl std::error::Error for Mute {}

    /// However a callback fails, a failure comes back and the process goes on.
    #[test]
    fn failures() {
        type Case = (fn() -> Result<(), Error>, &'static str, &'static str);
        let cases: [Case; 6] = [
            (|| Err(Error::typed("NoStock", "sold out")), "sold out", "NoStock"),
            (|| Ok("x".parse::<u8>().map(drop)?), "invalid digit found in string", "ParseIntError"),
            (|| panic!("plain"), "plain", "Panic"),
            (|| panic!("with {}", 1), "with 1", "Panic"),
            (|| std::panic::panic_any(Spiteful), "panicked with a value that is not text", "Panic"),
            (|| Err(Mute.into()), "no words", "Panic"),
        ];
        for (callback, message, error_type) in cases {
            let failure = run(callback).unwrap_err();
            assert_eq!((&*failure.message, &*failure.error_type), (message, error_type));
        }
        assert_eq!(run(|| Ok(1)), Ok(1));
    }

    #[test]
    fn failures_are_json_whatever_they_say() {
        let failure = Failure { message: "a \"quote\"\n\u{1}".to_owned(), error_type: "T".to_owned() };
        let json: serde_json::Value = serde_json::from_slice(&failure.to_json()).unwrap();
        assert_eq!(
            (json["errorMessage"].as_str(), json["errorType"].as_str()),
            (Some("a \"quote\"\n\u{1}"), Some("T"))
        );
    }
}

//! Keeps a panic inside its callback, so that it does not end the instance.
//!
//! A panic becomes a failure like any other. Must not know which call it is, or how the failure is answered: `dispatch`
//! decides that.

use crate::function::error::Error;
use crate::json::Json;
use crate::platform::errors;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The failure of a callback, as its caller reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) error_type: String,
    /// The status of an HTTP call.
    pub(crate) status: u16,
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

/// Runs a callback. Its error becomes text under the same protection, because an author's `Display` can panic too.
///
/// After a panic the function's state may be half changed. The author has to deal with that, as with a poisoned lock.
pub(crate) fn run<T>(callback: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
    match catch_panic(callback) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(render(error)),
        Err(failure) => Err(failure),
    }
}

/// Runs the author's code. A panic becomes a failure of type `Panic`.
pub(crate) fn catch_panic<T>(code: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(code)).map_err(describe)
}

// Both are kept out of line, because `run` and `catch_panic` are compiled once for each kind of callback.

#[inline(never)]
pub(crate) fn render(error: Error) -> Failure {
    let rendered = catch_panic(|| Failure {
        message: error.to_string(),
        error_type: error.error_type().to_owned(),
        status: error.status(),
    });
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
    Failure { message, error_type: "Panic".to_owned(), status: 500 }
}

/// Drops a value of the author. If its destructor panics, the panic's payload is leaked: the payload's own destructor
/// could panic again.
pub(crate) fn drop_catching_panic<T: ?Sized>(value: Box<T>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        std::mem::forget::<Box<dyn Any + Send>>(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsOnDrop;

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[derive(Debug)]
    struct PanicsOnDisplay;

    impl std::fmt::Display for PanicsOnDisplay {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words")
        }
    }

    impl std::error::Error for PanicsOnDisplay {}

    /// However a callback fails, a failure comes back and the process goes on.
    #[test]
    fn failures() {
        type Case = (fn() -> Result<(), Error>, &'static str, &'static str);
        let cases: [Case; 6] = [
            (|| Err(Error::typed("NoStock", "sold out")), "sold out", "NoStock"),
            (|| Ok("x".parse::<u8>().map(drop)?), "invalid digit found in string", "ParseIntError"),
            (|| panic!("plain"), "plain", "Panic"),
            (|| panic!("with {}", 1), "with 1", "Panic"),
            (|| std::panic::panic_any(PanicsOnDrop), "panicked with a value that is not text", "Panic"),
            (|| Err(PanicsOnDisplay.into()), "no words", "Panic"),
        ];
        for (callback, message, error_type) in cases {
            let failure = run(callback).unwrap_err();
            assert_eq!((&*failure.message, &*failure.error_type), (message, error_type));
        }
        assert_eq!(run(|| Ok(1)), Ok(1));
    }

    #[test]
    fn failures_are_json_whatever_they_say() {
        let failure = Failure { message: "a \"quote\"\n\u{1}".to_owned(), error_type: "T".to_owned(), status: 500 };
        let json: serde_json::Value = serde_json::from_slice(&failure.to_json()).unwrap();
        assert_eq!(
            (json["errorMessage"].as_str(), json["errorType"].as_str()),
            (Some("a \"quote\"\n\u{1}"), Some("T"))
        );
    }
}

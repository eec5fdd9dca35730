//! Replies that are never in memory as a whole: chunked where the length is not known, sized where it is.
//!
//! ```sh
//! cargo run --example stream
//! curl -N 'localhost:9000/countdown?100000'
//! curl -O localhost:9000/source
//! ```

use fc_hooks::{App, Context, Reply, Request, Result, Route};
use std::fs::File;
use std::io::{self, Read};

static APP: App<()> = App::new(&[
    Route::get("/countdown", countdown),
    Route::get("/source", source),
    // Callers of an event get its reply whole, streamed or not.
    Route::invoke(|_, _, event| Ok(Reply::stream(io::Cursor::new(event.body().to_vec())))),
]);

/// `Transfer-Encoding: chunked`: the platform then hands on what it has instead of waiting for the end (C-INV-6).
fn countdown(_: &mut (), _: &Context, request: &Request) -> Result {
    let from = request.query().unwrap_or("10").parse()?;
    let lines = Countdown { next: Some(from), line: Vec::new(), sent: 0 };
    Ok(Reply::stream(lines).with_header("content-type", "text/plain; charset=utf-8")?)
}

/// `Content-Length`: clients can show progress, and tell a reply that was cut from one that is whole.
fn source(_: &mut (), _: &Context, _: &Request) -> Result {
    let file = File::open(file!())?;
    let bytes = file.metadata()?.len();
    Ok(Reply::stream_sized(file, bytes).with_header("content-type", "text/plain; charset=utf-8")?)
}

/// Lines are made as the client takes them. A reader must not block: it is called on the server's only thread.
struct Countdown {
    next: Option<u64>,
    line: Vec<u8>,
    sent: usize,
}

impl Read for Countdown {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.sent == self.line.len() {
            // Zero bytes end the reply.
            let Some(number) = self.next else { return Ok(0) };
            self.line = format!("{number}\n").into_bytes();
            self.sent = 0;
            self.next = number.checked_sub(1);
        }
        let count = buffer.len().min(self.line.len() - self.sent);
        buffer[..count].copy_from_slice(&self.line[self.sent..self.sent + count]);
        self.sent += count;
        Ok(count)
    }
}

fn main() -> std::process::ExitCode {
    fc_hooks::run(&APP, ())
}

#[cfg(test)]
mod tests {
    use super::APP;
    use fc_hooks::testing::{Instance, Request};

    #[test]
    fn a_countdown_comes_in_chunks() {
        let mut instance = Instance::new(&APP, ());
        let answer = instance.call(Request::get("/countdown?3"));
        assert_eq!((answer.text(), answer.header("transfer-encoding")), ("3\n2\n1\n0\n", Some("chunked")));
        assert_eq!(instance.call(Request::get("/countdown?many")).status(), 500);
    }

    #[test]
    fn the_source_has_a_length() {
        let answer = Instance::new(&APP, ()).call(Request::get("/source"));
        assert_eq!(answer.header("content-length"), Some(&*answer.body().len().to_string()));
        assert!(answer.text().starts_with("//! Replies"));
    }

    #[test]
    fn an_event_gets_its_reply_whole() {
        let answer = Instance::new(&APP, ()).invoke("an event");
        assert_eq!((answer.text(), answer.header("content-length")), ("an event", Some("8")));
    }
}

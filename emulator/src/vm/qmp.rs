//! QEMU's control protocol: one JSON object a line, a command and its answer, and events in between.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::clock::Deadline;
use crate::error::{Error, Result};

/// A connection on which commands are accepted.
pub(super) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Reads the greeting and leaves the negotiation of capabilities.
    ///
    /// # Errors
    /// If QEMU says nothing in time, or ends.
    pub(super) fn open(stream: UnixStream, deadline: Deadline) -> Result<Self> {
        let mut qmp = Self { stream: BufReader::new(stream) };
        qmp.read(deadline)?;
        qmp.command("qmp_capabilities", json!({}), deadline)?;
        Ok(qmp)
    }

    /// Gives a command and waits for its answer.
    ///
    /// # Errors
    /// If QEMU refuses it, or does not answer in time.
    pub(super) fn command(&mut self, name: &str, arguments: Value, deadline: Deadline) -> Result<Value> {
        let line = format!("{}\n", json!({ "execute": name, "arguments": arguments }));
        self.stream.get_mut().write_all(line.as_bytes()).map_err(|cause| Error::failed("tell QEMU", name, cause))?;
        loop {
            let mut message = self.read(deadline)?;
            if let Some(error) = message.get("error") {
                let text = error["desc"].as_str().unwrap_or("no reason was given");
                return Err(Error::failed("run in QEMU", name, text));
            }
            // Everything else is an event.
            if message.get("return").is_some() {
                return Ok(message["return"].take());
            }
        }
    }

    /// Whether the machine stands still, by QEMU's own word.
    pub(super) fn status(&mut self, deadline: Deadline) -> Result<String> {
        let told = self.command("query-status", json!({}), deadline)?;
        Ok(told["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for the end of a job and forgets it.
    ///
    /// # Errors
    /// If the job failed, or did not end in time.
    pub(super) fn finish_job(&mut self, id: &str, deadline: Deadline) -> Result<()> {
        let ended = deadline.until(|| {
            let jobs = match self.command("query-jobs", json!({}), deadline) {
                Ok(jobs) => jobs,
                Err(error) => return Some(Err(error)),
            };
            let job = jobs.as_array()?.iter().find(|job| job["id"] == id)?;
            (job["status"] == "concluded").then(|| match job["error"].as_str() {
                Some(text) => Err(Error::failed("run in QEMU", id, text)),
                None => Ok(()),
            })
        });
        ended.unwrap_or_else(|| Err(Error::failed("run in QEMU", id, "it did not end in time")))?;
        self.command("job-dismiss", json!({ "id": id }), deadline).map(drop)
    }

    fn read(&mut self, deadline: Deadline) -> Result<Value> {
        let failed = |cause: &dyn std::fmt::Display| Error::failed("hear from", "QEMU", cause);
        let mut line = String::new();
        loop {
            let left = deadline.left().ok_or_else(|| failed(&"it said nothing in time"))?;
            self.stream.get_mut().set_read_timeout(Some(left)).map_err(|cause| failed(&cause))?;
            match self.stream.read_line(&mut line) {
                Ok(0) => return Err(failed(&"it has ended")),
                Ok(_) => return serde_json::from_str(&line).map_err(|cause| failed(&cause)),
                Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(failed(&cause)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    /// QEMU's side, written beforehand: the socket keeps it until it is read.
    fn told(lines: &str) -> (Result<Qmp>, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(lines.as_bytes()).unwrap();
        (Qmp::open(ours, soon()), theirs)
    }

    #[test]
    fn events_are_no_answers() {
        let (qmp, _theirs) = told(
            "{\"QMP\":{}}\n{\"return\":{}}\n{\"event\":\"STOP\"}\n{\"return\":{\"status\":\"paused\"}}\n\
             {\"error\":{\"desc\":\"not now\"}}\n",
        );
        let mut qmp = qmp.unwrap();
        assert_eq!(qmp.status(soon()).unwrap(), "paused");
        let refused = qmp.command("cont", json!({}), soon()).unwrap_err().to_string();
        assert_eq!(refused, "failed to run in QEMU `cont`: not now");
    }

    #[test]
    fn an_end_is_an_error() {
        let (qmp, theirs) = told("{\"QMP\":{}}\n{\"return\":{}}\n");
        drop(theirs);
        assert!(qmp.unwrap().status(soon()).is_err());
    }
}

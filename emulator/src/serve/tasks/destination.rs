//! The destination of an asynchronous call: a URL that is told how the call ended, by POST with JSON.
//!
//! curl tells those of `https`: every crate for TLS needs code in C or a second version of another crate, and none
//! would fit into the small static file.

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use super::book::{Status, Task};
use crate::serve::config::FunctionConfig;
use crate::serve::headers;

/// A destination is tried so often, with a growing wait.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// One try may take this long.
const TRY_TIME: Duration = Duration::from_secs(10);

/// The answer of a destination is read up to this size, and not looked at.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Whether this can be a destination.
///
/// # Errors
/// If not, with what is expected.
pub fn check_url(text: &str) -> Result<String, String> {
    let expected = || "expected a URL that begins with http:// or https://".to_owned();
    let uri: Uri = text.parse().map_err(|_| expected())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(text.to_owned()),
        _ => Err(expected()),
    }
}

/// What a destination is told.
pub fn message(config: &FunctionConfig, task: &Task) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let condition = match task.status {
        Status::Succeeded => "",
        Status::Expired => "EventAgeExceeded",
        _ => "RetriesExhausted",
    };
    let error = if task.status == Status::Succeeded { "" } else { task.error.as_deref().unwrap_or_default() };
    json!({
        "timestamp": task.ended,
        "requestContext": {
            "requestId": task.request,
            "taskId": task.id,
            "functionName": config.name,
            "functionQualifier": task.qualifier,
            "condition": condition,
            "approximateInvokeCount": task.tries,
        },
        "requestPayload": text(&task.payload),
        "responseContext": {"statusCode": 200, "functionError": error},
        "responsePayload": text(&task.result),
    })
    .to_string()
}

/// Tells a destination.
///
/// # Errors
/// If no try is answered with 2xx, with the cause of the last one.
pub async fn tell(url: &str, message: &str) -> Result<(), String> {
    let mut wait = FIRST_WAIT;
    for last in (0..TRIES).rev() {
        let why = match tokio::time::timeout(TRY_TIME, post(url, message)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(_) => "no answer in time".to_owned(),
        };
        if last == 0 {
            return Err(why);
        }
        tokio::time::sleep(wait).await;
        wait *= 4;
    }
    Ok(())
}

async fn post(url: &str, message: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|cause| format!("{cause}"))?;
    if uri.scheme_str() == Some("https") {
        let (url, message) = (url.to_owned(), message.to_owned());
        let posted = tokio::task::spawn_blocking(move || post_by_curl(&url, &message));
        return posted.await.unwrap_or_else(|cause| Err(cause.to_string()));
    }
    let authority = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80));
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|cause| cause.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|cause| cause.to_string())?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(Full::new(Bytes::from(message.to_owned())));
    *request.method_mut() = Method::POST;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|cause| format!("{cause}"))?;
    let map = request.headers_mut();
    map.insert(HOST, headers::value(&authority));
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    map.insert(CONTENT_LENGTH, HeaderValue::from(message.len()));
    let response = sender.send_request(request).await.map_err(|cause| cause.to_string());
    let answered = match response {
        Ok(response) => {
            let status = response.status();
            let _ = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            if status.is_success() { Ok(()) } else { Err(format!("it answered with {status}")) }
        }
        Err(cause) => Err(cause),
    };
    connection.abort();
    answered
}

/// It has the time of one try, and ends by itself.
fn post_by_curl(url: &str, message: &str) -> Result<(), String> {
    let limit = TRY_TIME.as_secs().to_string();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--globoff", "--max-time", &limit, "--output", "/dev/null"]);
    command.args(["--header", "content-type: application/json", "--data-binary", "@-"]);
    command.args(["--write-out", "%{http_code}", url]);
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => "an https destination needs curl, which is not installed".to_owned(),
        _ => format!("curl: {cause}"),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it ends before it has read all, its own words say why.
        let _ = stdin.write_all(message.as_bytes());
    }
    let ran = child.wait_with_output().map_err(|cause| format!("curl: {cause}"))?;
    let status = String::from_utf8_lossy(&ran.stdout).into_owned();
    match (ran.status.success(), status.starts_with('2')) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("it answered with {status}")),
        _ => Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_plain_url() {
        for good in ["http://a", "https://a/b", "http://127.0.0.1:8080/x?y", "http://[::1]:1/"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "ftp://a", "acs:fc:x", "http://", "https://"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}

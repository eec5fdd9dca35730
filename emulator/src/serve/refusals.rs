//! The answers that the HTTP library gives by itself: to what is no request, or has a head that is too large. They have
//! no body, and the official clients can read nothing but JSON. So each is replaced on its way out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::fault::Fault;

/// A connection to a client.
pub struct Refusals<S> {
    stream: S,
    new_id: Box<dyn Fn() -> String + Send>,
    /// What is sent in place of an answer of this length, and how much of it is sent.
    replaced: Option<(Vec<u8>, usize, usize)>,
}

impl<S> Refusals<S> {
    /// A connection on which each refusal gets an id.
    pub fn new(stream: S, new_id: impl Fn() -> String + Send + 'static) -> Self {
        Self { stream, new_id: Box::new(new_id), replaced: None }
    }
}

/// What an answer of the library itself means. All others have the id of their request or a type.
fn refused(answer: &[u8]) -> Option<Fault> {
    let head = std::str::from_utf8(answer).ok()?.strip_prefix("HTTP/1.1 ")?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').next()?;
    let own = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        ["connection", "content-length", "date"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    if !lines.all(own) {
        return None;
    }
    let text = match status {
        "400" => "the request is not valid HTTP/1.1",
        "414" => "the path and the query are longer than any server takes",
        "431" => "the headers are larger than any server takes",
        _ => return None,
    };
    Some(Fault::BadRequest(text.to_owned()))
}

fn answer(fault: &Fault, id: &str) -> Vec<u8> {
    let (status, body) = (fault.status(), fault.body(id));
    let reason = status.canonical_reason().unwrap_or_default();
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\nx-fc-request-id: {id}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        status.as_u16(),
        body.len()
    )
    .into_bytes()
}

impl<S: Write + Unpin> Write for Refusals<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replaced.is_none()
            && let Some(fault) = refused(bytes)
        {
            let answer = answer(&fault, &(self.new_id)());
            self.replaced = Some((answer, 0, bytes.len()));
        }
        let this = &mut *self;
        let Some((answer, sent, length)) = &mut this.replaced else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        while *sent < answer.len() {
            match ready!(Pin::new(&mut this.stream).poll_write(context, &answer[*sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *sent += count,
            }
        }
        let length = *length;
        this.replaced = None;
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match pieces {
            [whole] => self.poll_write(context, whole),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, pieces),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: Read + Unpin> Read for Refusals<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answers_of_the_library_are_replaced() {
        let date = "date: Fri, 27 Nov 2026 18:00:00 GMT\r\n";
        for (answer, is_replaced) in [
            (format!("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n{date}\r\n"), true),
            (format!("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n{date}\r\n"), true),
            (format!("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n{date}\r\n"), false),
            (format!("HTTP/1.1 400 Bad Request\r\nx-fc-request-id: 1-a\r\ncontent-length: 0\r\n{date}\r\n"), false),
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\n\r\nbody".to_owned(), false),
            ("HTTP/1.1 400 Bad".to_owned(), false),
        ] {
            assert_eq!(refused(answer.as_bytes()).is_some(), is_replaced, "{answer}");
        }
        let text = String::from_utf8(answer(&Fault::BadRequest("no".to_owned()), "1-a")).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
        assert_eq!(body, r#"{"Code":"InvalidArgument","Message":"no","RequestId":"1-a"}"#);
    }
}

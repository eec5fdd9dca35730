use super::*;

#[test]
fn conversions_set_the_content_type() {
    let cases: [(Reply, &[u8], Option<&str>); 8] = [
        (().into(), b"", None),
        ("a".into(), b"a", Some(TEXT)),
        (String::from("b").into(), b"b", Some(TEXT)),
        (b"c".as_slice().into(), b"c", Some(OCTETS)),
        (vec![b'd'].into(), b"d", Some(OCTETS)),
        (b"array".into(), b"array", Some(OCTETS)),
        (Cow::Borrowed("cow").into(), b"cow", Some(TEXT)),
        (serde_json::json!({"e": [1, null]}).into(), br#"{"e":[1,null]}"#, Some(JSON)),
    ];
    for (reply, body, content_type) in cases {
        assert_eq!((reply.status, reply.body.bytes(), reply.content_type), (200, Some(body), content_type));
    }
}

#[test]
fn headers_that_are_refused() {
    use ReplyError::*;
    let cases = [
        ("", "x", HeaderName),
        ("a b", "x", HeaderName),
        ("a:", "x", HeaderName),
        ("a\r\nb", "x", HeaderName),
        ("ä", "x", HeaderName),
        ("a", "x\r\nset-cookie: y", HeaderValue),
        ("a", "x\ny", HeaderValue),
        ("a", "x\ry", HeaderValue),
        ("a", "x\0y", HeaderValue),
        ("a", "\x7f", HeaderValue),
        ("Content-Length", "1", OwnedByServer),
        ("TRANSFER-ENCODING", "chunked", OwnedByServer),
        ("Connection", "close", OwnedByServer),
        ("keep-alive", "1", OwnedByServer),
        ("Upgrade", "h2c", OwnedByServer),
        ("trailer", "a", OwnedByServer),
        ("X-Fc-Status", "200", OwnedByServer),
        ("x-fc-anything", "", OwnedByServer),
    ];
    for (name, value, expected) in cases {
        assert_eq!(Reply::new().with_header(name, value).err(), Some(expected), "{name:?}: {value:?}");
    }
}

#[test]
fn headers_that_pass() {
    for (name, value) in [("a", ""), ("X-Fcc", "\t x"), ("x-f", "ü"), ("date", "now"), ("set-cookie", "a=b")] {
        assert!(Reply::new().with_header(name, value).is_ok(), "{name}: {value}");
    }
    let reply = Reply::from("x").with_header("Content-Type", "text/html").unwrap();
    let reply = reply.with_header("content-type", "text/css").unwrap();
    assert_eq!(
        (reply.content_type, reply.header_lines().collect::<Vec<_>>()),
        (None, vec![("content-type", "text/css")])
    );
}

#[test]
fn headers_are_bounded_together() {
    let mut reply = Reply::new();
    let error = loop {
        match reply.with_header("a", "x".repeat(95)) {
            Ok(next) => reply = next,
            Err(error) => break error,
        }
    };
    assert_eq!(error, ReplyError::HeadersTooLarge);
    let whole = Reply::new().with_header("a", "x".repeat(REPLY_HEAD_BYTES_MAX));
    assert_eq!(whole.err(), Some(ReplyError::HeadersTooLarge));
}

#[test]
fn statuses() {
    for (status, fine) in [(0, false), (100, false), (199, false), (200, true), (599, true), (600, false)] {
        assert_eq!(Reply::new().with_status(status).is_ok(), fine, "{status}");
    }
}

struct Scripted(Vec<io::Result<usize>>);

impl Read for Scripted {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.pop().unwrap_or_else(|| panic!("read once too often"))
    }
}

#[test]
fn a_source_survives_its_reader() {
    let mut source = Source::new(Scripted(vec![Ok(9999), Ok(1), Err(io::ErrorKind::Interrupted.into())]));
    assert_eq!(source.read(&mut [0; 8]).unwrap(), 1, "an interrupted read is repeated");
    assert!(source.read(&mut [0; 8]).is_err(), "a claim beyond the buffer is an error");
    assert!(source.read(&mut [0; 8]).is_err(), "after an error, only errors");
    assert!(Source::new(Scripted(vec![])).read(&mut [0; 8]).is_err(), "a panic is an error");
}

/// The reader's error is the author's code as well.
#[test]
fn a_source_survives_its_readers_errors() {
    #[derive(Debug)]
    struct Malicious;
    impl fmt::Display for Malicious {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no words")
        }
    }
    impl std::error::Error for Malicious {}
    impl Drop for Malicious {
        fn drop(&mut self) {
            panic!("no end")
        }
    }
    let mut source = Source::new(Scripted(vec![Err(io::Error::other(Malicious))]));
    assert_eq!(source.read(&mut [0; 8]).unwrap_err().to_string(), "no words");
    let mut source = Source::new(Scripted(vec![Err(io::Error::other("dry"))]));
    assert_eq!(source.read(&mut [0; 8]).unwrap_err().to_string(), "dry");
}

#[test]
fn reading_whole() {
    for (length, expected) in [(None, Some(3)), (Some(2), Some(2)), (Some(3), Some(3)), (Some(4), None)] {
        let mut reply = Reply::stream(io::Cursor::new(b"abc"));
        if let Body::Stream(_, known) = &mut reply.body {
            *known = length;
        }
        let read = reply.read_whole().ok().map(|()| reply.body.bytes().unwrap().len());
        assert_eq!(read, expected, "{length:?}");
    }
}

#[test]
fn constructors_and_getters() {
    let reply = Reply::json(&["a", "b"]).unwrap();
    assert_eq!((reply.status(), reply.body(), reply.content_type), (200, Some(&br#"["a","b"]"#[..]), Some(JSON)));
    let reply = Reply::text("plain").with_status(201).unwrap().with_header("x-a", "1").unwrap();
    assert_eq!((reply.status(), reply.body()), (201, Some(&b"plain"[..])));
    assert_eq!(reply.headers().collect::<Vec<_>>(), [("content-type", TEXT), ("x-a", "1")]);
    assert_eq!((reply.header("X-A"), reply.header("Content-Type"), reply.header("x-b")), (Some("1"), Some(TEXT), None));
    let reply = Reply::bytes(vec![1, 2]);
    assert_eq!((reply.body(), reply.header("content-type")), (Some(&[1, 2][..]), Some(OCTETS)));
    assert_eq!(
        Reply::from_status(404).map(|reply| (reply.status(), reply.body().map(<[u8]>::len))),
        Ok((404, Some(0)))
    );
    assert_eq!(Reply::from_status(99).err(), Some(ReplyError::Status));
    assert_eq!(Reply::stream(io::empty()).body(), None);
}

/// Not everything is JSON: a map needs text for its keys.
#[test]
fn json_that_cannot_be() {
    let map = std::collections::BTreeMap::from([([1, 2], 3)]);
    assert_eq!(Reply::json(&map).unwrap_err().error_type(), "serde_json::Error");
}

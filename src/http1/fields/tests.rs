use super::*;

/// Each name with its value, and the length of the head.
type Parsed = (Vec<(String, Vec<u8>)>, usize);

fn parsed(text: &[u8]) -> Result<Parsed, FieldError> {
    let mut headers = Vec::new();
    let end = parse(text, 0, &mut headers, 8)?;
    Ok((headers.iter().map(|header| (header.name().to_owned(), header.value.to_vec())).collect(), end))
}

#[test]
fn what_is_refused() {
    use FieldError::*;
    let cases: [(&[u8], FieldError); 17] = [
        (b"", Partial),
        (b"\r", Partial),
        (b"a", Partial),
        (b"a:", Partial),
        (b"a: b\r", Partial),
        (b"a: b\r\n", Partial),
        (b"\n", BareLineFeed),
        (b"a: b\n\r\n", BareLineFeed),
        (b"a:\n\r\n", BareLineFeed),
        (b"\ra", Malformed),
        (b": b\r\n\r\n", Malformed),
        (b" a: b\r\n\r\n", Malformed),
        (b"a : b\r\n\r\n", Malformed),
        (b"a: b\r\n c\r\n\r\n", Malformed),
        (b"a: b\0\r\n\r\n", Malformed),
        (b"a: b\rc\r\n\r\n", Malformed),
        (b"a:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni:\r\n\r\n", TooMany),
    ];
    for (text, error) in cases {
        assert_eq!(parsed(text), Err(error), "{}", text.escape_ascii());
    }
}

/// `httparse` reads the same headers where both accept, and accepts nothing less than we do. It accepts a bare line
/// feed beyond that.
#[test]
fn as_httparse_reads_them() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let pieces: [&[u8]; 16] = [
        b"a",
        b"X-Fc-Request-Id",
        b":",
        b": ",
        b"\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b" ",
        b"\t",
        b"\x7f",
        b"\xff",
        b"\0",
        b"~!",
        b"value of more than sixteen bytes",
        b"\r",
    ];
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let text: Vec<u8> = (0..random(14)).flat_map(|_| pieces[random(pieces.len())]).copied().collect();
        let mut storage = [httparse::EMPTY_HEADER; 8];
        let theirs = match httparse::parse_headers(&text, &mut storage) {
            Ok(httparse::Status::Complete((end, headers))) => {
                let pairs = headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect();
                Ok((pairs, end))
            }
            Ok(httparse::Status::Partial) => Err(FieldError::Partial),
            Err(httparse::Error::TooManyHeaders) => Err(FieldError::TooMany),
            Err(_) => Err(FieldError::Malformed),
        };
        let ours = parsed(&text);
        match &ours {
            Err(FieldError::BareLineFeed) => refused += 1,
            Err(FieldError::Partial) => {}
            ours => {
                assert_eq!(*ours, theirs, "{}", text.escape_ascii());
                accepted += usize::from(ours.is_ok());
            }
        }
    }
    assert!(accepted > 1_000 && refused > 1_000, "{accepted} accepted, {refused} bare line feeds");
}

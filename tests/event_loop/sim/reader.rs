//! A reader of replies, byte by byte: written for the simulation alone, so that it shares no mistake with the server.

/// A reply's head.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplyHead {
    pub(super) status: u16,
    pub(super) length: Option<usize>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) failed: Option<bool>,
    pub(super) number: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Got<'a> {
    Nothing,
    Head(ReplyHead),
    Data(&'a [u8]),
    End,
}

#[derive(Debug, PartialEq)]
enum State {
    Head,
    Sized(usize),
    Size(Option<usize>),
    SizeEnd(usize),
    Chunk(usize),
    ChunkEnd(&'static [u8]),
    /// Behind the last chunk; trailers are never sent.
    LastEnd(&'static [u8]),
    UntilClose,
    Whole,
}

#[derive(Debug)]
pub(super) struct Reader {
    head: Vec<u8>,
    state: State,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { head: Vec::new(), state: State::Head }
    }
}

impl Reader {
    /// Between two replies.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Head && self.head.is_empty()
    }

    pub(super) fn is_until_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// One step: how many bytes it took, and what they were. A reply that is whole says so without taking any.
    pub(super) fn step<'a>(
        &mut self,
        bytes: &'a [u8],
        bodiless: impl Fn(&ReplyHead) -> bool,
    ) -> Result<(usize, Got<'a>), String> {
        if self.state == State::Whole {
            self.state = State::Head;
            return Ok((0, Got::End));
        }
        let Some(&byte) = bytes.first() else { return Ok((0, Got::Nothing)) };
        match self.state {
            State::Head => {
                self.head.push(byte);
                if !self.head.ends_with(b"\r\n\r\n") {
                    return Ok((1, Got::Nothing));
                }
                let head = parse(&std::mem::take(&mut self.head))?;
                self.state = match (head.status, head.chunked, head.length) {
                    (100..=199, false, None) => State::Head,
                    (204 | 304, false, None) => State::Whole,
                    (204 | 304 | 100..=199, ..) | (_, true, Some(_)) => return Err(format!("framing: {head:?}")),
                    _ if bodiless(&head) => State::Whole,
                    (_, true, None) => State::Size(None),
                    (_, false, Some(0)) => State::Whole,
                    (_, false, Some(length)) => State::Sized(length),
                    (_, false, None) => State::UntilClose,
                };
                Ok((1, Got::Head(head)))
            }
            State::Sized(left) | State::Chunk(left) => {
                let run = left.min(bytes.len());
                let chunk = matches!(self.state, State::Chunk(_));
                self.state = match (left - run, chunk) {
                    (0, true) => State::ChunkEnd(b"\r\n"),
                    (0, false) => State::Whole,
                    (left, true) => State::Chunk(left),
                    (left, false) => State::Sized(left),
                };
                Ok((run, Got::Data(&bytes[..run])))
            }
            State::UntilClose => Ok((bytes.len(), Got::Data(bytes))),
            _ => self.framing(byte).map(|()| (1, Got::Nothing)),
        }
    }

    fn framing(&mut self, byte: u8) -> Result<(), String> {
        self.state = match self.state {
            State::Size(Some(size)) if byte == b'\r' => State::SizeEnd(size),
            State::Size(size) => match char::from(byte).to_digit(16) {
                Some(digit) => State::Size(Some(size.unwrap_or(0) * 16 + digit as usize)),
                None => return Err(format!("a chunk size with {byte:#x}")),
            },
            State::SizeEnd(size) if byte == b'\n' => {
                if size == 0 {
                    State::LastEnd(b"\r\n")
                } else {
                    State::Chunk(size)
                }
            }
            State::ChunkEnd([first, rest @ ..]) if byte == *first => {
                if rest.is_empty() {
                    State::Size(None)
                } else {
                    State::ChunkEnd(rest)
                }
            }
            State::LastEnd([first, rest @ ..]) if byte == *first => {
                if rest.is_empty() {
                    State::Whole
                } else {
                    State::LastEnd(rest)
                }
            }
            _ => return Err(format!("byte {byte:#x} in {:?}", self.state)),
        };
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<ReplyHead, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut lines = text.trim_end().split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status =
        status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|text| text.parse().ok());
    let mut head = ReplyHead { status: status.ok_or_else(|| status_line.to_owned())?, ..ReplyHead::default() };
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| line.to_owned())?;
        match (name, value) {
            ("content-length", _) if head.length.is_none() => {
                head.length = Some(value.parse().map_err(|_| line.to_owned())?);
            }
            ("transfer-encoding", "chunked") if !head.chunked => head.chunked = true,
            ("connection", "close") => head.close = true,
            ("connection", "keep-alive") => head.keep_alive = true,
            ("x-fc-status", "200") => head.failed = Some(false),
            ("x-fc-status", "404") => head.failed = Some(true),
            ("x-number", _) => head.number = u64::from_str_radix(value, 16).ok(),
            ("content-type" | "allow", _) => {}
            _ => return Err(line.to_owned()),
        }
    }
    Ok(head)
}

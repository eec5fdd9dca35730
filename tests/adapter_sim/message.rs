//! The messages of a world: what a client asks, what the program answers, and a strict reader for both sides. It shares
//! no code with the adapter.

use fc_testkit::Rng;

/// Bytes that nobody has asked for, behind a whole reply.
pub(super) const SURPLUS: &[u8] = b"HTTP/1.1 200 Smuggled\r\nContent-Length: 0\r\n\r\n";

/// How a body is framed by its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Sized,
    Chunked,
    UntilClose,
    None,
}

/// What the program does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    /// It closes or resets the connection without a byte.
    LeavesBefore,
    ResetsBefore,
    /// It breaks off within its reply.
    Cut,
    Garbage,
    TwoLengths,
    BadChunk,
    /// It sends more than its reply.
    Surplus,
}

/// One request, and the answer that the program has for it.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) id: usize,
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) control_path: Option<&'static str>,
    pub(super) framing: Framing,
    pub(super) body_bytes: usize,
    pub(super) expects: bool,
    pub(super) http10: bool,
    pub(super) close: bool,
    pub(super) status: u16,
    pub(super) answer_framing: Framing,
    pub(super) answer_bytes: usize,
    pub(super) interim: bool,
    /// The program answers before it has read the body.
    pub(super) early: bool,
    pub(super) program_closes: bool,
    /// It says so, as HTTP/1.1 asks for.
    pub(super) announces_close: bool,
    pub(super) fault: Fault,
    /// What the program has seen of it.
    pub(super) seen_by_program: usize,
    pub(super) is_hook: bool,
    /// It asks for a tunnel, in which both bodies go.
    pub(super) upgrades: bool,
    pub(super) is_forbidden: bool,
}

/// The byte at this place of a body.
fn body_byte(id: usize, index: usize) -> u8 {
    (id.wrapping_mul(31) + index.wrapping_mul(7) + index / 256) as u8
}

/// The multiples of seven, which contain every byte, twice over.
static SEVENS: [u8; 512] = {
    let (mut sevens, mut index) = ([0; 512], 0);
    while index < 512 {
        sevens[index] = (index * 7) as u8;
        index += 1;
    }
    sevens
};

/// Makes 256 bytes at a time. One by one, without optimisation, they take a third of the time of a world.
pub(super) fn body(id: usize, bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes);
    while body.len() < bytes {
        let first = body_byte(id, body.len());
        // 7 times 183 is 1 more than a multiple of 256.
        let from = usize::from(first.wrapping_mul(183));
        body.extend_from_slice(&SEVENS[from..][..(bytes - body.len()).min(256)]);
    }
    body
}

#[test]
fn every_byte_of_a_body_is_the_one_of_its_place() {
    for (id, bytes) in [(0, 0), (1, 255), (7, 256), (300, 70_001)] {
        let expected: Vec<u8> = (0..bytes).map(|index| body_byte(id, index)).collect();
        assert!(body(id, bytes) == expected, "{id}");
    }
}

/// A body in chunks of any sizes, with extensions and trailers now and then.
fn chunks(rng: &mut Rng, body: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((1 + rng.below(rest.len().min(9_000))).min(rest.len()));
        let extension = if rng.one_in(4) { ";a=b" } else { "" };
        out.extend(format!("{:x}{extension}\r\n", piece.len()).bytes());
        out.extend(piece);
        out.extend(b"\r\n");
        rest = behind;
    }
    out.extend(if rng.one_in(4) { &b"0\r\nTrailer: x\r\n\r\n"[..] } else { b"0\r\n\r\n" });
    out
}

impl Ask {
    /// The bytes that the client sends: the head, and the body.
    pub(super) fn request(&self, rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
        let version = if self.http10 { "1.0" } else { "1.1" };
        // Empty lines in front of a request are ignored.
        let blank = if rng.one_in(6) { "\r\n" } else { "" };
        let Ask { method, target, id, .. } = self;
        let mut head = format!("{blank}{method} {target} HTTP/{version}\r\nHost: a\r\nX-Id: {id}\r\n");
        if self.upgrades {
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\n";
        }
        if let Some(path) = self.control_path {
            head += &format!("X-Fc-Control-Path: {path}\r\n");
        }
        if self.expects {
            head += "Expect: 100-continue\r\n";
        }
        if self.close {
            head += "Connection: close\r\n";
        }
        let body = body(self.id, self.body_bytes);
        let body = match self.framing {
            Framing::Sized => {
                head += &format!("Content-Length: {}\r\n", body.len());
                body
            }
            Framing::Chunked => {
                head += "Transfer-Encoding: chunked\r\n";
                chunks(rng, &body)
            }
            Framing::None if self.upgrades => body,
            Framing::UntilClose | Framing::None => Vec::new(),
        };
        (format!("{head}\r\n").into_bytes(), body)
    }

    /// The bytes that the program answers, whole, and whether the connection ends behind them.
    pub(super) fn answer(&self, rng: &mut Rng) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        if self.upgrades {
            out.extend(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
            out.extend(body(self.id + 1, self.answer_bytes));
            return (out, false);
        }
        match self.fault {
            Fault::LeavesBefore | Fault::ResetsBefore => return (out, true),
            Fault::Garbage => return (b"what is that?\r\n\r\n".to_vec(), true),
            _ => {}
        }
        if self.interim {
            out.extend(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        }
        let body = body(self.id + 1, self.answer_bytes);
        let mut closes = self.program_closes;
        let mut head = format!("HTTP/1.1 {} Some\r\nX-Id: {}\r\n", self.status, self.id);
        let mut content = Vec::new();
        match self.answer_framing {
            Framing::Sized => {
                head += &format!("Content-Length: {}\r\n", body.len());
                if self.fault == Fault::TwoLengths {
                    head += &format!("Content-Length: {}\r\n", body.len() + 1);
                }
                content = body;
            }
            Framing::Chunked => {
                head += "Transfer-Encoding: chunked\r\n";
                content = chunks(rng, &body);
                if self.fault == Fault::BadChunk {
                    content = [b"zz\r\n", &content[..]].concat();
                }
            }
            Framing::UntilClose => {
                content = body;
                closes = true;
            }
            Framing::None => {}
        }
        if closes && (self.announces_close || rng.one_in(2)) {
            head += "Connection: close\r\n";
        }
        if self.method == "HEAD" {
            content.clear();
        }
        out.extend(format!("{head}\r\n").bytes());
        out.extend(content);
        match self.fault {
            Fault::Cut => {
                let kept = rng.below(out.len());
                out.truncate(kept);
                closes = true;
            }
            // Where the close ends the body, everything belongs to it.
            Fault::Surplus if self.answer_framing != Framing::UntilClose => out.extend(SURPLUS),
            Fault::TwoLengths | Fault::BadChunk => closes = true,
            _ => {}
        }
        (out, closes)
    }

    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "PUT" | "DELETE") && self.body_bytes == 0
    }
}

/// A message, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) bytes: Vec<u8>,
}

/// A whole head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    bytes: usize,
}

impl Head {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(known, _)| known == name).count()
    }

    pub(super) fn status(&self) -> u16 {
        self.line[9..12].parse().expect("a status")
    }

    pub(super) fn framing(&self) -> Framing {
        match (self.count("content-length"), self.get("transfer-encoding")) {
            (0, None) => Framing::None,
            (1, None) => Framing::Sized,
            (0, Some("chunked")) if self.count("transfer-encoding") == 1 => Framing::Chunked,
            _ => panic!("two framings: {self:?}"),
        }
    }
}

impl Reader {
    pub(super) fn head(&self) -> Option<Head> {
        let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = String::from_utf8(self.bytes[..end].to_vec()).expect("text");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "a strict head: {text:?}");
        let mut lines = text.split("\r\n");
        let line = lines.next().expect("a line").to_owned();
        let pair =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Some(Head { line, headers: lines.filter_map(pair).collect(), bytes: end })
    }

    /// The body behind a head, once it is whole. `ended`: the connection has.
    pub(super) fn body(&self, head: &Head, framing: Framing, ended: bool) -> Option<(Vec<u8>, usize)> {
        let rest = &self.bytes[head.bytes..];
        match framing {
            Framing::None => Some((Vec::new(), head.bytes)),
            Framing::UntilClose => ended.then(|| (rest.to_vec(), self.bytes.len())),
            Framing::Sized => {
                let length: usize = head.get("content-length")?.parse().expect("a length");
                Some((rest.get(..length)?.to_vec(), head.bytes + length))
            }
            Framing::Chunked => {
                let (mut body, mut at) = (Vec::new(), 0);
                loop {
                    let line = rest[at..].windows(2).position(|two| two == b"\r\n")?;
                    let size = std::str::from_utf8(&rest[at..at + line]).expect("text");
                    let size = usize::from_str_radix(size, 16).expect("a plain size");
                    at += line + 2;
                    body.extend(rest.get(at..at + size)?);
                    assert_eq!(rest.get(at + size..at + size + 2)?, b"\r\n", "behind a chunk");
                    at += size + 2;
                    if size == 0 {
                        return Some((body, head.bytes + at));
                    }
                }
            }
        }
    }

    pub(super) fn drop_front(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
    }
}

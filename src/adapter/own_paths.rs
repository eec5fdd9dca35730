//! The paths that belong to hooks of the program: no outside caller reaches one, however it spells the path.
//!
//! A program may decode a path, fold its case, merge slashes and resolve dots before it looks for a handler. So a path
//! is compared in the form in which nothing of that is left to do. Pure.

/// How often a path is decoded: more than any chain of servers does.
const DECODING_RUNS_MAX: usize = 8;

/// The paths of the hooks, in canonical form.
pub(crate) struct OwnPaths(Vec<Vec<u8>>);

impl OwnPaths {
    /// From targets as the settings give them: a path, perhaps with a query.
    pub(crate) fn new<'a>(targets: impl Iterator<Item = &'a str>) -> OwnPaths {
        OwnPaths(targets.map(|target| canonical(without_query(target.as_bytes()))).collect())
    }

    /// Whether a program could take this target for the path of a hook.
    pub(crate) fn contain(&self, target: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let path = without_query(target.as_bytes());
        if is_plain(path) {
            let path = without_last_slash(path);
            return self.0.iter().any(|own| own.eq_ignore_ascii_case(path));
        }
        self.contain_spelled(path)
    }

    #[cold]
    fn contain_spelled(&self, path: &[u8]) -> bool {
        let decoded = decoded(path);
        // Behind two slashes, a reader of URLs looks for a host.
        let host = decoded.iter().take_while(|byte| is_slash(**byte)).count();
        let behind = decoded[host..].iter().position(|byte| is_slash(*byte)).map_or(decoded.len(), |at| host + at);
        self.0.contains(&resolved(&decoded)) || (host > 1 && self.0.contains(&resolved(&decoded[behind..])))
    }
}

fn without_query(target: &[u8]) -> &[u8] {
    target.iter().position(|byte| *byte == b'?').map_or(target, |mark| &target[..mark])
}

fn without_last_slash(path: &[u8]) -> &[u8] {
    match path {
        [path @ .., b'/'] => path,
        path => path,
    }
}

/// Nothing of it is encoded, and no segment is empty, a dot or two, or has parameters.
fn is_plain(path: &[u8]) -> bool {
    let is_special = |byte: &u8| matches!(byte, b'%' | b'\\' | b';') || *byte < b' ' || *byte >= 0x7f;
    !path.iter().any(is_special) && !path.windows(2).any(|two| matches!(two, b"//" | b"/."))
}

fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

fn canonical(path: &[u8]) -> Vec<u8> {
    resolved(&decoded(path))
}

/// Decoded until nothing changes, in lower case. What follows a zero byte is dropped, as some programs do.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut decoded = path.to_vec();
    for _ in 0..DECODING_RUNS_MAX {
        let next = decode(&decoded);
        if next == decoded {
            break;
        }
        decoded = next;
    }
    decoded.truncate(decoded.iter().position(|byte| matches!(byte, 0 | b'?' | b'#')).unwrap_or(decoded.len()));
    decoded.make_ascii_lowercase();
    decoded
}

/// Without parameters of segments, empty segments, dots, and slashes of the other kind. It has no slash at its end, so
/// the root is empty.
fn resolved(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| is_slash(*byte)) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        match name {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let mut joined = Vec::with_capacity(path.len() + 1);
    for segment in segments {
        joined.push(b'/');
        joined.extend_from_slice(segment);
    }
    joined
}

fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let escape = match tail {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every spelling that some server resolves to the path of the hook.
    #[test]
    fn no_spelling_reaches_a_hook() {
        let own = OwnPaths::new(["/hooks/Warm-Up?all=1", "/flush"].into_iter());
        let spelled = [
            "/hooks/warm-up",
            "/hooks/Warm-Up",
            "/HOOKS/WARM-UP",
            "/hooks/warm-up/",
            "/hooks/warm-up//",
            "/hooks/warm-up?x=/",
            "//hooks/warm-up",
            "/hooks//warm-up",
            "/hooks/./warm-up",
            "/hooks/x/../warm-up",
            "/../hooks/warm-up",
            "/hooks/warm-up/.",
            "/hooks/warm-up/x/..",
            "/hooks%2fwarm-up",
            "/hooks%2Fwarm-up",
            "/hooks%252fwarm-up",
            "/hooks%25252fwarm-up",
            "/hooks/%77arm-up",
            "/hooks/%57ARM-up",
            "/hooks/%2577arm-up",
            "/%68ooks/x/%2e%2e/warm-up",
            "/hooks/x%2f..%2fwarm-up",
            "/hooks\\warm-up",
            "/hooks%5cwarm-up",
            "/hooks;a=b/warm-up;c",
            "/hooks/warm-up%3Bc",
            "/hooks/warm-up%3fx",
            "/hooks/warm-up%00.html",
            "/hooks/warm-up%20",
            "//host/hooks/warm-up",
            "///user@host:80/hooks/warm-up",
            "/\\host/hooks/warm-up",
            "\\\\host\\hooks\\warm-up",
            "//host/../hooks/./warm-up",
            "/%2fhost%2fhooks%2fwarm-up",
            "/flush",
            "/FLUSH/",
        ];
        for target in spelled {
            assert!(own.contain(target), "{target}");
        }
        for target in [
            "/",
            "*",
            "/hooks",
            "/hooks/warm-up/more",
            "/hooks/warm-upp",
            "/x?/flush",
            "/x/flush",
            "/a%zz",
            "/flush.",
            "",
        ] {
            assert!(!own.contain(target), "{target}");
        }
        assert!(!OwnPaths::new(std::iter::empty()).contain("/flush"));
    }

    #[test]
    fn a_hook_at_the_root_takes_the_root_alone() {
        let own = OwnPaths::new(["/"].into_iter());
        assert!(
            own.contain("/") && own.contain("//") && own.contain("/%2e") && own.contain("/?a") && own.contain("//host")
        );
        assert!(!own.contain("/a") && !own.contain("*"));
    }
}

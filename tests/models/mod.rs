//! What has to hold for any input at all: one function for each way in.
//!
//! `cargo fuzz` feeds them what it invents (`make fuzz`, the targets in `tests/fuzz/`); the tests below feed them every
//! case of the committed corpus and every regression, so that a plain `cargo test` sees the same. Each module opens
//! with what it holds to. Compiled only there, and no part of the library.
//!
//! A broken promise is a panic. The only state is the input: the same bytes always do the same.

#[cfg(all(feature = "adapter", feature = "inspector"))]
mod arguments;
mod chunked;
mod connection;
mod dispatch;
mod environment;
mod head;
mod reply;
// By its path, because a fuzz target cannot use the library's dev-dependencies.
#[allow(dead_code)] // other tests use the rest
#[path = "../../testkit/src/rng.rs"]
mod rng;
mod wire;

use rng::Rng;

/// A target: any bytes in, a panic if a promise is broken.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and of the folder of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    #[cfg(all(feature = "adapter", feature = "inspector"))]
    ("arguments", arguments::run),
    ("head", head::run),
    ("chunked", chunked::run),
    ("connection", connection::run),
    ("dispatch", dispatch::run),
    ("environment", environment::run),
    ("reply", reply::run),
];

/// Runs one target, by name.
///
/// # Panics
/// If a promise is broken, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("no fuzz target is called '{name}'")).1(input);
}

/// An input that is taken apart from its front; zeros and nothing once it is used up.
struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Up to the next LF, which goes too; none at the end.
    fn line(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|&byte| byte == b'\n').unwrap_or(self.0.len());
        let line = self.bytes(end);
        self.bytes(1);
        Some(line)
    }
}

/// The ways to cut an input that every framing target compares: whole, byte by byte, and twice at random.
fn cuts(bytes: &[u8], numbers: &mut Rng) -> [Vec<usize>; 4] {
    let mut random = || {
        let longest = 1 + numbers.below(bytes.len() + 1);
        let mut cuts = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            at += 1 + numbers.below(longest);
            cuts.push(at.min(bytes.len()));
        }
        cuts
    };
    let random = [random(), random()];
    let [first, second] = random;
    [vec![bytes.len()], (1..=bytes.len()).collect(), first, second]
}

/// Up to sixteen lengths below `bytes`, or all of them where they are few.
fn prefixes(bytes: usize, numbers: &mut Rng) -> Vec<usize> {
    if bytes <= 16 { (0..bytes).collect() } else { (0..16).map(|_| numbers.below(bytes)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// The committed cases of one target: path and content.
    fn cases(folder: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder).join(target);
        // There is no folder for what never failed.
        let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn replay(target: &str) {
        let corpus = cases("corpus", target);
        assert!(!corpus.is_empty(), "tests/fuzz/corpus/{target} is empty, or not there");
        for (path, input) in corpus.into_iter().chain(cases("regressions", target)) {
            // Shown only if the test fails: the last one is the case.
            println!("{}", path.display());
            run(target, &input);
        }
    }

    macro_rules! replayed {
        ($($(#[$when:meta])? $target:ident)*) => {$(
            #[test]
            #[cfg_attr(miri, ignore = "every case byte by byte: seconds become an hour")]
            $(#[$when])?
            fn $target() {
                replay(stringify!($target));
            }
        )*};
    }

    replayed! {
        #[cfg(all(feature = "adapter", feature = "inspector"))] arguments
        head
        chunked
        connection
        dispatch
        environment
        reply
    }
}

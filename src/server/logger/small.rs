//! A logger in the place of `env_logger`, for builds in which every byte counts: the same variable with the same
//! grammar, and lines of the same form.

use super::DEFAULT_LEVEL;
use crate::logging::OneLine;
use log::{LevelFilter, Log, Metadata, Record};
use std::sync::OnceLock;

#[cfg_attr(all(test, feature = "env_logger"), expect(dead_code, reason = "builds with env_logger set up that"))]
#[cold]
#[inline(never)]
pub(super) fn set_logger() {
    let text = std::env::var(VARIABLE).ok();
    let filter = LOGGER.0.get_or_init(|| Filter(text));
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(filter.level_of(None));
    }
}

const VARIABLE: &str = "RUST_LOG";

static LOGGER: SmallLogger = SmallLogger(OnceLock::new());

struct SmallLogger(OnceLock<Filter>);

impl Log for SmallLogger {
    #[cold]
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.get().is_some_and(|filter| metadata.level() <= filter.level_of(Some(metadata.target())))
    }

    #[cold]
    fn log(&self, record: &Record<'_>) {
        let is_wanted = |filter: &Filter| filter.wants(&record.args().to_string());
        if self.enabled(record.metadata()) && self.0.get().is_some_and(is_wanted) {
            let text = OneLine(record.args());
            let (level, target) = (record.level(), record.target());
            crate::server::eprint_line(format_args!("[{level:<5} {target}] {text}"));
        }
    }

    fn flush(&self) {}
}

/// What `RUST_LOG` holds: `LEVEL`, `TARGET`, `TARGET=LEVEL`, with commas between them, and perhaps a slash with a text
/// that each logged message must contain. Of the targets that a record's begins with, the longest decides.
struct Filter(Option<String>);

impl Filter {
    /// The level down to which a target is logged; without a target, the lowest level of any.
    #[cold]
    #[inline(never)]
    fn level_of(&self, target: Option<&str>) -> LevelFilter {
        let Some(text) = &self.0 else { return DEFAULT_LEVEL };
        let text = text.split_once('/').map_or(text.as_str(), |(directives, _)| directives);
        // As with `env_logger`, a variable that says nothing leaves errors.
        let (mut level, mut longest) = (LevelFilter::Error, None);
        let mut names_any = false;
        for directive in text.split(',') {
            let Some((name, its_level)) = directive_of(directive) else { continue };
            if !std::mem::replace(&mut names_any, true) {
                level = LevelFilter::Off;
            }
            match target {
                None => level = level.max(its_level),
                Some(target) if target.starts_with(name) && longest <= Some(name.len()) => {
                    (level, longest) = (its_level, Some(name.len()));
                }
                Some(_) => {}
            }
        }
        level
    }

    fn wants(&self, message: &str) -> bool {
        let text = self.0.as_deref().and_then(|text| text.split_once('/'));
        text.is_none_or(|(_, part)| {
            message.as_bytes().windows(part.len().max(1)).any(|window| window == part.as_bytes()) || part.is_empty()
        })
    }
}

/// The target, empty for all, and the level of one directive; `None` if it is none.
fn directive_of(text: &str) -> Option<(&str, LevelFilter)> {
    let text = text.trim();
    match text.split_once('=') {
        None if text.is_empty() => None,
        None => Some(level(text).map_or((text, LevelFilter::Trace), |level| ("", level))),
        Some((name, value)) => match value.trim() {
            "" => Some((name, LevelFilter::Trace)),
            value => Some((name, level(value)?)),
        },
    }
}

fn level(text: &str) -> Option<LevelFilter> {
    LevelFilter::iter().find(|level| text.eq_ignore_ascii_case(level.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: Option<&str>) -> [LevelFilter; 4] {
        let filter = Filter(text.map(str::to_owned));
        [None, Some("fc_hooks::server::accept"), Some("fc_hooks"), Some("other")].map(|target| filter.level_of(target))
    }

    /// The grammar of `env_filter`: all, the module, the crate, another crate.
    #[test]
    fn levels_by_target() {
        use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
        let cases = [
            (None, [Warn; 4]),
            (Some(""), [Error; 4]),
            (Some(" , "), [Error; 4]),
            (Some("nonsense=loud"), [Error; 4]),
            (Some("info"), [Info; 4]),
            (Some("DEBUG"), [Debug; 4]),
            (Some("off"), [Off; 4]),
            (Some("fc_hooks"), [Trace, Trace, Trace, Off]),
            (Some("fc_hooks="), [Trace, Trace, Trace, Off]),
            (Some("fc_hooks=info"), [Info, Info, Info, Off]),
            (Some("warn, fc_hooks::server = debug"), [Debug, Warn, Warn, Warn]),
            (Some("warn,fc_hooks::server=debug"), [Debug, Debug, Warn, Warn]),
            (Some("fc_hooks::server=debug,error"), [Debug, Debug, Error, Error]),
            (Some("trace,fc_hooks::server=off"), [Trace, Off, Trace, Trace]),
            (Some("a=b=c,info"), [Info; 4]),
            (Some("info/hook"), [Info; 4]),
        ];
        for (text, expected) in cases {
            assert_eq!(levels(text), expected, "{text:?}");
        }
    }

    #[test]
    fn messages_by_their_text() {
        for (text, expected) in [(None, true), (Some("info"), true), (Some("info/hook"), true), (Some("/call"), false)]
        {
            assert_eq!(Filter(text.map(str::to_owned)).wants("a hook failed"), expected, "{text:?}");
        }
    }

    /// The two loggers read each text alike.
    #[cfg(feature = "env_logger")]
    #[test]
    fn env_logger_says_the_same() {
        let parts = ["", "warn", "INFO", "fc_hooks", "fc_hooks=debug", "fc_hooks::server=off", "x=", "=info", "a=b=c"];
        let targets = ["fc_hooks", "fc_hooks::server", "fc_hooks::server::accept", "x", "other"];
        for first in parts {
            for second in parts {
                let text = format!("{first},{second}");
                let theirs = env_logger::Builder::new().parse_filters(&text).build();
                let ours = Filter(Some(text.clone()));
                assert!(ours.level_of(None) >= theirs.filter(), "{text}");
                for target in targets {
                    for level in log::Level::iter() {
                        let metadata = Metadata::builder().target(target).level(level).build();
                        let is_logged = level <= ours.level_of(Some(target));
                        assert_eq!(is_logged, theirs.enabled(&metadata), "{text}: {target} at {level}");
                    }
                }
            }
        }
    }
}

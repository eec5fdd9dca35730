//! Output that lies in a buffer of the target. Standard output is a pipe here and on the platform, and many languages
//! then print nothing until some kilobytes have come together. What a freeze finds in the buffer comes late or never.

use crate::process;

/// So many lines at the end are more than a farewell.
const FAREWELL_LINES_MAX: usize = 2;

/// The warning for a target that printed nothing on standard output before SIGTERM, and `late` lines after it.
pub fn warning(calls: usize, late: usize, is_python: bool) -> Option<String> {
    const FIX: &str = "flush standard output after each line (Python: PYTHONUNBUFFERED=1; C: stdbuf -oL)";
    if late > FAREWELL_LINES_MAX && late >= calls {
        return Some(format!(
            "its first {late} lines on standard output came only when it ended: standard output is a pipe, so they \
             lay in a buffer; {FIX}"
        ));
    }
    (late == 0 && is_python).then(|| {
        "it printed nothing on standard output: if it does print, its lines lie in a buffer, because standard output \
         is a pipe; set PYTHONUNBUFFERED=1"
            .to_owned()
    })
}

/// Whether the process is Python and buffers its output.
pub fn is_python(pid: u32) -> bool {
    let words = process::command_line(pid);
    let named = words.first().and_then(|word| word.rsplit('/').next()).is_some_and(|name| name.starts_with("python"));
    let mut options = words.iter().skip(1).take_while(|word| word.starts_with('-'));
    let unbuffered = options.any(|word| !word.starts_with("--") && word.contains('u'))
        || process::has_variable(pid, "PYTHONUNBUFFERED");
    named && !unbuffered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_at_the_end_are_blamed_on_a_buffer_if_they_are_as_many_as_calls() {
        for (calls, late, is_python, warned) in [
            (3, 0, false, false),
            (3, 0, true, true),
            (3, 1, true, false),
            (1, 2, false, false),
            (3, 3, false, true),
            (40, 3, false, false),
            (40, 80, true, true),
        ] {
            assert_eq!(warning(calls, late, is_python).is_some(), warned, "{calls} {late} {is_python}");
        }
        assert!(warning(3, 3, true).is_some_and(|said| said.contains("PYTHONUNBUFFERED") && said.contains("stdbuf")));
    }

    #[test]
    fn this_test_is_not_python() {
        assert!(!is_python(std::process::id()));
    }
}

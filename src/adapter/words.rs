//! A command line without a shell.
//!
//! Words and quotes are those of a POSIX shell (XCU 2.2): blanks separate words, nothing is special in single quotes,
//! and a backslash takes the special meaning of the next character. Nothing is expanded. What only a shell can do, such
//! as `a && b` or `$HOME`, is an error, because the command would get these characters as arguments otherwise.

use std::fmt;

/// The mistake in a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WordsError {
    Empty,
    QuoteOpen(char),
    BackslashLast,
    NeedsShell(char),
}

impl fmt::Display for WordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WordsError::Empty => f.write_str("no command stands behind exec:"),
            WordsError::QuoteOpen(quote) => write!(f, "the quote {quote} is not closed"),
            WordsError::BackslashLast => f.write_str("nothing follows the last \\"),
            WordsError::NeedsShell(special) => {
                write!(f, "only a shell understands {special}: quote it, or write exec: sh -c '…'")
            }
        }
    }
}

/// The words of a command line; there is at least one.
pub(super) fn split(line: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match next {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' | '"' => quoted(next, &mut rest, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(rest.next().ok_or(WordsError::BackslashLast)?),
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' => return Err(WordsError::NeedsShell(next)),
            _ => word.get_or_insert_default().push(next),
        }
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) { Err(WordsError::Empty) } else { Ok(words) }
}

/// Takes what stands in quotes, the closing quote included.
fn quoted(quote: char, rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), WordsError> {
    while let Some(next) = rest.next() {
        match next {
            _ if next == quote => return Ok(()),
            '$' | '`' if quote == '"' => return Err(WordsError::NeedsShell(next)),
            '\\' if quote == '"' => match rest.next() {
                Some(special @ ('"' | '\\' | '$' | '`')) => word.push(special),
                Some(other) => word.extend(['\\', other]),
                None => break,
            },
            _ => word.push(next),
        }
    }
    Err(WordsError::QuoteOpen(quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let cases: [(&str, Result<&[&str], WordsError>); 26] = [
            ("./flush --all", Ok(&["./flush", "--all"])),
            ("  a \t b\nc ", Ok(&["a", "b", "c"])),
            ("a 'b c' d", Ok(&["a", "b c", "d"])),
            ("a \"b c\"d'e'", Ok(&["a", "b cde"])),
            ("a '' \"\"", Ok(&["a", "", ""])),
            ("a b\\ c \\'", Ok(&["a", "b c", "'"])),
            ("a '\\n$x`|'", Ok(&["a", "\\n$x`|"])),
            (r#"a "\"\\\$\`\n""#, Ok(&["a", "\"\\$`\\n"])),
            ("a \"'\" '\"'", Ok(&["a", "'", "\""])),
            ("sh -c './a && ./b'", Ok(&["sh", "-c", "./a && ./b"])),
            ("a * ? ~ # {b} [c] =", Ok(&["a", "*", "?", "~", "#", "{b}", "[c]", "="])),
            ("a \\$ \\|", Ok(&["a", "$", "|"])),
            ("ä ö", Ok(&["ä", "ö"])),
            ("", Err(WordsError::Empty)),
            (" \t", Err(WordsError::Empty)),
            ("''", Err(WordsError::Empty)),
            ("a 'b", Err(WordsError::QuoteOpen('\''))),
            ("a \"b", Err(WordsError::QuoteOpen('"'))),
            ("a \"b\\", Err(WordsError::QuoteOpen('"'))),
            ("a \\", Err(WordsError::BackslashLast)),
            ("a && b", Err(WordsError::NeedsShell('&'))),
            ("a | b", Err(WordsError::NeedsShell('|'))),
            ("a > b", Err(WordsError::NeedsShell('>'))),
            ("a $HOME", Err(WordsError::NeedsShell('$'))),
            ("a \"$HOME\"", Err(WordsError::NeedsShell('$'))),
            ("a \"`b`\"", Err(WordsError::NeedsShell('`'))),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|words| words.iter().map(|word| word.to_string()).collect::<Vec<_>>());
            assert_eq!(split(line), expected, "{line}");
        }
    }
}

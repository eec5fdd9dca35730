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
    QuoteOpen(u8),
    BackslashLast,
    NeedsShell(u8),
}

impl fmt::Display for WordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WordsError::Empty => f.write_str("no command stands behind exec:"),
            WordsError::QuoteOpen(quote) => write!(f, "the quote {} is not closed", char::from(*quote)),
            WordsError::BackslashLast => f.write_str("nothing follows the last \\"),
            WordsError::NeedsShell(special) => {
                write!(f, "only a shell understands {}: quote it, or write exec: sh -c '…'", char::from(*special))
            }
        }
    }
}

/// The words of a command line; there is at least one. Whatever is special is ASCII, so bytes are enough.
pub(super) fn split(line: &str) -> Result<Vec<Vec<u8>>, WordsError> {
    let (mut words, mut word, mut is_in_word) = (Vec::new(), Vec::new(), false);
    let mut quote = 0;
    let mut bytes = line.bytes();
    while let Some(byte) = bytes.next() {
        let is_quoted = quote != 0;
        match byte {
            b'\'' | b'"' if quote == 0 => quote = byte,
            _ if byte == quote => quote = 0,
            _ if quote == b'\'' => word.push(byte),
            b'\\' => match bytes.next() {
                Some(special @ (b'"' | b'\\' | b'$' | b'`')) => word.push(special),
                Some(other) if is_quoted => word.extend_from_slice(&[byte, other]),
                Some(other) => word.push(other),
                None if is_quoted => break,
                None => return Err(WordsError::BackslashLast),
            },
            b'$' | b'`' => return Err(WordsError::NeedsShell(byte)),
            _ if is_quoted => word.push(byte),
            b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' => return Err(WordsError::NeedsShell(byte)),
            b' ' | b'\t' | b'\n' => {
                if is_in_word {
                    words.push(std::mem::take(&mut word));
                }
                is_in_word = false;
                continue;
            }
            _ => word.push(byte),
        }
        is_in_word = true;
    }
    if quote != 0 {
        return Err(WordsError::QuoteOpen(quote));
    }
    if is_in_word {
        words.push(word);
    }
    if words.first().is_none_or(Vec::is_empty) { Err(WordsError::Empty) } else { Ok(words) }
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
            ("a 'b", Err(WordsError::QuoteOpen(b'\''))),
            ("a \"b", Err(WordsError::QuoteOpen(b'"'))),
            ("a \"b\\", Err(WordsError::QuoteOpen(b'"'))),
            ("a \\", Err(WordsError::BackslashLast)),
            ("a && b", Err(WordsError::NeedsShell(b'&'))),
            ("a | b", Err(WordsError::NeedsShell(b'|'))),
            ("a > b", Err(WordsError::NeedsShell(b'>'))),
            ("a $HOME", Err(WordsError::NeedsShell(b'$'))),
            ("a \"$HOME\"", Err(WordsError::NeedsShell(b'$'))),
            ("a \"`b`\"", Err(WordsError::NeedsShell(b'`'))),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|words| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
            assert_eq!(split(line), expected, "{line}");
        }
    }
}

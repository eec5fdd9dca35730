//! The pairs of a query, as forms send them (`application/x-www-form-urlencoded`, WHATWG URL §5).

use std::borrow::Cow;

/// Name and value of each pair, decoded. An empty piece is no pair, and a piece without `=` has an empty value.
pub(crate) fn pairs<'a>(query: &'a str) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
    query.split('&').filter(|piece| !piece.is_empty()).map(|piece| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        (decode(name), decode(value))
    })
}

/// `+` is a blank and `%` begins a byte. A `%` without two digits stands for itself; bytes that are not UTF-8 become
/// U+FFFD.
#[inline(never)]
fn decode(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let digit = |index: usize| char::from(*bytes.get(index)?).to_digit(16);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        match (bytes[index], digit(index + 1), digit(index + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                index += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        index += 1;
    }
    Cow::Owned(
        String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let cases: [(&str, &[(&str, &str)]); 9] = [
            ("", &[]),
            ("&&", &[]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("a", &[("a", "")]),
            ("=1", &[("", "1")]),
            ("a=1&a=2=3", &[("a", "1"), ("a", "2=3")]),
            ("na%6De=to+be%20or%2Bnot", &[("name", "to be or+not")]),
            ("a=%C3%A4&b=%ff", &[("a", "ä"), ("b", "\u{fffd}")]),
            ("a=100%&b=%4&c=%zz&d=%%41", &[("a", "100%"), ("b", "%4"), ("c", "%zz"), ("d", "%A")]),
        ];
        for (query, expected) in cases {
            let found: Vec<_> = pairs(query).collect();
            let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(found, expected, "{query}");
        }
    }
}

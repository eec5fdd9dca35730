//! The time in a request id.

use std::time::Duration;

/// When the platform made this id, since 1970: FC 3.0 writes `1-<hex seconds>-<hex>-<hex>` (HDR, C-FRZ-10). A UUID
/// carries no time.
pub(crate) fn unix_time(id: &[u8]) -> Option<Duration> {
    let seconds = id.strip_prefix(b"1-")?;
    // Eight digits last until the year 2106, and more digits are some other number.
    let (digits, rest) = seconds.split_first_chunk::<SECONDS_DIGITS>()?;
    if rest.first() != Some(&b'-') {
        return None;
    }
    Some(Duration::from_secs(hexadecimal(u64::from_be_bytes(*digits))?))
}

/// The number that eight hexadecimal digits name, all at once: each call has a request id.
fn hexadecimal(digits: u64) -> Option<u64> {
    const LOW: u64 = u64::from_ne_bytes([1; 8]);
    // Of ASCII's digits and letters, letters alone have this bit.
    let letters = digits >> 6 & LOW;
    let nibbles = digits & (LOW * 0x0f);
    // A letter is 1 to 6 beyond `@` or `` ` ``, a digit is 0 to 9 beyond `0`.
    let is_small_enough = (nibbles + LOW * 0x76 + letters * 3) & (LOW << 7) == 0;
    let is_large_enough = (nibbles + LOW * 0x7f + (LOW - letters)) & (LOW << 7) == LOW << 7;
    let zeros = LOW * 0x30 + letters * 0x10;
    let has_no_other_bits = digits & !(letters << 5) & (LOW * 0xf0) == zeros;
    if !is_small_enough || !is_large_enough || !has_no_other_bits {
        return None;
    }
    let values = nibbles + letters * 9;
    // Pairs, then pairs of pairs, then the rest.
    let bytes = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let words = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    Some((words | words >> 16) & 0xffff_ffff)
}

const SECONDS_DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_fc_3_carries_a_time() {
        let cases = [
            ("1-6560b2f1-1234abcd-0123456789ab", Some(0x6560_b2f1)),
            ("1-6560B2F1-1234ABCD-0123456789ab", Some(0x6560_b2f1)),
            ("8be20777-90fa-46a2-aa93-5bb58bde697d", None),
            ("1-6560b2f", None),
            ("1-6560b2f1", None),
            ("1-06560b2f1-1234abcd", None),
            ("1-+560b2f1-1234abcd", None),
            ("2-6560b2f1-1234abcd", None),
            ("", None),
        ];
        for (id, seconds) in cases {
            assert_eq!(unix_time(id.as_bytes()), seconds.map(Duration::from_secs), "{id}");
        }
    }

    /// As the standard library reads them, each byte at each place.
    #[test]
    fn any_eight_digits() {
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                for other in *b"09afAF" {
                    let mut digits = [other; 8];
                    digits[place] = byte;
                    let text = std::str::from_utf8(&digits).ok().filter(|text| !text.contains('+'));
                    let expected = text.and_then(|text| u64::from_str_radix(text, 16).ok());
                    assert_eq!(hexadecimal(u64::from_be_bytes(digits)), expected, "{}", digits.escape_ascii());
                }
            }
        }
    }
}

//! The time in a request id.

use std::time::Duration;

/// When the platform made this id, since 1970: FC 3.0 writes `1-<hex seconds>-<hex>-<hex>` (HDR, C-FRZ-10). A UUID
/// carries no time.
pub(crate) fn unix_time(id: &str) -> Option<Duration> {
    let seconds = id.as_bytes().strip_prefix(b"1-")?;
    // Eight digits last until the year 2106, and more digits are some other number.
    let (digits, rest) = seconds.split_first_chunk::<SECONDS_DIGITS>()?;
    if rest.first() != Some(&b'-') {
        return None;
    }
    let mut value = 0;
    for digit in digits {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(digit);
    }
    Some(Duration::from_secs(value))
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
            assert_eq!(unix_time(id), seconds.map(Duration::from_secs), "{id}");
        }
    }
}

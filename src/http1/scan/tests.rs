use super::*;

/// Any byte at any place belongs to a usual name or a plain value, or does not.
#[test]
fn every_byte_at_every_place() {
    for length in 1..100 {
        for place in 0..length {
            for byte in 0..=u8::MAX {
                let mut bytes = vec![b'a'; length];
                bytes[place] = byte;
                let is_plain = matches!(byte, b' '..=b'~');
                assert_eq!(plain_bytes(&bytes), if is_plain { length } else { place }, "{byte} at {place} of {length}");
                let is_usual = byte.is_ascii_alphabetic() || byte == b'-';
                let expected = if is_usual { length } else { place };
                assert_eq!(usual_name_bytes(&bytes), expected, "{byte} at {place} of {length}");
            }
        }
    }
}

/// Blocks of both sizes find the same.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_word_finds_what_a_wide_block_finds() {
    for byte in 0..=u8::MAX {
        for place in 0..8 {
            let mut bytes = [b'x'; 16];
            bytes[place] = byte;
            let (half, _) = bytes.split_first_chunk().unwrap();
            let (wide, short) = (wide::not_plain(&bytes), word::not_plain(half));
            assert_eq!((wide != 0).then(|| wide::first(wide)), (short != 0).then(|| word::first(short)), "{byte}");
            let (wide, short) = (wide::not_of_usual_names(&bytes), word::not_of_usual_names(half));
            assert_eq!((wide != 0).then(|| wide::first(wide)), (short != 0).then(|| word::first(short)), "{byte}");
        }
    }
}

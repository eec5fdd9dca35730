//! Searches in the bytes of a head, a block at a time.
//!
//! Every x86-64 processor compares sixteen bytes at once, so nothing asks the processor for its abilities: under a
//! hypervisor the question costs more than a request. Elsewhere a block is a word of eight bytes.

/// How many bytes at the beginning are letters or `-`, as in nearly all names.
#[inline(always)]
pub(crate) fn usual_name_bytes(bytes: &[u8]) -> usize {
    bytes_before(bytes, block::not_of_usual_names, |byte| byte.is_ascii_alphabetic() || byte == b'-')
}

/// How many bytes at the beginning are visible ASCII or blanks, as in nearly all lines.
#[inline(always)]
pub(crate) fn plain_bytes(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // A line has several blocks, and only every fourth one asks whether there are more.
    while let Some((four, behind)) = rest.split_first_chunk::<{ 4 * BLOCK_BYTES }>() {
        for (index, block) in four.as_chunks().0.iter().enumerate() {
            let found = block::not_plain(block);
            if found != block::NONE {
                return bytes.len() - rest.len() + index * BLOCK_BYTES + block::first(found);
            }
        }
        rest = behind;
    }
    bytes.len() - rest.len() + bytes_before(rest, block::not_plain, |byte| matches!(byte, b' '..=b'~'))
}

/// How many bytes come before the first one that is found: in a block, or, where there are too few for one, because it
/// does not belong.
#[inline(always)]
fn bytes_before(
    bytes: &[u8],
    found_in: impl Fn(&[u8; BLOCK_BYTES]) -> block::Found,
    belongs: impl Fn(u8) -> bool,
) -> usize {
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk() {
        let found = found_in(block);
        if found != block::NONE {
            return bytes.len() - rest.len() + block::first(found);
        }
        rest = behind;
    }
    bytes.len() - rest.len() + rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len())
}

const BLOCK_BYTES: usize = if cfg!(target_arch = "x86_64") { 16 } else { 8 };

#[cfg(target_arch = "x86_64")]
use wide as block;
#[cfg(not(target_arch = "x86_64"))]
use word as block;

/// Sixteen bytes at a time.
#[cfg(target_arch = "x86_64")]
mod wide {
    use safe_arch::{
        add_i8_m128i, bitor_m128i, cmp_eq_mask_i8_m128i, cmp_gt_mask_i8_m128i, load_unaligned_m128i, m128i,
        move_mask_i8_m128i, set_splat_i8_m128i,
    };

    /// A bit for each byte, the first one lowest.
    pub(super) type Found = u16;

    pub(super) const NONE: Found = 0;

    #[inline(always)]
    pub(super) fn first(found: Found) -> usize {
        found.trailing_zeros() as usize
    }

    /// The bytes that are neither letters nor `-`.
    #[inline(always)]
    pub(super) fn not_of_usual_names(bytes: &[u8; 16]) -> Found {
        let bytes = load_unaligned_m128i(bytes);
        // In ASCII this bit makes letters small, and keeps all other bytes apart from letters.
        let small = bitor_m128i(bytes, set_splat_i8_m128i(0x20));
        let dash = cmp_eq_mask_i8_m128i(bytes, set_splat_i8_m128i(b'-' as i8));
        !move_mask_i8_m128i(bitor_m128i(is_among::<b'a', b'z'>(small), dash)) as Found
    }

    /// The bytes that are neither visible ASCII nor blanks.
    #[inline(always)]
    pub(super) fn not_plain(bytes: &[u8; 16]) -> Found {
        !move_mask_i8_m128i(is_among::<b' ', b'~'>(load_unaligned_m128i(bytes))) as Found
    }

    /// All bits of each byte from `FIRST` to `LAST`. Moved up so that `LAST` is the largest signed number, all bytes
    /// above it are negative, and one comparison tells.
    #[inline(always)]
    fn is_among<const FIRST: u8, const LAST: u8>(bytes: m128i) -> m128i {
        let moved = add_i8_m128i(bytes, set_splat_i8_m128i((127 - LAST) as i8));
        cmp_gt_mask_i8_m128i(moved, set_splat_i8_m128i((127 - LAST + FIRST - 1) as i8))
    }
}

/// Eight bytes at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod word {
    /// The highest bit of each byte that is found; behind the first one, other bits mean nothing.
    pub(super) type Found = u64;

    pub(super) const NONE: Found = 0;

    const LOW: u64 = u64::from_ne_bytes([1; 8]);

    #[inline(always)]
    pub(super) fn first(found: Found) -> usize {
        found.trailing_zeros() as usize / 8
    }

    /// The bytes that are neither letters nor `-`.
    #[inline(always)]
    pub(super) fn not_of_usual_names(bytes: &[u8; 8]) -> Found {
        let is_usual = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'-';
        bytes.iter().position(|byte| !is_usual(byte)).map_or(NONE, |index| 0x80 << (8 * index))
    }

    /// The bytes that are neither visible ASCII nor blanks.
    #[inline(always)]
    pub(super) fn not_plain(bytes: &[u8; 8]) -> Found {
        let word = u64::from_le_bytes(*bytes);
        let below_blank = word.wrapping_sub(LOW * 0x20);
        let delete = (word ^ (LOW * 0x7f)).wrapping_sub(LOW);
        // A borrow reaches only bytes behind one that is found.
        (below_blank | delete | word) & (LOW << 7)
    }
}

#[cfg(test)]
mod tests;

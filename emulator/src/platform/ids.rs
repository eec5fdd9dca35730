//! Request ids and secrets like those of the platform. They are random, so that one in the output of a target can only
//! come from the request or the environment.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use super::IdForm;

/// 64 random bits, from the seed of the hash maps of the standard library.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A new request id.
pub fn request_id(form: IdForm) -> String {
    let (high, low) = (random(), random());
    match form {
        IdForm::Uuid => format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            0x8000 | low >> 50,
            low & 0xffff_ffff_ffff
        ),
        IdForm::Time => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            format!("1-{:08x}-{:08x}-{:012x}", now as u32, high as u32, low & 0xffff_ffff_ffff)
        }
    }
}

/// A secret of `chars` characters that begins with `prefix`.
pub fn secret(prefix: &str, chars: usize) -> String {
    let mut text = prefix.to_owned();
    while text.len() < chars {
        text.push_str(&format!("{:016x}", random()));
    }
    text.truncate(chars.max(prefix.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_form() {
        let shape = |id: &str| id.split('-').map(str::len).collect::<Vec<_>>();
        assert_eq!(shape(&request_id(IdForm::Uuid)), [8, 4, 4, 4, 12]);
        assert_eq!(shape(&request_id(IdForm::Time)), [1, 8, 8, 12]);
        assert_ne!(request_id(IdForm::Uuid), request_id(IdForm::Uuid));
    }

    #[test]
    fn secrets_have_their_length() {
        assert_eq!(secret("STS.", 30).len(), 30);
        assert!(secret("STS.", 1200).starts_with("STS."));
    }
}

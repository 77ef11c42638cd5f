//! Secrets at rest: each is sealed with a key of the operator's, and bound to its name, so that no sealed value can be put in
//! the place of another. ChaCha20-Poly1305 (RFC 8439) with a random nonce, by `ring`.
//!
//! The operator's file has a key a line, in 64 hexadecimal digits. The first one seals; all of them open. So a key is
//! replaced by a new first line, and the old one leaves when everything was sealed again.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

/// Hexadecimal digits of a key.
const DIGITS: usize = 64;
/// Bytes of a key's id: the beginning of its digest.
const ID_BYTES: usize = 8;

/// Reason for which there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A line is no key.
    #[error("line {0} is no key: each must have 64 hexadecimal digits (openssl rand -hex 32)")]
    NoKey(usize),
    /// There is no key.
    #[error("has no key; openssl rand -hex 32 makes one")]
    Empty,
    /// The value was sealed with a key that is not there.
    #[error("the key that it was sealed with is not in SECRETS_KEY_FILE")]
    OtherKey,
    /// The value is damaged, or belongs to another name.
    #[error("the sealed value is damaged")]
    Damaged,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// What a secret is bound to: it opens under no other name, and for no other key of a client.
#[must_use]
pub fn bound_to(key: &str, name: &str) -> String {
    format!("{key}/{name}")
}

struct Key {
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

/// The operator's keys. Never printed.
pub struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl Keys {
    /// Reads the keys of a file; empty lines and those that begin with `#` are none.
    ///
    /// # Errors
    /// A line is no key, or there is none.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut keys = Vec::new();
        for (n, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = bytes_of(line).ok_or(SealError::NoKey(n + 1))?;
            let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| SealError::NoKey(n + 1))?;
            let mut id = [0; ID_BYTES];
            id.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..ID_BYTES]);
            keys.push(Key { id, key: LessSafeKey::new(key) });
        }
        if keys.is_empty() { Err(SealError::Empty) } else { Ok(Self(keys)) }
    }

    /// Seals a value for this name.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn seal(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let Key { id, key } = &self.0[0];
        let mut sealed = value.to_vec();
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_of, Aad::from(name.as_bytes()), &mut sealed)
            .map_err(|_| SealError::Damaged)?;
        Ok([id.as_slice(), &nonce, &sealed].concat())
    }

    /// Opens a value that was sealed for this name.
    ///
    /// # Errors
    /// Its key is not there, or it is not what was sealed.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, rest) = sealed.split_at_checked(ID_BYTES).ok_or(SealError::Damaged)?;
        let (nonce, value) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Damaged)?;
        let key = self.0.iter().find(|key| key.id == id).ok_or(SealError::OtherKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut value = value.to_vec();
        let open = key.key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut value);
        let length = open.map_err(|_| SealError::Damaged)?.len();
        value.truncate(length);
        Ok(value)
    }

    /// True if a value was sealed with the first key.
    #[must_use]
    pub fn is_newest(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.0[0].id)
    }
}

fn bytes_of(line: &str) -> Option<[u8; DIGITS / 2]> {
    let digits = line.as_bytes();
    let mut bytes = [0; DIGITS / 2];
    if digits.len() != DIGITS {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(digits: &[char]) -> Keys {
        let lines: Vec<String> = digits.iter().map(|digit| digit.to_string().repeat(DIGITS)).collect();
        Keys::parse(&lines.join("\n")).expect("keys")
    }

    #[test]
    fn a_key_is_replaced_by_a_new_first_line() {
        let (old, both, new) = (keys(&['a']), keys(&['b', 'a']), keys(&['b']));
        let sealed = old.seal("k/n", b"value").expect("sealed");
        assert_eq!(both.open("k/n", &sealed), Ok(b"value".to_vec()));
        assert!(old.is_newest(&sealed) && !both.is_newest(&sealed));
        assert_eq!(new.open("k/n", &sealed), Err(SealError::OtherKey));
        let again = both.seal("k/n", b"value").expect("sealed");
        assert_eq!(new.open("k/n", &again), Ok(b"value".to_vec()));
        assert_ne!(sealed, old.seal("k/n", b"value").expect("sealed"), "never the same twice");
    }

    #[test]
    fn what_is_no_key_is_named_by_its_line() {
        assert_eq!(Keys::parse("# mine\n\n").err(), Some(SealError::Empty));
        for bad in ["ab", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert_eq!(Keys::parse(&format!("# mine\n{bad}")).err(), Some(SealError::NoKey(2)), "{bad}");
        }
        assert!(!format!("{:?}", keys(&['a'])).contains("aa"));
    }

    proptest! {
        /// Whatever was sealed is opened as it was, for its own name alone; and with any byte changed not at all.
        #[test]
        fn a_sealed_value_is_opened_whole_or_not_at_all(
            value in prop::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in 0usize..40,
        ) {
            let keys = keys(&['a', 'b']);
            let sealed = keys.seal("team/token", &value).expect("sealed");
            prop_assert_eq!(keys.open("team/token", &sealed), Ok(value));
            prop_assert!(keys.open("team/other", &sealed).is_err());
            let mut changed = sealed.clone();
            changed[at.index(sealed.len())] ^= 1 << bit;
            prop_assert!(keys.open("team/token", &changed).is_err());
            prop_assert!(keys.open("team/token", &sealed[..sealed.len().min(cut)]).is_err() || cut >= sealed.len());
        }
    }
}

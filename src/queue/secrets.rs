//! Messages to [`QueueActor`](super::QueueActor) about secrets of keys. Their values come sealed.

use super::messages::answers;
use crate::store::rows::SecretRow;

answers! {
    PutSecret => SecretPut;
    ResealSecret => bool;
    RemoveSecret => bool;
    ReadSecrets => Vec<SecretRow>;
}

/// Stores a secret of a key, in place of the one of that name.
#[derive(Clone, Debug)]
pub struct PutSecret {
    /// Name of the key.
    pub key: String,
    /// Name of the secret.
    pub name: String,
    /// Its value.
    pub sealed: Vec<u8>,
}

/// The answer to a [`PutSecret`].
#[derive(Clone, Debug)]
pub struct SecretPut {
    /// The secret.
    pub row: SecretRow,
    /// True if there was none of that name.
    pub is_new: bool,
}

/// Seals a secret anew, unless it has got another value meanwhile. Answered with whether it was.
#[derive(Clone, Debug)]
pub struct ResealSecret {
    /// The secret as it was read.
    pub row: SecretRow,
    /// Its value, sealed with another key.
    pub sealed: Vec<u8>,
}

/// Removes a secret. Answered with whether it was there.
#[derive(Clone, Debug)]
pub struct RemoveSecret {
    /// Name of the key.
    pub key: String,
    /// Name of the secret.
    pub name: String,
}

/// Reads the secrets of a key, or of all.
#[derive(Clone, Debug)]
pub struct ReadSecrets(pub Option<String>);

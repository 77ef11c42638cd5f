//! API keys, and the audit log.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use domain::Timestamp;
use wire::KeyRights;

/// An API key, as it is stored.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Name under which its tasks are counted.
    pub name: String,
    /// SHA-256 of the secret, in hexadecimal.
    pub hash: String,
    /// Hash of the secret before the last rotation, and the time until which it works.
    pub previous: Option<(String, Timestamp)>,
    /// Rights; where this version can't read them, the reason.
    pub rights: Result<Arc<KeyRights>, String>,
    /// Time at which it was created.
    pub created_at: Timestamp,
    /// Time at which it expires.
    pub expires_at: Option<Timestamp>,
    /// Time at which it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Time of its last use, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl StoredKey {
    /// True if this is the hash of the secret before the last rotation, and that one still works. Compared in constant
    /// time.
    #[must_use]
    pub fn has_previous(&self, hash: &str, now: Timestamp) -> bool {
        let is_it = |previous: &(String, Timestamp)| {
            bool::from(previous.0.as_bytes().ct_eq(hash.as_bytes())) && now < previous.1
        };
        self.previous.as_ref().is_some_and(is_it)
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// Grows with every entry.
    pub id: i64,
    /// Time of the answer.
    pub at: Timestamp,
    /// Name of the key.
    pub key: String,
    /// Address of the client.
    pub address: Option<String>,
    /// Operation, by its name in the contract.
    pub action: String,
    /// Path of the request.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
    /// A JSON object.
    pub detail: String,
}

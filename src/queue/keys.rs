//! Messages to [`QueueActor`](super::QueueActor) about API keys, and the audit log.

use super::messages::answers;
use crate::store::rows::{ApiKeyRow, AuditRow};
use crate::store::views::{AuditRecord, StoredKey};
use domain::{SessionId, TaskId, Timestamp};

answers! {
    CreateKey => bool;
    RotateKey => KeyChanged;
    RevokeKey => KeyChanged;
    TouchKey => ();
    NoteAudit => ();
    ReadKeys => Vec<StoredKey>;
    ReadAudit => Vec<AuditRecord>;
    FindOwner => Option<String>;
    HasSession => bool;
}

/// Stores a key, and the limit of its running tasks. Answered with false where there is one of that name.
#[derive(Clone, Debug)]
pub struct CreateKey {
    /// The key.
    pub row: ApiKeyRow,
    /// Maximum number of running tasks.
    pub max_running: Option<u32>,
}

/// Gives a key another secret.
#[derive(Clone, Debug)]
pub struct RotateKey {
    /// Name of the key.
    pub name: String,
    /// Hash of the new secret.
    pub hash: String,
    /// Milliseconds for which the old secret works beside it.
    pub grace_ms: i64,
}

/// Ends a key. Its name stays taken, and its tasks stay.
#[derive(Clone, Debug)]
pub struct RevokeKey(pub String);

/// Result of a change of a key.
#[derive(Clone, Debug)]
pub enum KeyChanged {
    /// The key as it is now.
    Done(Box<StoredKey>),
    /// The key was revoked before.
    Revoked,
    /// There is no such key.
    Unknown,
}

/// Notes that a key was used.
#[derive(Clone, Debug)]
pub struct TouchKey {
    /// Name of the key.
    pub name: String,
    /// Time of the use.
    pub at: Timestamp,
}

/// Appends an entry to the audit log.
#[derive(Clone, Debug)]
pub struct NoteAudit(pub AuditRow);

/// Reads the stored keys, by name.
#[derive(Clone, Copy, Debug)]
pub struct ReadKeys;

/// Reads entries of the audit log, newest first.
#[derive(Clone, Copy, Debug)]
pub struct ReadAudit {
    /// Id before which they begin.
    pub before: i64,
    /// Maximum number of them.
    pub limit: u64,
}

/// Reads the name of the key that a task was submitted with.
#[derive(Clone, Copy, Debug)]
pub struct FindOwner(pub TaskId);

/// Asks whether a task of a key has used a session.
#[derive(Clone, Debug)]
pub struct HasSession {
    /// Name of the key.
    pub key: String,
    pub session: SessionId,
}

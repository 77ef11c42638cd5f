//! API keys, and the audit log.

use domain::{Name, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{KeyLimits, KeyScope, PermissionMode};

/// An API key, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// Name.
    pub name: String,
    /// Parts of the API that it may use.
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Name<KeyScope>>,
    /// Folders below which its tasks work; those of the server where there are none.
    pub roots: Vec<String>,
    /// Highest permission mode of its tasks, where it has one of its own.
    #[schema(value_type = Option<String>)]
    pub max_permission_mode: Option<Name<PermissionMode>>,
    /// Limits.
    pub limits: KeyLimits,
    /// True if it stands in the server's settings, and not in the database.
    pub from_settings: bool,
    /// Time at which it was created; `null` for one of the settings.
    pub created_at: Option<Timestamp>,
    /// Time at which it expires.
    pub expires_at: Option<Timestamp>,
    /// Time at which it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Time of its last use, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Reason for which this version of the program can't read its rights, and refuses it.
    pub unreadable: Option<String>,
}

/// All API keys.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// Keys, by name.
    pub keys: Vec<Key>,
}

/// A secret of an API key. It is shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeySecret {
    /// Name of the key.
    pub name: String,
    /// The secret, as clients show it.
    pub key: String,
    /// Time at which it expires.
    pub expires_at: Option<Timestamp>,
}

/// An entry of the audit log: a change that was asked for with a key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
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
    /// Further facts: an object.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// A page of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// Entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Value of `before` for the next page; `null` on the last.
    pub next_before: Option<i64>,
}

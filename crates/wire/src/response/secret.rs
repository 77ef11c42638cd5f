//! Secrets, without their values.

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A secret of a key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretView {
    /// Name.
    pub name: String,
    /// Name of the key that it belongs to.
    pub key: String,
    /// Time at which it was first stored.
    pub created_at: Timestamp,
    /// Time at which it got its value.
    pub updated_at: Timestamp,
}

/// Secrets.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Secrets {
    /// Secrets, by key and name.
    pub secrets: Vec<SecretView>,
}

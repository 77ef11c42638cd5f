//! Errors.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Every error.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Error)]
pub struct Failed {
    /// The error.
    pub error: ErrorBody,
}

/// An error: code, message and details.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// A stable name for programs, such as `TASK_NOT_FOUND`.
    pub code: String,
    /// Cause and remedy, for people.
    pub message: String,
    /// Details for programs, such as the `field` that breaks a rule.
    #[schema(value_type = Object, required)]
    #[serde(default)]
    pub details: Value,
}

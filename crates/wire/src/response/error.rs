//! Errors.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Every error.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Error)]
pub struct Failed {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// A stable name for programs, such as `TASK_NOT_FOUND`.
    pub code: String,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// More for programs, such as the `field` that breaks a rule.
    #[schema(value_type = Object, required)]
    #[serde(default)]
    pub details: Value,
}

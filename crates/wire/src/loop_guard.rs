//! What is done about a model that goes round in circles.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spec::{MAX_INSTRUCTION_BYTES, within};
use domain::Invalid;

/// What is done about a model that goes round in circles: the same call of a tool fails time after time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoopGuardOptions {
    /// Failures of the same call after which the task is marked, 0 to 1000; 0: never. The server's where not set.
    #[schema(minimum = 0, maximum = 1000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// True if its turn is interrupted then, and it is told the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<bool>,
    /// What it is told; a default one where not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl LoopGuardOptions {
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        within("options.loopGuard.after", self.after, 0, 1_000)?;
        if self.message.as_ref().is_some_and(|text| text.trim().is_empty() || text.len() > MAX_INSTRUCTION_BYTES) {
            return Err(Invalid::new("options.loopGuard.message", "must have more than spaces, and at most 1 MiB"));
        }
        Ok(())
    }
}

//! What is done about a model that goes round in circles.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spec::{MAX_INSTRUCTION_BYTES, within};
use domain::Invalid;

/// What a model is told that goes round in circles, where the client has said nothing else.
const MESSAGE: &str = "You have made the same call time after time, or spent far more than such work takes, and it did not \
    help. Stop, say in a sentence what you wanted and what stands in the way, and then try another way; if there is none, \
    end.";

/// What is done about a model that goes round in circles: the same call of a tool fails time after time, or it spends far
/// more than tasks like it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoopGuardOptions {
    /// Failures of the same call after which the task is marked, 0 to 1000; 0: never, by no sign. The server's where not set.
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
    /// Returns the failures of the same call that are a sign, where the server's number is this; 0: nothing is a sign.
    #[must_use]
    pub fn after(&self, of_server: u32) -> u32 {
        self.after.and_then(|after| u32::try_from(after).ok()).unwrap_or(of_server)
    }

    /// Returns what the model is told when its turn is interrupted; `None` where it isn't.
    #[must_use]
    pub fn to_say(&self) -> Option<String> {
        self.interrupt.unwrap_or_default().then(|| self.message.clone().unwrap_or_else(|| MESSAGE.to_owned()))
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        within("options.loopGuard.after", self.after, 0, 1_000)?;
        if self.message.as_ref().is_some_and(|text| text.trim().is_empty() || text.len() > MAX_INSTRUCTION_BYTES) {
            return Err(Invalid::new("options.loopGuard.message", "must have more than spaces, and at most 1 MiB"));
        }
        Ok(())
    }
}

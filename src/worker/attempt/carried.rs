//! What one worker leaves for the next, beside the streams of the CLI.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::machine::MachineState;
use crate::claude::RunState;
use crate::proxy::Estimate;
use crate::worker::check::CheckPlace;
use crate::worker::outbox::OutboxState;
use domain::SessionId;

/// Number of this form. A worker of another version that does not know it leaves the attempt to others.
pub const VERSION: u32 = 1;

/// See the [module](self).
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Carried {
    /// Number of its form.
    pub version: u32,
    /// What no machine decides.
    pub about: About,
    /// What is left of the streams.
    pub run: RunState,
    /// What was decided.
    pub machine: MachineState,
    /// How far it is stored.
    pub outbox: OutboxState,
    /// What it has cost so far.
    pub estimate: Estimate,
    /// Surroundings of the checks of its work.
    #[serde(default)]
    pub check: Option<CheckPlace>,
}

/// What no machine decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Session of the CLI.
    pub session: SessionId,
    /// Folder in which it works.
    pub directory: PathBuf,
    /// Folder of the files of its secrets.
    pub secrets: Option<PathBuf>,
    /// Milliseconds for which it has run.
    pub ran_ms: i64,
}

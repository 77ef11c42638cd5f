//! What a worker and its proxy tell each other: one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::config::Environment;
use domain::{Spent, Usd};

/// Message of a worker to its proxy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToProxy {
    /// The first message, and only that. Answered with [`FromProxy`].
    Begin {
        /// What says whom to ask, and with what.
        environment: Environment,
        /// Level of its log, and whether it is JSON.
        log: (String, bool),
    },
    /// Let an attempt in whose token has this hash, in hexadecimal; with it comes the socket of its pass.
    LetIn { hash: String },
}

/// Answer of a proxy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FromProxy {
    /// It listens there.
    Listens { url: String },
    /// It can't begin.
    Failed { why: String },
}

/// Message about one attempt, over its pass. Each is answered with a [`Counted`], as is the socket itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToPass {
    /// It may spend this at most.
    Limit { budget: Option<Usd> },
    /// What has it spent?
    Count,
}

/// Count of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counted {
    /// What it has spent; `None` where it has asked nothing.
    pub spent: Option<Spent>,
    /// End of the account's limit, in seconds of Unix time, where the newest answer was that it is reached.
    pub resets_at: Option<i64>,
}

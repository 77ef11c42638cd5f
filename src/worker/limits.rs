//! How long an attempt may take, and how long people may.

use std::time::Duration;

use super::set_up::WorkerContext;
use wire::{Task, Timeout};

/// The limits of an attempt.
pub struct Limits {
    /// From the start of the process to its end, less the time that people took to answer.
    pub total: Duration,
    /// Without a word from the CLI while no tool runs.
    pub idle: Option<Duration>,
    /// How long there is time for an answer.
    pub answer: Duration,
    /// How long a question is waited for in a slot.
    pub park: Duration,
}

impl Limits {
    /// What the task sets, else the worker.
    pub fn of(task: &Task, tools: &WorkerContext) -> Self {
        let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        let timeout = task.spec.options.timeout;
        Self {
            total: timeout.and_then(Timeout::total).map_or(tools.task_timeout, ms),
            idle: timeout.and_then(Timeout::idle).map(ms),
            answer: tools.answer_limit,
            park: tools.park_after,
        }
    }
}

//! Time limits of an attempt, and of people.

use std::time::Duration;

use super::set_up::WorkerContext;
use wire::{Task, Timeout};

/// The limits of an attempt.
pub struct Limits {
    /// Time from the start of the process to its end, less the time that people took to answer.
    pub total: Duration,
    /// Time without output of the CLI while no tool runs.
    pub idle: Option<Duration>,
    /// Time for an answer.
    pub answer: Duration,
    /// Time for which a question is waited for in a slot.
    pub park: Duration,
}

impl Limits {
    /// The limits that the task sets, else the worker's.
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

//! Ids of things.

use uuid::Uuid;

/// The id of a task: a UUID of version 7, so that ids sort by the time of their making.
pub type TaskId = Uuid;
/// Incarnation of a worker: new at each start, so that a worker that came back is never taken for the one that died.
pub type WorkerInstanceId = Uuid;
/// The id of a schedule: a UUID of version 7.
pub type ScheduleId = Uuid;
/// A conversation of the CLI.
pub type SessionId = Uuid;
/// One boot of one machine: the kernel's `boot_id`.
pub type BootId = Uuid;

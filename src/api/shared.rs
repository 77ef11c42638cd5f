//! What every handler may use.

use std::sync::{Arc, Mutex};

use actix::Addr;
use tokio::sync::watch;

use super::auth::{Hosts, Keys};
use super::connections::Connections;
use super::memory::Memory;
use super::outbound::Outbound;
use crate::config::{Claude, Mode, Server};
use crate::queue::{Hub, Queue, Stats, Tail};
use crate::supervisor::SupervisorActor;
use crate::telemetry::Vitals;
use domain::Budgets;

/// Where the server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It accepts tasks.
    Serving,
    /// It accepts none, and answers everything else.
    Draining,
    /// It ends: streams close.
    Stopping,
}

/// Who does the work.
#[derive(Clone)]
pub enum Workers {
    /// This process.
    Inline,
    /// Processes that somebody else started.
    Standalone,
    /// Processes of this supervisor.
    Managed(Addr<SupervisorActor>),
}

impl Workers {
    /// The mode of that name.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Inline => Mode::Inline,
            Self::Standalone => Mode::Standalone,
            Self::Managed(_) => Mode::Managed,
        }
    }

    /// Whether they run on this machine with our settings.
    #[must_use]
    pub const fn are_local(&self) -> bool {
        !matches!(self, Self::Standalone)
    }
}

/// What every handler may use.
#[derive(Clone)]
pub struct Shared {
    /// The queue of this process.
    pub queue: Queue,
    /// Hints.
    pub hub: Hub,
    /// The events of all tasks.
    pub tail: Tail,
    /// Who does the work.
    pub workers: Workers,
    /// How the duties of this process stand.
    pub vitals: Vitals,
    /// The counts as they were last read: `/health` waits for no disk.
    pub last_stats: Arc<Mutex<Option<Stats>>>,
    /// The clients that are connected.
    pub connections: Connections,
    /// What readers may keep in memory.
    pub memory: Memory,
    /// The settings of the server.
    pub server: Server,
    /// The settings of the CLI.
    pub claude: Claude,
    /// Tasks at a time in each worker, unless the store says otherwise.
    pub concurrency: u32,
    /// The data folder: no task works there.
    pub data_dir: std::path::PathBuf,
    /// The folder below which tasks get worktrees of their own.
    pub worktrees: std::path::PathBuf,
    /// The folder below which tasks without one get a folder of their own.
    pub work_dir: std::path::PathBuf,
    /// The way to webhooks.
    pub outbound: Outbound,
    /// The keys that clients may show.
    pub keys: Keys,
    /// The limits of money.
    pub budgets: Budgets,
    /// The names of this server.
    pub hosts: Hosts,
    /// Where the server stands.
    pub phase: watch::Receiver<Phase>,
}

impl Shared {
    /// Where the server stands now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }
}

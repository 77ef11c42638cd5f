//! State that is shared by all handlers.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use actix::Addr;

use super::auth::Hosts;
use super::connections::Connections;
use super::memory::Memory;
use super::streams::Streams;
use super::wrong_keys::WrongKeys;
use crate::config::{Effective, Mode, Server};
use crate::doctor::Doctor;
use crate::queue::{EventFeed, Stats};
use crate::service::{Figures, Prover, Search, Service};
use crate::supervisor::SupervisorActor;

/// Place of the work.
#[derive(Clone)]
pub enum Workers {
    /// This process does it.
    Inline,
    /// Processes that the operator started.
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

    /// True if they run on this machine with our settings.
    #[must_use]
    pub const fn are_local(&self) -> bool {
        !matches!(self, Self::Standalone)
    }
}

/// State that is shared by all handlers.
#[derive(Clone)]
pub struct Shared {
    /// Service layer.
    pub service: Service,
    /// Search in conversations.
    pub search: Search,
    /// The events of all tasks.
    pub tail: EventFeed,
    /// Workers.
    pub workers: Workers,
    /// The counts as they were last read: `/health` waits for no disk.
    pub last_stats: Arc<Mutex<Option<Stats>>>,
    /// The clients that are connected.
    pub connections: Connections,
    /// Memory of readers.
    pub memory: Memory,
    /// Memory of bodies that have come whole.
    pub bodies: Memory,
    /// The settings of the server.
    pub server: Server,
    /// Tasks at a time in each worker, unless the store says otherwise.
    pub concurrency: u32,
    /// The open streams.
    pub streams: Streams,
    /// Wrong keys that were shown.
    pub wrong_keys: WrongKeys,
    /// The names of this server.
    pub hosts: Hosts,
    /// Every setting as it is in force, without secrets.
    pub settings: Arc<[Effective]>,
    /// What must be right before tasks can run.
    pub doctor: Doctor,
    /// The settings of the database.
    pub store: crate::config::Store,
    /// Checks of the history.
    pub prover: Prover,
    /// The queue's figures of the last hours.
    pub figures: Figures,
}

impl Deref for Shared {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

//! A worker: claims tasks, runs the CLI on them, reports. The same code in every mode; only
//! where its hints come from differs.
//!
//! *Owns* the running attempts of this process. *Talks to* the queue (claims, renewals,
//! reports) and to the CLI. *Promises* that it works on nothing without a lease: a task that
//! was lost has its processes ended first and is then forgotten. When [`WorkerActor`] panics,
//! the attempts go on and it takes them up again; when the process dies, each shim ends its
//! own tree.
//!
//! Decided against: pushing tasks to workers. A worker that pulls can't be given more than it
//! has slots for, and nobody must know who is alive to hand out work.

mod actor;
mod adoption;
mod agent_run;
mod artifacts;
mod attempt;
mod canary;
mod check;
mod commands;
mod confine;
mod context_files;
mod conversation;
mod dependencies;
mod folders;
mod limits;
mod link;
mod mcp;
mod messages;
mod outbox;
mod poll;
mod running;
mod secrets;
mod set_up;
mod shim_pool;
mod warm_policy;
mod warm_pool;
mod worktree;

pub use actor::{MAILBOX, WorkerActor};
pub use canary::{check_required, describe, log_configuration, proxy_for_trial, try_and_log, try_walls};
pub use confine::{CommonWalls, hidden};
pub use link::{Link, LinkEnd, LinkSettings};
pub use messages::{Drain, StopNow};
pub use set_up::WorkerContext;
pub use shim_pool::ShimPool;
pub use warm_pool::WarmPool;

use crate::ipc::ToSupervisor;
use crate::queue::ChangeNotifier;
use domain::TaskId;

/// Receivers of news about attempts: followers in this process, and the supervisor where there is a link. All of it may
/// be lost.
#[derive(Clone)]
pub struct News {
    /// Followers in this process.
    pub hub: ChangeNotifier,
    /// The way up.
    pub link: Option<tokio::sync::mpsc::Sender<ToSupervisor>>,
    /// Told when somebody has asked for the end of the worker.
    pub asked_to_end: std::sync::Arc<tokio::sync::Notify>,
}

impl News {
    fn started(&self, task: TaskId) {
        self.up(ToSupervisor::Started { task });
    }

    fn ended(&self, task: TaskId) {
        self.up(ToSupervisor::Ended { task });
    }

    fn partial(&self, task: TaskId, text: &str) {
        self.hub.partial(task, text);
        if self.link.is_some() {
            self.up(ToSupervisor::Partial { task, text: text.to_owned() });
        }
    }

    fn up(&self, news: ToSupervisor) {
        // Full or closed: a hint is lost, and the database has what matters.
        self.link.as_ref().map(|link| link.try_send(news).ok());
    }
}

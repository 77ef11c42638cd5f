//! The service besides queueing and running: it decides what is admitted, fires schedules, delivers messages to
//! webhooks, explains waits, passes input on to tasks, and reads the spending.
//!
//! *Owns* the rules of admission and the duties of the clock and of webhooks. *Talks to* the queue, git and the files
//! of the CLI. *Promises* typed refusals that say what to do, in no protocol's words: HTTP is one front end, the clock
//! another. Any process with a queue may do the duties, and any number at once: each firing and each delivery is
//! claimed in the store.

mod admission;
mod answer_code;
mod children;
mod counters;
mod deliverer;
mod dependencies;
mod explain;
mod figures;
pub mod files;
mod folders;
mod forecast;
mod keys;
mod labels;
mod manage_keys;
mod notice;
mod outbound;
mod pace;
mod proof;
mod races;
mod refusal;
pub mod rules;
mod scheduler;
mod schedules;
mod search;
pub mod secrets;
mod session;
mod sign_in;
mod talk;
mod usage;
mod watchers;
mod worktrees;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{Budgets, Fairness};
use seal::Keys;
use tokio::sync::watch;

pub use self::admission::{Origin, admit, check_webhook, key_limit, not_taken};
pub use self::answer_code::CodedAnswer;
pub use self::deliverer::deliver_forever;
pub use self::dependencies::name_batch;
pub use self::explain::explain;
pub use self::figures::{Figure, Figures, Wanted};
pub use self::files::tidy_files_forever;
pub use self::forecast::Capacity;
pub use self::keys::{Caller, KeyRing, NotGood};
pub use self::labels::{alarm_forever, unmatched};
pub use self::manage_keys::{KeySecret, create_key, key_view, revoke_key, rotate_key};
pub use self::outbound::Outbound;
pub use self::pace::watch_pace_forever;
pub use self::proof::{Checked, Prover, check, prove_task};
pub use self::races::{admit_race, race_view};
pub use self::refusal::{Kind, Refusal};
pub use self::scheduler::{Planned, fire_forever, plan};
pub use self::schedules::put_schedule;
pub use self::search::{Hit, Hits, Search};
pub use self::secrets::reseal_forever;
pub use self::sign_in::{COOKIE_MS, SignIn};
pub use self::talk::{answer, interrupt, questions, send};
pub use self::usage::usage;
pub use self::watchers::{OpenPage, Watchers};
pub use self::worktrees::{FoundWorktree, list as list_worktrees, remove as remove_worktree};
use crate::claude::Homes;
use crate::config::{Claude, Files};
use crate::queue::{ChangeNotifier, Queue};
use crate::store::{Blobs, Leadership};
use crate::telemetry::Vitals;

/// Phase of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It accepts tasks.
    Serving,
    /// It accepts no tasks, and answers everything else.
    Draining,
    /// It ends: streams close.
    Stopping,
}

/// Parts that the service works with.
#[derive(Clone)]
pub struct Service {
    /// The queue of this process.
    pub queue: Queue,
    /// The API keys.
    pub keys: KeyRing,
    /// Hints.
    pub hub: ChangeNotifier,
    /// State of this process's duties.
    pub vitals: Vitals,
    /// The settings of the CLI.
    pub claude: Claude,
    /// True if the workers run on this machine, with these settings.
    pub has_local_workers: bool,
    /// The data folder: no task works there.
    pub data_dir: PathBuf,
    /// The folder below which tasks get worktrees of their own.
    pub worktrees: PathBuf,
    /// The folder below which tasks without one get a folder of their own.
    pub work_dir: PathBuf,
    /// Homes of the CLI.
    pub homes: Homes,
    /// Contents of files.
    pub blobs: Arc<dyn Blobs>,
    /// Limits of files.
    pub files: Files,
    /// Keys that seal secrets; without any none is stored.
    pub secrets: Option<Arc<Keys>>,
    /// The way to webhooks.
    pub outbound: Outbound,
    /// Address under which people reach the dashboard, without a slash at its end.
    pub public_url: Option<String>,
    /// People who have a page open.
    pub watchers: Watchers,
    /// The limits of money.
    pub budgets: Budgets,
    /// Maximum number of pending tasks.
    pub max_pending: i64,
    /// Whose tasks take turns.
    pub fairness: Fairness,
    /// True if a task has its folder for itself unless it says otherwise.
    pub exclusive_directory: bool,
    /// Minimum time for which a duty is overdue before this process does it: none for an API process; a worker stands
    /// in where there is none.
    pub stands_in_after: Duration,
    /// Whether this process has the duties of the leader.
    pub leadership: Leadership,
    /// Phase of the process.
    pub phase: watch::Receiver<Phase>,
}

impl Service {
    /// Returns the phase of the process.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }
}

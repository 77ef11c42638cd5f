//! Operations on the database itself, beside a server or without one: a copy, the removal of what is old, and the check
//! of the recorded history.
//!
//! *Owns* nothing. *Talks to* the database as one more process of the service would: readers
//! never disturb it, and removals are commands to a queue like any other.

mod check_history;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::config::{Config, Flags};
use crate::queue;
use crate::store;
use crate::supervise::{RestartPolicy, start_guarded};
use crate::telemetry::Vitals;

/// A command for the database in DB_PATH.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Copy the database to a file, and the files of tasks to a folder beside it, while the service runs
    Backup {
        /// The file to make
        file: PathBuf,
        /// Address of the database
        #[command(flatten)]
        flags: Flags,
    },
    /// Remove tasks that ended long ago, with their events and their own folders
    Prune {
        /// Tasks that ended more than this many days ago
        #[arg(long, value_name = "DAYS")]
        older_than: u32,
        /// Address of the database
        #[command(flatten)]
        flags: Flags,
    },
    /// Move the database
    #[command(subcommand)]
    Db(DbCommand),
    /// Hold everything that was done against the promises of the service
    CheckHistory {
        /// Facts beside it
        #[command(flatten)]
        args: check_history::Args,
        /// Address of the database
        #[command(flatten)]
        flags: Flags,
    },
}

/// A command for all of a database.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Move everything in DB_PATH to PostgreSQL, with its ids and numbers, while nothing uses either
    Move {
        /// An empty database: postgres://USER@HOST/NAME, with the parameters of DATABASE_URL
        #[arg(long, value_name = "URL")]
        to: String,
        /// Address of the database
        #[command(flatten)]
        flags: Flags,
    },
}

/// Runs a command. Returns the exit code: 0 when it succeeded, 1 when a promise was broken, 2
/// for a bad setting.
///
/// # Errors
/// The database can't be used, or the file can't be written.
pub fn run(command: AdminCommand) -> anyhow::Result<u8> {
    sys::reset_sigpipe();
    let (AdminCommand::Backup { flags, .. }
    | AdminCommand::Prune { flags, .. }
    | AdminCommand::Db(DbCommand::Move { flags, .. })
    | AdminCommand::CheckHistory { flags, .. }) = &command;
    let config = match Config::load(flags) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return Ok(2);
        }
    };
    actix::System::new().block_on(async {
        match command {
            AdminCommand::Backup { file, .. } => backup(&config, &file).await,
            AdminCommand::Prune { older_than, .. } => prune(&config, older_than).await,
            AdminCommand::Db(DbCommand::Move { to, .. }) => move_database(&config, to).await,
            AdminCommand::CheckHistory { args, .. } => check_history::run(&config, &args).await,
        }
    })
}

/// The copy gets its name when all of it is on the disk.
async fn backup(config: &Config, file: &Path) -> anyhow::Result<u8> {
    if file.exists() {
        bail!("{} exists already; name a new file", file.display());
    }
    let reader = store::open_read_only(&config.store).await?;
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        // Of a backup that was broken off.
        std::fs::remove_file(&partial).with_context(|| format!("can't remove {}", partial.display()))?;
    }
    // SQLite writes into a file that is there and empty, and leaves its mode as it is.
    crate::process::close_to_others(&partial, true).with_context(|| format!("can't make {}", partial.display()))?;
    reader.copy_to(&partial).await.with_context(|| format!("can't write {}", partial.display()))?;
    let finish = || {
        std::fs::File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    };
    copy_files(&store::folder_of_files(&config.store.db_path), &store::folder_of_files(file))?;
    finish().with_context(|| format!("can't write {}", file.display()))?;
    println!("{} is a copy of {}", file.display(), config.store.db_path.display());
    Ok(0)
}

/// Copies the contents of files. One that goes meanwhile is needed by nothing in the copy.
fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("can't read {}", from.display()))?,
    };
    crate::process::make_private_folder(to).with_context(|| format!("can't make {}", to.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("can't read {}", from.display()))?;
        let copy = to.join(entry.file_name());
        match std::fs::copy(entry.path(), &copy) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(anyhow::Error::new(error).context(format!("can't write {}", copy.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The file stays, under another name.
async fn move_database(config: &Config, to: String) -> anyhow::Result<u8> {
    if config.store.server.is_some() {
        bail!("DATABASE_URL is set: the database is on a server already; unset it, and name the new one with --to");
    }
    let server = config.store.server_at(to);
    let moved = store::move_to(&config.store, &server).await?;
    for (table, rows) in moved.iter().filter(|(_, rows)| *rows > 0) {
        println!("{rows:>10}  {table}");
    }
    println!("Moved. Start the server with DATABASE_URL; the file is {}.moved", config.store.db_path.display());
    Ok(0)
}

async fn prune(config: &Config, days: u32) -> anyhow::Result<u8> {
    let store = store::open(&config.store).await?;
    let actor = queue::QueueActor::new(Arc::clone(&store), queue::ChangeNotifier::default(), Vitals::default());
    let queue = queue::Queue(start_guarded("queue", actor, queue::MAILBOX, ONCE, || {}));
    let retention = Duration::from_secs(u64::from(days) * 24 * 3_600);
    let removed = queue::prune(&queue, retention, &config.store).await;
    store.close().await;
    println!("{} tasks were removed", removed.context("not all old tasks were removed")?);
    Ok(0)
}

/// A person is there to see that it failed.
const ONCE: RestartPolicy =
    RestartPolicy { limit: 0, window: Duration::from_secs(1), first_delay: Duration::ZERO, max_delay: Duration::ZERO };

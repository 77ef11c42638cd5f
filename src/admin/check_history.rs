//! `cc-anywhere check-history`: reads what was done, and says which promise was broken.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::config::Config;
use crate::process;
use crate::store::rows::UnreadRow;
use crate::store::{self, Reads};
use audit::{Audit, AuditContext, HistoryEvent, TaskSnapshot};
use domain::TaskId;

/// Facts beside the database.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file with the task ids that clients were answered, one a line, each with the
    /// Idempotency-Key behind a space where there was one
    #[arg(long)]
    accepted: Option<PathBuf>,
    /// A file with times in which processes were stopped from outside: two numbers a line,
    /// milliseconds of CLOCK_BOOTTIME
    #[arg(long)]
    excused: Option<PathBuf>,
    /// Every task must have ended by now
    #[arg(long)]
    settled: bool,
}

/// Checks, and prints every broken promise. Returns 1 where there is one.
pub async fn run(config: &Config, args: &Args) -> anyhow::Result<u8> {
    // First what others said, then what is stored: a task may come in between, none may go.
    let accepted = lines(args.accepted.as_deref(), |words| {
        Some((words.first()?.parse().ok()?, words.get(1).map(|key| (*key).to_owned())))
    })?;
    let excused =
        lines(args.excused.as_deref(), |words| Some((words.first()?.parse().ok()?, words.get(1)?.parse().ok()?)))?;
    let trees = process::read_trees(&process::tree_log(&config.store.data_dir));
    let reader = store::open_snapshot(&config.store).await?;
    let mut audit = Audit::default();
    let (count, attempts) = fold(&*reader, &mut audit).await?;
    let (standing, unread) = standings(&*reader).await?;
    let tasks = standing.len() + unread.len();
    let broken = audit.finish(&AuditContext { standing, unread, accepted, trees, excused, settled: args.settled });
    broken.iter().for_each(|broken| println!("{broken}"));
    println!("{count} changes, {tasks} tasks, {attempts} attempts, broken promises: {}", broken.len());
    Ok(u8::from(!broken.is_empty()))
}

async fn fold(reader: &dyn Reads, audit: &mut Audit) -> anyhow::Result<(i64, i64)> {
    let (mut last, mut count, mut attempts) = (0, 0, 0);
    loop {
        let page = reader.history(last).await?;
        let Some(newest) = page.last() else { return Ok((count, attempts)) };
        last = newest.commit;
        for entry in &page {
            count += 1;
            attempts += i64::from(matches!(entry.did, HistoryEvent::Claim { .. }));
            audit.take(entry);
        }
    }
}

/// The tasks as they stand, and those that can't be read.
async fn standings(reader: &dyn Reads) -> anyhow::Result<(Vec<TaskSnapshot>, Vec<(TaskId, String)>)> {
    let (mut all, mut unread, mut last) = (Vec::new(), Vec::new(), TaskId::from_u128(0));
    loop {
        let page = reader.standings(last).await?;
        if page.is_empty() {
            return Ok((all, unread));
        }
        for standing in page {
            match standing {
                Ok(standing) => {
                    last = standing.task;
                    all.push(standing);
                }
                Err(UnreadRow { id, why }) => {
                    last = id;
                    unread.push((id, why));
                }
            }
        }
    }
}

/// The lines of a file, each as its words say.
fn lines<T>(file: Option<&Path>, read: impl Fn(&[&str]) -> Option<T>) -> anyhow::Result<Vec<T>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        read(&words).with_context(|| format!("{}: can't read \"{line}\"", file.display()))
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(read).collect()
}

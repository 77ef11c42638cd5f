//! `cc-anywhere check-history`: reads what was done, and says which promise was broken.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::config::Config;
use crate::service::{self, Checked};
use audit::AuditContext;

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
    let beside = AuditContext { accepted, excused, settled: args.settled, ..AuditContext::default() };
    let Checked { changes, tasks, attempts, broken } = service::check(&config.store, beside).await?;
    broken.iter().for_each(|broken| println!("{broken}"));
    println!("{changes} changes, {tasks} tasks, {attempts} attempts, broken promises: {}", broken.len());
    Ok(u8::from(!broken.is_empty()))
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

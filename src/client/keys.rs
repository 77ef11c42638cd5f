//! `cc-anywhere keys` and `cc-anywhere audit`.

use clap::Subcommand;
use domain::{Timestamp, Usd};
use serde_json::Value;
use wire::request::{NewKey, Rotation};
use wire::response::{AuditEntry, AuditPage, Key, KeySecret, Keys as All};
use wire::{KeyLimits, KeyScope, PermissionMode};

use super::http::{Server, encode};
use super::print::Output;
use super::table::{self, Cell, Column, text, whole};
use super::word;
use super::words::ago;
use crate::process::wall_now;

/// Commands for API keys; without one they are listed.
#[derive(Debug, clap::Args)]
pub struct Keys {
    #[command(subcommand)]
    command: Option<KeyCommand>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Create one, and print its secret this once
    Create(Box<Create>),
    /// List them
    List,
    /// Print the operator's own: that of API_KEY, or of the data folder
    Show,
    /// Give one another secret, and print it this once
    Rotate {
        /// Name of the key
        name: String,
        /// Seconds for which the old secret works beside the new one
        #[arg(long, default_value_t = 0)]
        grace: u32,
    },
    /// Revoke one; its tasks stay
    Revoke {
        /// Name of the key
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Name under which its tasks are counted
    name: String,
    /// What it may do: read, submit, decide, admin
    #[arg(long = "scope", value_delimiter = ',', value_parser = word::<KeyScope>, default_value = "read,submit,decide")]
    scopes: Vec<KeyScope>,
    /// Folder below which its tasks work; may be given several times
    #[arg(long = "root")]
    roots: Vec<std::path::PathBuf>,
    /// Highest permission mode of its tasks
    #[arg(long, value_parser = word::<PermissionMode>)]
    max_permission_mode: Option<PermissionMode>,
    /// Time at which it expires, such as 2026-12-31T00:00:00Z
    #[arg(long, value_parser = word::<Timestamp>)]
    expires_at: Option<Timestamp>,
    /// Maximum number of running tasks
    #[arg(long)]
    max_running: Option<u32>,
    /// Maximum number of pending tasks
    #[arg(long)]
    max_pending: Option<u32>,
    /// Maximum number of tasks a day
    #[arg(long)]
    max_tasks_per_day: Option<u32>,
    /// US dollars a day
    #[arg(long)]
    daily_budget_usd: Option<f64>,
    /// Maximum number of schedules
    #[arg(long)]
    max_schedules: Option<u32>,
    /// Maximum number of webhooks
    #[arg(long)]
    max_webhooks: Option<u32>,
    /// Maximum number of open streams
    #[arg(long)]
    max_streams: Option<u32>,
    /// Maximum number of stored bytes
    #[arg(long)]
    max_stored_bytes: Option<u64>,
}

impl Create {
    fn request(self) -> anyhow::Result<NewKey> {
        let root = |root: std::path::PathBuf| std::fs::canonicalize(root).map(|root| root.display().to_string());
        Ok(NewKey {
            name: self.name,
            scopes: self.scopes,
            roots: self.roots.into_iter().map(root).collect::<Result<_, _>>()?,
            max_permission_mode: self.max_permission_mode,
            limits: KeyLimits {
                max_running: self.max_running,
                max_pending: self.max_pending,
                max_tasks_per_day: self.max_tasks_per_day,
                daily_budget_usd: self.daily_budget_usd.map(Usd::of),
                max_schedules: self.max_schedules,
                max_webhooks: self.max_webhooks,
                max_streams: self.max_streams,
                max_stored_bytes: self.max_stored_bytes,
            },
            expires_at: self.expires_at,
        })
    }
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, keys: Keys) -> anyhow::Result<u8> {
    let output = keys.output;
    let secret = |secret: &KeySecret| println!("{}", secret.key);
    match keys.command {
        None | Some(KeyCommand::List) => output.answer(&server.ask("GET", "/api/keys")?, |all: &All| lines(&all.keys)),
        Some(KeyCommand::Show) if server.key().is_empty() => {
            anyhow::bail!("there is no key yet: start the server, or set API_KEY")
        }
        Some(KeyCommand::Show) => {
            println!("{}", server.key());
            Ok(0)
        }
        Some(KeyCommand::Create(create)) => {
            output.answer(&server.send_json("POST", "/api/keys", &create.request()?)?, secret)
        }
        Some(KeyCommand::Rotate { name, grace }) => {
            let rotation = Rotation { grace_ms: i64::from(grace) * 1_000 };
            output.answer(&server.send_json("POST", &format!("/api/keys/{}/rotate", encode(&name)), &rotation)?, secret)
        }
        Some(KeyCommand::Revoke { name }) => {
            output.done(&server.ask("DELETE", &format!("/api/keys/{}", encode(&name)))?, "revoked")
        }
    }
}

/// Prints the audit log, newest first.
///
/// # Errors
/// The server can't be reached.
pub fn audit(server: &Server, limit: u32, output: Output) -> anyhow::Result<u8> {
    let reply = server.ask("GET", &format!("/api/audit?limit={limit}"))?;
    output.answer(&reply, |page: &AuditPage| page.entries.iter().for_each(entry))
}

fn lines(keys: &[Key]) {
    const COLUMNS: &[Column] = &[text("NAME", 8), text("SCOPES", 8), whole("LAST USED"), whole("STATE")];
    let now = wall_now();
    let time = |at: Timestamp| if table::is_for_people() { ago(at, now) } else { at.to_string() };
    let row = |key: &Key| {
        let scopes: Vec<_> = key.scopes.iter().map(ToString::to_string).collect();
        let state = match key {
            _ if key.unreadable.is_some() => "unreadable".to_owned(),
            _ if key.from_settings => "from the settings".to_owned(),
            Key { revoked_at: Some(at), .. } => format!("revoked {}", time(*at)),
            Key { expires_at: Some(at), .. } => format!("expires {}", time(*at)),
            _ => "good".to_owned(),
        };
        let used = key.last_used_at.map_or_else(|| "-".to_owned(), time);
        [key.name.clone(), scopes.join(","), used, state].map(Cell::from).to_vec()
    };
    table::print(COLUMNS, &keys.iter().map(row).collect::<Vec<_>>());
}

fn entry(entry: &AuditEntry) {
    let AuditEntry { at, key, action, path, status, detail, .. } = entry;
    let address = entry.address.as_deref().unwrap_or("-");
    let detail = if *detail == Value::Object(serde_json::Map::new()) { String::new() } else { detail.to_string() };
    println!("{at}  {key:20}  {address:15}  {action:18}  {status}  {path}  {detail}");
}

//! `cc-anywhere webhooks`.

use clap::Subcommand;
use wire::request::WebhookChanges;
use wire::response::{Webhook, Webhooks as All};
use wire::{HookEvent, HookFormat, WebhookOptions};

use super::http::{Server, encode};
use super::print::Output;
use super::table::{self, Cell, Column, text, whole};

const COLUMNS: &[Column] =
    &[whole("ID"), whole("FORMAT"), text("ADDRESS", 20), text("EVENTS", 12), text("TASKS", 10), text("STATE", 10)];

/// Commands for webhooks; without one they are listed.
#[derive(Debug, clap::Args)]
pub struct Webhooks {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell this address of tasks: all of them, or with a key that is no admin's those of the key
    Add {
        /// Address, such as `https://ntfy.sh/my-topic`
        url: String,
        /// Shape of the messages: standard (JSON for programs), ntfy, slack, discord or apprise
        #[arg(long, default_value = "standard", value_parser = super::word::<HookFormat>)]
        format: HookFormat,
        /// What is told: started, waiting, looping, completed, failed or cancelled
        #[arg(long = "event", value_name = "EVENT", value_parser = super::word::<HookEvent>)]
        events: Vec<HookEvent>,
        /// Only tasks with one of these tags
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// Nothing while somebody has the dashboard open
        #[arg(long)]
        quiet: bool,
    },
    /// Tell one again that was disabled
    Enable {
        /// Its id
        id: String,
    },
    /// Tell one nothing more, until it is enabled
    Disable {
        /// Its id
        id: String,
    },
    /// Remove one
    Remove {
        /// Its id
        id: String,
    },
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, args: &Webhooks) -> anyhow::Result<u8> {
    let path = |id: &str| format!("/api/webhooks/{}", encode(id));
    let enable = |id: &str, enabled| server.send_json("PATCH", &path(id), &WebhookChanges { enabled });
    match &args.command {
        None => args.output.answer(&server.ask("GET", "/api/webhooks")?, |all: &All| {
            table::print(COLUMNS, &all.webhooks.iter().map(row).collect::<Vec<_>>());
        }),
        Some(Command::Add { url, format, events, tags, quiet }) => {
            let (url, events, tags) = (url.clone(), events.clone(), tags.clone());
            let new = WebhookOptions { url, secret: None, events, format: *format, tags, quiet: *quiet };
            args.output.answer(&server.send_json("POST", "/api/webhooks", &new)?, |added: &Webhook| {
                println!("{}", added.webhook_id);
            })
        }
        Some(Command::Enable { id }) => args.output.done(&enable(id, true)?, "enabled"),
        Some(Command::Disable { id }) => args.output.done(&enable(id, false)?, "disabled"),
        Some(Command::Remove { id }) => args.output.done(&server.ask("DELETE", &path(id))?, "removed"),
    }
}

fn row(one: &Webhook) -> Vec<Cell> {
    let events: Vec<_> = one.events.iter().map(domain::Name::name).collect();
    let tasks = match (&one.key, &one.tags[..]) {
        (None, []) => "all".to_owned(),
        (Some(key), []) => format!("key {key}"),
        (None, tags) => tags.join(" "),
        (Some(key), tags) => format!("key {key}: {}", tags.join(" ")),
    };
    let state = match (one.enabled, one.failing_since) {
        (false, _) => format!("disabled: {}", one.disabled_reason.as_deref().unwrap_or_default()),
        (true, Some(since)) => format!("failing since {since}"),
        (true, None) => "well".to_owned(),
    };
    vec![
        one.webhook_id.as_str().into(),
        one.format.name().into(),
        one.url.as_str().into(),
        events.join(" ").into(),
        tasks.into(),
        state.into(),
    ]
}

//! The MCP servers that a task names: it begins when those that it needs are connected, before a token is paid.
//! Pure.

use std::time::Duration;

use super::set_up::WorkerContext;
use crate::claude::McpServer;
use wire::Task;

/// Between two questions to the CLI.
pub const ASK_AGAIN: Duration = Duration::from_millis(200);
/// A server that the task needs and that is not connected by then is unavailable.
pub const LIMIT: Duration = Duration::from_secs(30);
/// Time for which a server that the task can do without is waited for.
const OPTIONAL_LIMIT: Duration = Duration::from_secs(5);
/// The CLI's words for a server that works, and for one that may still come.
const CONNECTED: &str = "connected";
const PENDING: &str = "pending";

/// The servers that a task names, and whether it needs each.
#[derive(Debug, Default)]
pub struct Gate(Vec<(String, bool)>);

/// Verdict on the states of the servers.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Servers may still connect.
    Wait,
    /// One that the task needs is not there: its name and its state.
    Unavailable(String),
    /// The task may begin, without these.
    Go(Vec<String>),
}

impl Gate {
    /// The rules of a task: each server that it names is needed, unless the task or the operator says otherwise.
    pub fn of(task: &Task, tools: &WorkerContext) -> Self {
        let named = task.spec.options.sdk.mcp_config.iter().flat_map(|config| &config.mcp_servers);
        Self(
            named
                .map(|(name, server)| {
                    let says = |server: Option<&serde_json::Value>| server?["required"].as_bool();
                    let required = says(Some(server)).or(says(tools.claude.mcp_servers.get(name))).unwrap_or(true);
                    (name.clone(), required)
                })
                .collect(),
        )
    }

    /// One that needs these servers.
    #[cfg(test)]
    pub fn needing(names: &[&str]) -> Self {
        Self(names.iter().map(|name| ((*name).to_owned(), true)).collect())
    }

    /// True if there is nothing to wait for.
    pub const fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the verdict on the states that the CLI has reported.
    pub fn judge(&self, servers: &[McpServer], waited: Duration) -> Verdict {
        let (mut wait, mut missing) = (false, Vec::new());
        for (name, required) in &self.0 {
            let found = servers.iter().find(|server| server.name == *name);
            let status = found.map_or("unknown to the CLI", |server| server.status.as_str());
            let in_words = || {
                let error = found.and_then(|server| server.error.as_ref()).map(|error| format!(" ({error})"));
                format!("the MCP server {name}: {status}{}", error.unwrap_or_default())
            };
            match (status, required) {
                (CONNECTED, _) => {}
                (PENDING, true) => wait = true,
                (PENDING, false) if waited < OPTIONAL_LIMIT => wait = true,
                (_, true) => return Verdict::Unavailable(in_words()),
                (_, false) => missing.push(in_words()),
            }
        }
        if wait { Verdict::Wait } else { Verdict::Go(missing) }
    }

    /// Returns the reason for which the task can't begin when the time is over.
    pub fn too_late(&self) -> String {
        let needed: Vec<_> = self.0.iter().filter(|(_, required)| *required).map(|(name, _)| name.as_str()).collect();
        format!("the MCP servers {}: pending for {} s", needed.join(", "), LIMIT.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, status: &str, error: Option<&str>) -> McpServer {
        McpServer { name: name.into(), status: status.into(), error: error.map(str::to_owned) }
    }

    #[test]
    fn what_is_needed_is_waited_for_and_what_is_not_is_named() {
        let gate = Gate(vec![("a".into(), true), ("b".into(), false)]);
        let judge = |a: &str, b: &str, waited: u64| {
            gate.judge(&[server("a", a, Some("ENOENT")), server("b", b, None)], Duration::from_secs(waited))
        };
        assert_eq!(judge("connected", "connected", 0), Verdict::Go(vec![]));
        assert_eq!(judge("pending", "connected", 10), Verdict::Wait);
        assert_eq!(judge("connected", "pending", 0), Verdict::Wait);
        assert_eq!(judge("connected", "pending", 6), Verdict::Go(vec!["the MCP server b: pending".into()]));
        assert_eq!(judge("failed", "pending", 0), Verdict::Unavailable("the MCP server a: failed (ENOENT)".into()));
        assert_eq!(
            gate.judge(&[], Duration::ZERO),
            Verdict::Unavailable("the MCP server a: unknown to the CLI".into())
        );
    }
}

//! The questions of an attempt that wait for people, and the clocks that stand still meanwhile. Pure.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A question that waits for an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open<T = Instant> {
    /// The CLI's name for it.
    pub cli_id: String,
    /// Input of the tool.
    pub input: Value,
    /// The same to the letter, where that had to be mended.
    pub exact_input: Option<Box<RawValue>>,
    /// Rules that a permission for the session adds.
    pub rules: Vec<String>,
    stored: Option<Stored<T>>,
}

/// A question that is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored<T = Instant> {
    request_id: String,
    /// Time at which it is denied automatically; `None` once the store was told that the time has passed.
    deadline: Option<T>,
}

/// Open questions of an attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Questions<T = Instant> {
    open: Vec<Open<T>>,
    /// Time since which the clocks stand still.
    since: Option<T>,
}

impl<T> Default for Questions<T> {
    fn default() -> Self {
        Self { open: Vec::new(), since: None }
    }
}

impl<T> Questions<T> {
    /// The same with other times.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Questions<U> {
        let open = self.open.into_iter().map(|open| Open {
            cli_id: open.cli_id,
            input: open.input,
            exact_input: open.exact_input,
            rules: open.rules,
            stored: open
                .stored
                .map(|stored| Stored { request_id: stored.request_id, deadline: stored.deadline.map(&to) }),
        });
        Questions { open: open.collect(), since: self.since.map(&to) }
    }
}

impl Questions {
    /// True if one waits.
    pub const fn are_open(&self) -> bool {
        self.since.is_some()
    }

    /// The CLI asks.
    pub fn ask(
        &mut self,
        cli_id: String,
        input: Value,
        exact_input: Option<Box<RawValue>>,
        rules: Vec<String>,
        now: Instant,
    ) {
        self.since.get_or_insert(now);
        self.open.push(Open { cli_id, input, exact_input, rules, stored: None });
    }

    /// The question is stored under this name. Returns false where the CLI has taken it back meanwhile.
    pub fn stored(&mut self, cli_id: &str, request_id: &str, deadline: Instant) -> bool {
        let Some(open) = self.open.iter_mut().find(|open| open.cli_id == cli_id) else { return false };
        open.stored = Some(Stored { request_id: request_id.to_owned(), deadline: Some(deadline) });
        true
    }

    /// Takes out what the store knows under this name: the CLI may have asked the same twice.
    pub fn answered(&mut self, request_id: &str) -> Vec<Open> {
        let is_it = |open: &mut Open| open.stored.as_ref().is_some_and(|stored| stored.request_id == request_id);
        self.open.extract_if(.., is_it).collect()
    }

    /// The CLI takes a question back. Returns its name in the store, where it has one.
    pub fn taken_back(&mut self, cli_id: &str) -> Option<String> {
        let at = self.open.iter().position(|open| open.cli_id == cli_id)?;
        self.open.swap_remove(at).stored.map(|stored| stored.request_id)
    }

    /// Lets the clocks go on where nothing is open any more. Returns how long they stood still.
    pub fn go_on(&mut self, now: Instant) -> Option<Duration> {
        if !self.open.is_empty() {
            return None;
        }
        self.since.take().map(|since| now.saturating_duration_since(since))
    }

    /// Returns the time at which the first question has outlived its deadline or, after `park`, its slot.
    pub fn alarm(&self, park: Duration) -> Option<Instant> {
        let deadlines = self.open.iter().filter_map(|open| open.stored.as_ref()?.deadline);
        Some(deadlines.fold(self.since? + park, Instant::min))
    }

    /// A question whose time for an answer has passed. Each is returned once.
    pub fn too_late(&mut self, now: Instant) -> Option<String> {
        let mut stored = self.open.iter_mut().filter_map(|open| open.stored.as_mut());
        let late = stored.find(|stored| stored.deadline.is_some_and(|deadline| deadline <= now))?;
        late.deadline = None;
        Some(late.request_id.clone())
    }
}

//! A model that goes round in circles: the same calls of tools, time after time. A fold over calls and their results, pure.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use crate::main_argument;

/// Number of failures of the same call that are a sign, where nothing else is asked for.
pub const LOOP_AFTER: u32 = 5;
/// The same call in a row, whatever became of it: this many times the failures.
const IN_A_ROW: u32 = 2;
/// Calls in a row that were all made before, in whichever order: this many times the failures.
const NOTHING_NEW: u32 = 4;
/// Calls that are remembered as made; of more, all are forgotten.
const MADE: usize = 10_000;
/// Calls whose results are yet to come; of more, the oldest are forgotten.
const OPEN: usize = 1_000;
/// Longest text of a call in a sign, in characters.
const SHOWN: usize = 100;

/// Tools that change something: with one that succeeds, what failed before may succeed.
const CHANGING: &[&str] = &["Edit", "MultiEdit", "Write", "NotebookEdit", "Bash"];

/// A call of a tool: what tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// The name that its result has.
    id: String,
    what: What,
}

/// A tool, and what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct What {
    tool: String,
    /// The beginning of what matters most of the input, which may be megabytes long.
    input: String,
    /// Hash of the whole input.
    digest: u64,
}

impl ToolCall {
    /// A call with this input.
    #[must_use]
    pub fn new(id: String, tool: String, input: &Value) -> Self {
        let mut hasher = DefaultHasher::new();
        input.to_string().hash(&mut hasher);
        let whole = main_argument(input);
        let words: String = whole.chars().take(SHOWN).collect();
        let input = if words.len() < whole.len() { words + "…" } else { words };
        Self { id, what: What { tool, input, digest: hasher.finish() } }
    }

    /// The model's name for it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The tool.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.what.tool
    }
}

impl fmt::Display for What {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.tool, self.input)
    }
}

/// The fold: give it each call and each result, in order.
#[derive(Clone, Debug, Default)]
pub struct LoopGuard {
    /// Failures that are a sign; 0: none is.
    after: u32,
    open: HashMap<String, What>,
    /// Failures of each call since something was changed.
    failed: HashMap<What, u32>,
    /// The newest call, and how many times in a row.
    last: Option<(What, u32)>,
    /// Calls that were made, by their hashes.
    made: HashSet<u64>,
    /// Number of the newest calls that were all made before.
    stale: u32,
    /// True if a sign was given and nothing has changed since.
    told: bool,
}

impl LoopGuard {
    /// A guard that gives a sign after this many failures; 0: never.
    #[must_use]
    pub fn after(after: u32) -> Self {
        Self { after, ..Self::default() }
    }

    /// Notes a call. Returns a sign, in words, the first time that it is one too many in a row.
    pub fn called(&mut self, call: ToolCall) -> Option<String> {
        if self.after == 0 {
            return None;
        }
        let ToolCall { id, what } = call;
        let times = match self.last.take() {
            Some((last, times)) if last == what => times + 1,
            _ => 1,
        };
        self.last = Some((what.clone(), times));
        let in_a_row = times >= self.after.saturating_mul(IN_A_ROW);
        let sign = in_a_row.then(|| format!("the same call {times} times in a row: {what}"));
        let sign = sign.or_else(|| self.nothing_new(&what));
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        self.open.insert(id, what);
        self.once(sign)
    }

    /// Returns a sign where nothing that it has done for long was new.
    fn nothing_new(&mut self, what: &What) -> Option<String> {
        if self.made.len() >= MADE {
            self.made.clear();
        }
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.stale = if self.made.insert(hasher.finish()) { 0 } else { self.stale + 1 };
        let stale = self.stale;
        (stale >= self.after.saturating_mul(NOTHING_NEW))
            .then(|| format!("{stale} calls in a row that it had all made before, the last: {what}"))
    }

    /// Notes a result. Returns a sign, in words, the first time that it is one failure too many.
    pub fn answered(&mut self, id: &str, is_error: bool) -> Option<String> {
        let what = self.open.remove(id)?;
        if !is_error {
            self.failed.remove(&what);
            if CHANGING.contains(&&*what.tool) {
                self.failed.clear();
                self.told = false;
                // A command may be one that only looks.
                if what.tool != "Bash" {
                    self.stale = 0;
                }
            }
            return None;
        }
        let failed = self.failed.entry(what.clone()).or_default();
        *failed += 1;
        let sign = (*failed >= self.after).then(|| format!("the same call has failed {failed} times: {what}"));
        self.once(sign)
    }

    /// A sign is given once, until something changes.
    fn once(&mut self, sign: Option<String>) -> Option<String> {
        let sign = sign.filter(|_| !self.told)?;
        self.told = true;
        Some(sign)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn story(guard: &mut LoopGuard, calls: &[(&str, &str, bool)]) -> Vec<String> {
        let mut signs = Vec::new();
        for (n, (tool, input, fails)) in calls.iter().enumerate() {
            let id = format!("{n}");
            let call = ToolCall::new(id.clone(), (*tool).to_owned(), &json!({ "command": input }));
            signs.extend(guard.called(call));
            signs.extend(guard.answered(&id, *fails));
        }
        signs
    }

    #[test]
    fn the_same_failure_is_a_sign_though_it_looks_about_meanwhile() {
        let failing = [("Bash", "cargo test", true), ("Read", "src/a.rs", false)].repeat(5);
        assert_eq!(story(&mut LoopGuard::after(5), &failing), ["the same call has failed 5 times: Bash cargo test"]);
        assert_eq!(story(&mut LoopGuard::after(5), &failing[..8]), [""; 0]);
        assert_eq!(story(&mut LoopGuard::after(0), &failing), [""; 0]);
    }

    #[test]
    fn who_changes_something_between_two_tries_is_at_work() {
        let working = [("Bash", "cargo test", true), ("Edit", "src/a.rs", false)].repeat(20);
        assert_eq!(story(&mut LoopGuard::after(3), &working), [""; 0]);
        let other = [("Bash", "cargo test a", true), ("Bash", "cargo test b", true)].repeat(2);
        assert_eq!(story(&mut LoopGuard::after(3), &other), [""; 0]);
    }

    #[test]
    fn calls_that_were_all_made_before_are_a_sign_in_whichever_order() {
        let circle = [("Read", "a", false), ("Read", "b", false), ("Grep", "c", false)];
        let sign = "8 calls in a row that it had all made before, the last: Read b";
        assert_eq!(story(&mut LoopGuard::after(2), &circle.repeat(10)), [sign]);
        // Who finds something new meanwhile is at work.
        let mut guard = LoopGuard::after(2);
        for n in 0..20 {
            let found = format!("new {n}");
            let look = [circle[0], circle[1], ("Read", &*found, false)];
            assert_eq!(story(&mut guard, &look), [""; 0]);
        }
    }

    #[test]
    fn the_same_call_in_a_row_is_a_sign_whatever_becomes_of_it_and_one_sign_is_enough() {
        let same = [("Read", "a", false)].repeat(30);
        assert_eq!(story(&mut LoopGuard::after(3), &same), ["the same call 6 times in a row: Read a"]);
        // Again after something was changed.
        let mut guard = LoopGuard::after(2);
        let fails = [("Bash", "x", true)].repeat(3);
        assert_eq!(story(&mut guard, &fails).len(), 1);
        assert_eq!(story(&mut guard, &[("Write", "f", false)]), [""; 0]);
        assert_eq!(story(&mut guard, &fails).len(), 1);
        let long = "é".repeat(400);
        let sign = story(&mut LoopGuard::after(1), &[("Bash", &long, true)]).remove(0);
        assert!(sign.ends_with('…') && sign.chars().count() < 160, "{sign}");
    }
}

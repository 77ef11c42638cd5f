//! What an attempt has spent, read from the answers of the API while they pass.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::price::{Said, Usage, cost};
use domain::{Spent, Tokens, Usd};

/// Calls of one attempt at a time: its subagents ask side by side.
const MAX_CALLS: usize = 32;

/// Count of one attempt.
#[derive(Debug)]
pub struct Meter {
    count: Mutex<Count>,
    calls: Arc<Semaphore>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { count: Mutex::default(), calls: Arc::new(Semaphore::new(MAX_CALLS)) }
    }
}

#[derive(Debug, Default)]
struct Count {
    budget: Option<Usd>,
    /// Millionths of micro-dollars.
    cost: i128,
    tokens: Tokens,
    answers: u64,
    /// End of the account's limit, in seconds of Unix time, where the newest answer was that it is reached.
    resets_at: Option<i64>,
}

impl Count {
    fn cost_usd(&self) -> Usd {
        Usd::of_micros(i64::try_from((self.cost + 500_000) / 1_000_000).unwrap_or(i64::MAX))
    }
}

impl Meter {
    fn count(&self) -> std::sync::MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call; `None` where too many are under way.
    pub fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.calls).try_acquire_owned().ok()
    }

    /// Lets it spend this at most.
    pub fn limit(&self, budget: Option<Usd>) {
        self.count().budget = budget;
    }

    /// True if it may ask for more.
    pub fn has_budget(&self) -> bool {
        let count = self.count();
        count.budget.is_none_or(|budget| count.cost_usd() < budget)
    }

    /// What it has spent; `None` where it has asked nothing.
    pub fn spent(&self) -> Option<Spent> {
        let count = self.count();
        let cost_usd = Some(count.cost_usd());
        (count.answers > 0).then_some(Spent { cost_usd, set_aside: false, tokens: count.tokens })
    }

    /// Takes note of an answer's head: that the account's limit is reached, and until when, or that it isn't.
    pub fn note_limit(&self, resets_at: Option<i64>) {
        self.count().resets_at = resets_at;
    }

    /// End of the account's limit, in seconds of Unix time, where the newest answer was that it is reached.
    pub fn resets_at(&self) -> Option<i64> {
        self.count().resets_at
    }

    fn add(&self, model: &str, usage: Usage) {
        let mut count = self.count();
        count.answers += 1;
        count.cost = count.cost.saturating_add(cost(model, usage));
        let Tokens { input, output, cache_read, cache_write } = &mut count.tokens;
        for (sum, more) in
            [(input, usage.input), (output, usage.output), (cache_read, usage.read), (cache_write, usage.write)]
        {
            *sum = sum.saturating_add(more.max(0));
        }
    }
}

/// Longest line of an answer that is looked at, in bytes: those with counts are short.
const MAX_LINE_BYTES: usize = 64 << 10;
/// Longest answer without a stream that is looked at, in bytes.
const MAX_WHOLE_BYTES: usize = 8 << 20;

/// One answer while it passes. Counted when it is dropped, also where it was broken off.
pub struct Answer<'a> {
    meter: &'a Meter,
    is_stream: bool,
    /// The beginning of the line that is not whole yet, or all that came so far.
    kept: Vec<u8>,
    /// True if that is too long to be looked at.
    skips: bool,
    model: String,
    usage: Option<Usage>,
}

impl<'a> Answer<'a> {
    pub fn new(meter: &'a Meter, is_stream: bool) -> Self {
        Self { meter, is_stream, kept: Vec::new(), skips: false, model: String::new(), usage: None }
    }

    /// Looks at a part of the answer.
    pub fn pass(&mut self, part: &[u8]) {
        if !self.is_stream {
            if self.kept.len() + part.len() <= MAX_WHOLE_BYTES {
                self.kept.extend_from_slice(part);
            }
            return;
        }
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            let fits = self.kept.len() + piece.len() <= MAX_LINE_BYTES;
            self.skips |= !fits;
            if !self.skips {
                self.kept.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.kept);
                if !std::mem::take(&mut self.skips) {
                    self.line(&line);
                }
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else { return };
        // Texts are not parsed: they come by the thousand.
        if !data.windows(7).any(|window| window == b"\"usage\"") {
            return;
        }
        if let Ok(event) = serde_json::from_slice::<Event>(data) {
            match event.message {
                Some(message) => self.note(message.model, message.usage),
                None => self.note(None, event.usage),
            }
        }
    }

    /// Counts of a later event take the place of those before: they are totals of the answer.
    fn note(&mut self, model: Option<String>, said: Option<Said>) {
        if let Some(model) = model {
            self.model = model;
        }
        if let Some(said) = said {
            self.usage.get_or_insert_default().raise(&said);
        }
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if !self.is_stream
            && let Ok(whole) = serde_json::from_slice::<Message>(&self.kept)
        {
            self.note(whole.model, whole.usage);
        }
        if let Some(usage) = self.usage {
            self.meter.add(&self.model, usage);
        }
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    usage: Option<Said>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Said>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "event: message_start\n",
        r#"data: {"type":"message_start","message":{"model":"claude-sonnet-4-5","usage":{"input_tokens":10,"cache_read_input_tokens":100,"output_tokens":1}}}"#,
        "\n\n",
        r#"data: {"type":"content_block_delta","delta":{"text":"\"usage\" is a word"}}"#,
        "\n\n",
        r#"data: {"type":"message_delta","delta":{},"usage":{"output_tokens":5}}"#,
        "\n\n",
    );

    #[test]
    fn an_answer_is_counted_however_it_is_cut_and_once() {
        for size in [1, 2, 7, 64, 10_000] {
            let meter = Meter::default();
            assert!(meter.spent().is_none());
            let mut answer = Answer::new(&meter, true);
            STREAM.as_bytes().chunks(size).for_each(|part| answer.pass(part));
            drop(answer);
            let spent = meter.spent().expect("spent");
            assert_eq!(spent.tokens, Tokens { input: 10, output: 5, cache_read: 100, cache_write: 0 }, "{size}");
            assert_eq!(spent.cost_usd, Some(Usd::of_micros(30 + 75 + 30)));
        }
    }

    #[test]
    fn what_can_not_be_read_costs_nothing_but_itself() {
        let meter = Meter::default();
        let mut answer = Answer::new(&meter, true);
        answer.pass(b"data: {\"usage\": }\n");
        answer.pass(&vec![b'x'; 3 * MAX_LINE_BYTES]);
        answer.pass(b"\n");
        answer.pass(STREAM.as_bytes());
        drop(answer);
        assert_eq!(meter.spent().expect("spent").tokens.output, 5);
        let mut whole = Answer::new(&meter, false);
        whole.pass(br#"{"model":"claude-sonnet-4-5","usage":{"input_tokens":"many","output_tokens":2}}"#);
        drop(whole);
        assert_eq!(meter.spent().expect("spent").tokens.output, 7);
        meter.limit(Some(Usd::of_micros(166)));
        assert!(meter.has_budget());
        meter.limit(Some(Usd::of_micros(165)));
        assert!(!meter.has_budget());
    }
}

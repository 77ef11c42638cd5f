//! The events of a task as blocks of its page.

use std::collections::HashMap;

use serde_json::Value;

use super::html::{Html, cut};
use super::markdown::markdown;
use super::tool;
use domain::{Event, EventKind, Named as _, Question, Timestamp};

/// Calls that are remembered until their result comes.
const MAX_OPEN: usize = 200;
/// Longest line of a remark, in bytes.
const MAX_LINE: usize = 600;

/// What is shown of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Show {
    /// Everything.
    #[default]
    All,
    /// What was said.
    Words,
    /// Calls of tools.
    Tools,
    /// What went wrong.
    Failures,
    /// Changes of files.
    Files,
}

/// A part of the page: one event, or several that belong together.
#[derive(Clone, Debug)]
pub struct Block {
    /// Number of the event that it began with, which names it.
    pub seq: i64,
    /// The part as HTML.
    pub html: Html,
}

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Words,
    Tool,
    Failure,
    File,
    Remark,
}

/// Makes blocks of events, in their order. A block that comes again takes the place of the one before.
#[derive(Debug, Default)]
pub struct Conversation {
    show: Show,
    calls: HashMap<String, Call>,
    /// The first of the retries that came last, and their number.
    retries: Option<(Event, i64)>,
}

/// A call whose result has not come.
#[derive(Debug)]
struct Call {
    seq: i64,
    at: Timestamp,
    name: String,
    input: Value,
    nested: bool,
}

impl Conversation {
    /// Shows this of a conversation.
    #[must_use]
    pub fn new(show: Show) -> Self {
        Self { show, ..Self::default() }
    }

    /// Takes the next event. Returns the blocks that are new, or have changed.
    pub fn add(&mut self, event: &Event) -> Vec<Block> {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let retries = self.retries.take();
        match event.kind {
            EventKind::Retry => self.retry(event, &data, retries),
            EventKind::Assistant | EventKind::ToolUse => self.said(event, &data),
            EventKind::ToolResult => self.results(event, &data),
            EventKind::Message => self.message(event, &data),
            EventKind::Result => self.result(event, &data),
            EventKind::Partial => Vec::new(),
            EventKind::Log if data["frame"].is_object() => self.unknown(event, &data),
            _ => {
                let (sort, sign, line) = remark(event, &data);
                self.remark(event, sort, sign, &line)
            }
        }
    }

    fn shows(&self, sort: Sort) -> bool {
        match self.show {
            Show::All => true,
            Show::Words => sort == Sort::Words,
            Show::Tools => matches!(sort, Sort::Tool | Sort::File | Sort::Failure),
            Show::Failures => sort == Sort::Failure,
            Show::Files => sort == Sort::File,
        }
    }

    fn block(&self, sort: Sort, seq: i64, html: Html) -> Vec<Block> {
        if self.shows(sort) { vec![Block { seq, html }] } else { Vec::new() }
    }

    fn remark(&self, event: &Event, sort: Sort, sign: &'static str, line: &str) -> Vec<Block> {
        let mut html = begin(event.seq, event.at, "line", false);
        let (shown, left) = cut(line, MAX_LINE);
        html.raw("<p><span class=\"sign\" aria-hidden=\"true\">").raw(sign).raw("</span> ").text(&shown);
        if left > 0 {
            html.raw(" …");
        }
        html.raw("</p></article>");
        self.block(sort, event.seq, html)
    }

    /// Several in a row are one line.
    fn retry(&mut self, event: &Event, data: &Value, before: Option<(Event, i64)>) -> Vec<Block> {
        let (first, count) = before.unwrap_or_else(|| (event.clone(), 0));
        let frame = &data["frame"];
        let error = frame["error"].as_str().unwrap_or("no answer");
        let status = frame["error_status"].as_i64().map(|status| format!(" {status}")).unwrap_or_default();
        let seconds = event.at.since_ms(first.at) / 1_000;
        let line = match count {
            0 => format!("asks the API again:{status} {error}"),
            _ => format!("asked the API again {} times:{status} {error}, {seconds} s", count + 1),
        };
        let blocks = self.remark(&first, Sort::Failure, "↻", &line);
        self.retries = Some((first, count + 1));
        blocks
    }

    /// Text of the model, its thoughts, and the tools that it calls.
    fn said(&mut self, event: &Event, data: &Value) -> Vec<Block> {
        let frame = &data["frame"];
        let nested = frame["parent_tool_use_id"].is_string();
        let mut words = Html::new();
        let mut calls = Vec::new();
        for part in frame["message"]["content"].as_array().into_iter().flatten() {
            match part["type"].as_str() {
                Some("text") => _ = words.add(&markdown(part["text"].as_str().unwrap_or_default())),
                Some("thinking") => {
                    words.raw("<details class=\"thought\"><summary>Thought</summary>");
                    words.add(&markdown(part["thinking"].as_str().unwrap_or_default())).raw("</details>");
                }
                Some("tool_use") => calls.push(part),
                _ => {}
            }
        }
        if words.is_empty() && calls.is_empty() {
            return self.unknown(event, data);
        }
        let mut html = begin(event.seq, event.at, if calls.is_empty() { "say" } else { "tool" }, nested);
        html.add(&words);
        let mut sort = if calls.is_empty() { Sort::Words } else { Sort::Tool };
        for part in calls {
            let name = part["name"].as_str().unwrap_or("?").to_owned();
            if tool::changes_files(&name) {
                sort = Sort::File;
            }
            let call = Call { seq: event.seq, at: event.at, name, input: part["input"].clone(), nested };
            html.add(&fold(&call, None));
            if self.calls.len() < MAX_OPEN {
                self.calls.insert(part["id"].as_str().unwrap_or_default().to_owned(), call);
            }
        }
        html.raw("</article>");
        self.block(sort, event.seq, html)
    }

    /// A result stands in the fold of its call.
    fn results(&mut self, event: &Event, data: &Value) -> Vec<Block> {
        let parts = data["frame"]["message"]["content"].as_array();
        let results = parts.into_iter().flatten().filter(|part| part["type"] == "tool_result");
        let mut blocks = Vec::new();
        for part in results {
            let text = tool::text_of(&part["content"]);
            let failed = part["is_error"] == true;
            let known = part["tool_use_id"].as_str().and_then(|id| self.calls.remove(id));
            let call = known.unwrap_or_else(|| Call {
                seq: event.seq,
                at: event.at,
                name: "result".to_owned(),
                input: Value::Null,
                nested: data["frame"]["parent_tool_use_id"].is_string(),
            });
            let sort = match () {
                () if failed => Sort::Failure,
                () if tool::changes_files(&call.name) => Sort::File,
                () => Sort::Tool,
            };
            let mut html = begin(call.seq, call.at, "tool", call.nested);
            let done = Done { text: &text, failed, ms: event.at.since_ms(call.at) };
            html.add(&fold(&call, Some(&done))).raw("</article>");
            blocks.extend(self.block(sort, call.seq, html));
        }
        if blocks.is_empty() && parts.is_none() { self.unknown(event, data) } else { blocks }
    }

    fn message(&self, event: &Event, data: &Value) -> Vec<Block> {
        let state = data["state"].as_str().unwrap_or_default();
        match (state, data["text"].as_str()) {
            ("stored", Some(text)) => {
                let mut html = begin(event.seq, event.at, "you", false);
                html.raw("<pre class=\"words\">").text(&cut(text, 64 << 10).0).raw("</pre></article>");
                self.block(Sort::Words, event.seq, html)
            }
            ("begun", _) => self.remark(event, Sort::Remark, "·", "heard"),
            _ => self.remark(event, Sort::Remark, "·", state),
        }
    }

    fn result(&self, event: &Event, data: &Value) -> Vec<Block> {
        let frame = &data["frame"];
        let failed = frame["is_error"] == true;
        let mut html = begin(event.seq, event.at, if failed { "end bad" } else { "end" }, false);
        html.raw(if failed { "<p><strong>✗ " } else { "<p><strong>✓ " });
        html.text(frame["subtype"].as_str().unwrap_or("result")).raw("</strong>");
        if let Some(cost) = frame["total_cost_usd"].as_f64() {
            html.raw(" · $").text(&format!("{cost:.4}"));
        }
        if let Some(turns) = frame["num_turns"].as_i64() {
            html.raw(" · ").number(turns).raw(" turns");
        }
        html.raw("</p></article>");
        self.block(if failed { Sort::Failure } else { Sort::Words }, event.seq, html)
    }

    /// What this version can't make anything of is shown as it is.
    fn unknown(&self, event: &Event, data: &Value) -> Vec<Block> {
        let mut html = begin(event.seq, event.at, "line", false);
        let frame = &data["frame"];
        let named =
            ["type", "subtype", "description", "summary"].map(|field| frame[field].as_str().unwrap_or_default());
        let name = named.join(" ");
        let name = if name.trim().is_empty() { event.kind.name() } else { name.trim() };
        html.raw("<details><summary>").text(&cut(name, MAX_LINE).0).raw("</summary>").add(&tool::json(data));
        html.raw("</details></article>");
        self.block(Sort::Remark, event.seq, html)
    }
}

/// Begins a block.
fn begin(seq: i64, at: Timestamp, class: &'static str, nested: bool) -> Html {
    let mut html = Html::new();
    html.raw("<article id=\"e").number(seq).raw("\" class=\"ev ").raw(class).raw(if nested {
        " sub\">"
    } else {
        "\">"
    });
    let text = at.to_string();
    // A link to the event; the keyboard has better ways through a conversation.
    html.raw("<a class=\"at\" tabindex=\"-1\" href=\"?event=")
        .number(seq)
        .raw("#e")
        .number(seq)
        .raw("\"><time datetime=\"");
    html.text(&text).raw("\">").text(text.get(11..19).unwrap_or(&text)).raw("</time></a>");
    html
}

/// The end of a call.
struct Done<'a> {
    text: &'a str,
    failed: bool,
    ms: i64,
}

fn fold(call: &Call, done: Option<&Done<'_>>) -> Html {
    let (input, small) = tool::input(&call.name, &call.input);
    let failed = done.is_some_and(|done| done.failed);
    let mut html = Html::new();
    html.raw(if failed || small {
        "<details class=\"call\" open><summary>"
    } else {
        "<details class=\"call\"><summary>"
    });
    html.raw("<strong>")
        .text(&call.name)
        .raw("</strong> <code>")
        .text(&tool::head(&call.name, &call.input))
        .raw("</code>");
    match done {
        None => html.raw(" <span class=\"took\">…</span>"),
        Some(done) => {
            html.raw(" <span class=\"took\">").text(&format!("{:.1} s ", done.ms.max(0) as f64 / 1e3));
            html.raw(if done.failed {
                "<b class=\"bad\">✗ failed</b></span>"
            } else {
                "<b class=\"good\">✓</b></span>"
            })
        }
    };
    html.raw("</summary>");
    if call.input != Value::Null {
        html.add(&input);
    }
    if let Some(done) = done.filter(|done| !done.text.is_empty()) {
        html.add(&tool::output(done.text));
    }
    html.raw("</details>");
    html
}

/// Everything else is a line.
fn remark(event: &Event, data: &Value) -> (Sort, &'static str, String) {
    let text = |field: &str| data[field].as_str().unwrap_or_default();
    match event.kind {
        EventKind::Status => {
            let (status, reason) = (text("status"), text("reason"));
            let error = data["error"]["message"].as_str().map(|message| format!(": {message}")).unwrap_or_default();
            let sort = if status == "failed" || !error.is_empty() { Sort::Failure } else { Sort::Remark };
            let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            (sort, if sort == Sort::Failure { "✗" } else { "●" }, format!("{status}{reason}{error}"))
        }
        EventKind::Permission => {
            let line = match (text("state"), text("behavior")) {
                ("asked", _) => format!("asks: {} {}", text("toolName"), tool::head(text("toolName"), &data["input"])),
                (_, behavior) => {
                    let scope = if text("scope") == "session" { " for this task" } else { "" };
                    let message = text("message");
                    let because = if message.is_empty() { String::new() } else { format!(": {message}") };
                    format!("answered: {behavior}{scope}{because}")
                }
            };
            (Sort::Words, "◆", line)
        }
        EventKind::Log if data.get("message").is_some() => (Sort::Remark, "·", text("message").to_owned()),
        _ => (Sort::Remark, "·", domain::line_of(event.kind, &event.data)),
    }
}

/// An open question, as it is asked: the tool and its input in full.
#[must_use]
pub fn question(question: &Question) -> Html {
    let mut html = Html::new();
    if question.tool == "AskUserQuestion" {
        // The form has it, with its choices.
        return html;
    }
    html.raw("<p class=\"ask\"><strong>").text(&question.tool).raw("</strong> <code>");
    html.text(&tool::head(&question.tool, &question.input)).raw("</code></p>");
    html.add(&tool::input(&question.tool, &question.input).0);
    html
}

#[cfg(test)]
mod tests {
    use domain::TaskId;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::check;
    use super::*;

    fn event(seq: i64, kind: EventKind, data: &Value) -> Event {
        Event { task: TaskId::from_u128(1), seq, at: Timestamp(seq * 1_000), kind, data: data.to_string() }
    }

    fn calls(id: &str, name: &str, input: &Value) -> Value {
        json!({ "frame": { "message": { "content": [{ "type": "tool_use", "id": id, "name": name, "input": input }] } } })
    }

    fn result(id: &str, text: &str, failed: bool) -> Value {
        let part = json!({ "type": "tool_result", "tool_use_id": id, "content": text, "is_error": failed });
        json!({ "frame": { "message": { "content": [part] } } })
    }

    #[test]
    fn a_call_and_its_result_are_one_block() {
        let mut conversation = Conversation::default();
        let asked = conversation.add(&event(3, EventKind::ToolUse, &calls("t", "Bash", &json!({ "command": "ls" }))));
        assert_eq!(asked[0].seq, 3);
        assert!(asked[0].html.as_str().contains("<span class=\"took\">…</span>"));
        let done = conversation.add(&event(5, EventKind::ToolResult, &result("t", "a\nb", false)));
        assert_eq!((done.len(), done[0].seq), (1, 3), "it takes the place of the first");
        let html = done[0].html.as_str();
        assert!(html.contains("2.0 s") && html.contains("a\nb") && html.contains("id=\"e3\""), "{html}");
        let lone = conversation.add(&event(6, EventKind::ToolResult, &result("unknown", "x", true)));
        assert_eq!(lone[0].seq, 6);
        assert!(lone[0].html.as_str().contains("✗ failed"));
    }

    #[test]
    fn retries_in_a_row_are_one_line_and_filters_hold() {
        let retry = json!({ "frame": { "error": "overloaded", "error_status": 529 } });
        let mut conversation = Conversation::new(Show::Failures);
        let first = conversation.add(&event(1, EventKind::Retry, &retry));
        let third = [2, 9].map(|seq| conversation.add(&event(seq, EventKind::Retry, &retry))).concat();
        assert_eq!((first[0].seq, third[1].seq), (1, 1));
        assert!(third[1].html.as_str().contains("asked the API again 3 times: 529 overloaded, 8 s"));
        let text = json!({ "frame": { "message": { "content": [{ "type": "text", "text": "hi" }] } } });
        assert!(conversation.add(&event(10, EventKind::Assistant, &text)).is_empty(), "no failure");
        assert_eq!(conversation.add(&event(11, EventKind::Retry, &retry))[0].seq, 11, "another run of them");
    }

    proptest! {
        #[test]
        fn whatever_an_event_has_is_shown_as_text(
            kind in prop::sample::select(<EventKind as strum::VariantArray>::VARIANTS.to_vec()),
            text in "[ -~<>&\"'\u{1b}\u{202e}\n]{0,80}",
            shape in 0..7,
        ) {
            let data = match shape {
                0 => json!({ "frame": { "message": { "content": [{ "type": "text", "text": text }] } } }),
                1 => calls(&text, &text, &json!({ "command": text, "file_path": [text] })),
                2 => result(&text, &text, true),
                3 => json!({ "state": "asked", "toolName": text, "input": { "command": text }, "text": text }),
                4 => json!({ "status": text, "reason": text, "error": { "message": text } }),
                5 => json!({ "frame": { "subtype": text, "is_error": true, "num_turns": text, "error": text } }),
                _ => json!([text, { "message": text }]),
            };
            let mut conversation = Conversation::default();
            for seq in 1..3 {
                for block in conversation.add(&event(seq, kind, &data)) {
                    check::well_formed(block.html.as_str());
                }
            }
        }
    }
}

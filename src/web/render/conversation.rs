//! The events of a task as blocks of its page.

use std::collections::HashMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
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

/// Makes blocks of events, in their order. A block that comes again takes the place of the one before. What a sub-agent says
/// and does is counted in the call that began it; its own conversation has it whole.
#[derive(Debug, Default)]
pub struct Conversation {
    show: Show,
    /// The call of the sub-agent whose conversation this is.
    agent: Option<String>,
    calls: HashMap<String, Call>,
    /// True if what sub-agents do stands where it happened.
    is_flat: bool,
    /// Number of the first event on the page: what belongs to a call before it has a fold of its own.
    first: i64,
    /// Calls within sub-agents, and the calls that began these.
    within: HashMap<String, String>,
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
    /// Steps of the sub-agent that it began, and the newest in words.
    steps: i64,
    doing: String,
}

impl Conversation {
    /// Shows this of a conversation.
    #[must_use]
    pub fn new(show: Show) -> Self {
        Self { show, ..Self::default() }
    }

    /// Shows all of the conversation of the sub-agent that this call began.
    #[must_use]
    pub fn of_agent(call: &str) -> Self {
        Self { agent: Some(call.to_owned()), ..Self::default() }
    }

    /// The same where what sub-agents do stands where it happened: for a file.
    #[must_use]
    pub fn flat(self) -> Self {
        Self { is_flat: true, ..self }
    }

    /// The same for a page that begins with this event.
    #[must_use]
    pub fn from(self, first: i64) -> Self {
        Self { first, ..self }
    }

    /// Takes the next event. Returns the blocks that are new, or have changed.
    pub fn add(&mut self, event: &Event) -> Vec<Block> {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let parent = data["frame"]["parent_tool_use_id"].as_str();
        if parent != self.agent.as_deref() {
            return match parent {
                Some(_) if self.is_flat => self.shown(event, &data).into_iter().map(nested).collect(),
                Some(parent) => self.step(event, &data, parent),
                // Of the conversation around it.
                None => Vec::new(),
            };
        }
        self.shown(event, &data)
    }

    fn shown(&mut self, event: &Event, data: &Value) -> Vec<Block> {
        let retries = self.retries.take();
        match event.kind {
            EventKind::Retry => self.retry(event, data, retries),
            EventKind::Assistant | EventKind::ToolUse => self.said(event, data),
            EventKind::ToolResult => self.results(event, data),
            EventKind::Message => self.message(event, data),
            EventKind::Result => self.result(event, data),
            EventKind::Partial => Vec::new(),
            EventKind::Log if data["frame"].is_object() => self.unknown(event, data),
            _ => {
                let (sort, sign, line) = remark(event, data);
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
        let mut html = begin(event.seq, event.at, "line");
        let (shown, left) = cut(line, MAX_LINE);
        html.raw("<p><span class=\"sign\" aria-hidden=\"true\">").raw(sign).raw("</span> ").text(&shown);
        if left > 0 {
            html.raw(" …");
        }
        html.raw("</p></article>");
        self.block(sort, event.seq, html)
    }

    /// A step of a sub-agent: counted in the fold of its call, which may stand on a page before.
    fn step(&mut self, event: &Event, data: &Value, parent: &str) -> Vec<Block> {
        let root = self.within.get(parent).map_or(parent, String::as_str).to_owned();
        let parts = data["frame"]["message"]["content"].as_array();
        for id in parts.into_iter().flatten().filter_map(|part| part["id"].as_str()) {
            if self.within.len() < MAX_OPEN {
                self.within.insert(id.to_owned(), root.clone());
            }
        }
        if !self.calls.contains_key(&root) && (self.agent.is_some() || self.calls.len() >= MAX_OPEN) {
            return Vec::new();
        }
        let call = self.calls.entry(root.clone()).or_insert_with(|| Call {
            seq: event.seq,
            at: event.at,
            name: "Sub-agent".to_owned(),
            input: Value::Null,
            steps: 0,
            doing: String::new(),
        });
        if call.seq < self.first && event.seq >= self.first {
            (call.seq, call.at) = (event.seq, event.at);
        }
        call.steps += 1;
        if event.kind != EventKind::ToolResult {
            call.doing = domain::line_of(event.kind, &event.data);
        }
        let mut html = begin(call.seq, call.at, "tool");
        html.add(&fold(&root, call, None)).raw("</article>");
        let seq = call.seq;
        self.block(Sort::Tool, seq, html)
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
        let mut html = begin(event.seq, event.at, if calls.is_empty() { "say" } else { "tool" });
        html.add(&words);
        let mut sort = if calls.is_empty() { Sort::Words } else { Sort::Tool };
        for part in calls {
            let name = part["name"].as_str().unwrap_or("?").to_owned();
            if tool::changes_files(&name) {
                sort = Sort::File;
            }
            let input = part["input"].clone();
            let call = Call { seq: event.seq, at: event.at, name, input, steps: 0, doing: String::new() };
            let id = part["id"].as_str().unwrap_or_default();
            html.add(&fold(id, &call, None));
            if self.calls.len() < MAX_OPEN {
                self.calls.insert(id.to_owned(), call);
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
            let id = part["tool_use_id"].as_str().unwrap_or_default();
            let call = self.calls.remove(id).unwrap_or_else(|| Call {
                seq: event.seq,
                at: event.at,
                name: "result".to_owned(),
                input: Value::Null,
                steps: 0,
                doing: String::new(),
            });
            let sort = match () {
                () if failed => Sort::Failure,
                () if tool::changes_files(&call.name) => Sort::File,
                () => Sort::Tool,
            };
            let mut html = begin(call.seq, call.at, "tool");
            let done = Done { text: &text, failed, ms: event.at.since_ms(call.at) };
            html.add(&fold(id, &call, Some(&done))).raw("</article>");
            blocks.extend(self.block(sort, call.seq, html));
        }
        // What a sub-agent was asked stands before all that it does.
        let asked =
            parts.into_iter().flatten().find_map(|part| part["text"].as_str().filter(|_| part["type"] == "text"));
        match asked {
            Some(text) if blocks.is_empty() => self.bubble(event, text),
            None if blocks.is_empty() && parts.is_none() => self.unknown(event, data),
            _ => blocks,
        }
    }

    fn message(&self, event: &Event, data: &Value) -> Vec<Block> {
        let state = data["state"].as_str().unwrap_or_default();
        match (state, data["text"].as_str()) {
            ("stored", Some(text)) => self.bubble(event, text),
            ("begun", _) => self.remark(event, Sort::Remark, "·", "heard"),
            _ => self.remark(event, Sort::Remark, "·", state),
        }
    }

    /// Words to the model.
    fn bubble(&self, event: &Event, text: &str) -> Vec<Block> {
        let mut html = begin(event.seq, event.at, "you");
        html.raw("<pre class=\"words\">").text(&cut(text, 64 << 10).0).raw("</pre></article>");
        self.block(Sort::Words, event.seq, html)
    }

    fn result(&self, event: &Event, data: &Value) -> Vec<Block> {
        let frame = &data["frame"];
        let failed = frame["is_error"] == true;
        let mut html = begin(event.seq, event.at, if failed { "end bad" } else { "end" });
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
        let mut html = begin(event.seq, event.at, "line");
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

/// A block of a sub-agent.
fn nested(block: Block) -> Block {
    let mut html = Html::new();
    html.raw("<div class=\"sub\">").add(&block.html).raw("</div>");
    Block { html, ..block }
}

/// Begins a block.
fn begin(seq: i64, at: Timestamp, class: &'static str) -> Html {
    let mut html = Html::new();
    html.raw("<article id=\"e").number(seq).raw("\" class=\"ev ").raw(class).raw("\">");
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

fn fold(id: &str, call: &Call, done: Option<&Done<'_>>) -> Html {
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
    if call.steps > 0 {
        html.raw(" <span class=\"took\">").number(call.steps).raw(" steps</span>");
    }
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
    if call.steps > 0 {
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC).to_string();
        html.raw("<p class=\"agent\"><a href=\"?agent=").text(&id).raw("&amp;from=").number(call.seq);
        html.raw("\">Its conversation</a> ").text(&call.doing).raw("</p>");
    }
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

//! `cc-anywhere watch`: what a task does, as it does it; and its questions, answered at the terminal.
//!
//! What happens goes to standard error, the result to standard output. A stream that breaks off is taken up where it
//! was.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use console::style;
use domain::{Decision, EventKind, Scope, Usd};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use wire::response::{Content, Event, FrameData, MessageData, Partial, PermissionData, Permissions, StatusData};

use super::approve;
use super::http::{Reply, Server};
use super::print::{self, Output, Task, text_of as text};

/// Time after which a server that can't be reached is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two pictures of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// Follows a task to its end. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, id: &str, output: Output) -> anyhow::Result<u8> {
    let mut watch = Watch::new(server, id, output);
    let mut lost: Option<Instant> = None;
    loop {
        match watch.follow() {
            Ok(None) => lost = None,
            Ok(Some(refusal)) => {
                watch.bar.finish_and_clear();
                return output.answer(&refusal, |_: &Value| {});
            }
            Err(error) if lost.get_or_insert_with(Instant::now).elapsed() > PATIENCE || watch.last == 0 => {
                watch.bar.finish_and_clear();
                return Err(error);
            }
            Err(_) => watch.bar.set_message("the server can't be reached; trying again"),
        }
        if let Some(code) = watch.ended() {
            return Ok(code);
        }
        super::pause(PAUSE);
    }
}

struct Watch<'a> {
    server: &'a Server,
    id: &'a str,
    output: Output,
    /// Drawn on a terminal only.
    bar: ProgressBar,
    /// The last event that was seen.
    last: i64,
    tools: usize,
    /// US dollars, of the attempts before and of this one's turns that have ended.
    spent: (Usd, Usd),
    /// The end of what the model writes now.
    writing: String,
}

impl<'a> Watch<'a> {
    fn new(server: &'a Server, id: &'a str, output: Output) -> Self {
        let bar = if output.is_json() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        bar.set_style(
            ProgressStyle::with_template("{spinner} {elapsed} {msg:.dim}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(TICK);
        Self { server, id, output, bar, last: 0, tools: 0, spent: (Usd::ZERO, Usd::ZERO), writing: String::new() }
    }

    /// Shows events until the stream ends. Returns what the server said where it refused.
    fn follow(&mut self) -> anyhow::Result<Option<Reply>> {
        let path = format!("/api/tasks/{}/events?after={}", self.id, self.last);
        let events = match self.server.stream(&path)? {
            Ok(events) => events,
            Err(refusal) => return Ok(Some(refusal)),
        };
        for line in events.lines() {
            // It broke off: what is missing comes with the next one.
            let Ok(line) = line else { return Ok(None) };
            let Some(data) = line.strip_prefix("data: ") else { continue };
            self.hear(data)?;
        }
        Ok(None)
    }

    /// Takes an event, or text while it is written. What only another version of the server knows is left out.
    fn hear(&mut self, data: &str) -> anyhow::Result<()> {
        let event = self.output.read::<Event>(data);
        self.last = event.as_ref().map_or(self.last, |event| event.seq);
        match event {
            _ if self.output.is_json() => println!("{}", self.output.json(data)),
            Ok(event) => {
                self.writing.clear();
                self.show(event.content())?;
                self.bar.set_message(self.sums(None));
            }
            Err(_) => {
                if let Ok(Partial { text, .. }) = self.output.read(data) {
                    self.write(&text);
                }
            }
        }
        Ok(())
    }

    /// Shows the end of what the model writes now.
    fn write(&mut self, text: &str) {
        self.writing += text;
        let end: String = self.writing.replace('\n', " ").chars().rev().take(50).collect();
        self.bar.set_message(format!("{} {}", self.sums(None), end.chars().rev().collect::<String>()));
    }

    /// The exit code, where the task has ended.
    fn ended(&self) -> Option<u8> {
        let reply = self.server.ask("GET", &format!("/api/tasks/{}", self.id)).ok().filter(|reply| reply.ok)?;
        let task = self.output.read::<Task>(&reply.body).ok().filter(|task| task.status.is_terminal())?;
        self.bar.finish_and_clear();
        if self.output.is_json() {
            println!("{}", self.output.json(&reply.body));
        } else {
            eprintln!("{} {}", print::status(task.status).trim_end(), style(self.sums(task.cost_usd)).dim());
            println!("{}", task.result.or(task.error.map(|error| error.message)).unwrap_or_default());
        }
        Some(print::exit_code(task.status))
    }

    /// Returns the turns and the cost so far.
    fn sums(&self, usd: Option<Usd>) -> String {
        format!("{} tool calls, ${:.4}", self.tools, usd.unwrap_or(self.spent.0 + self.spent.1))
    }

    fn show(&mut self, content: Content) -> anyhow::Result<()> {
        match content {
            Content::Status(moved) => {
                self.spent = (self.spent.0 + self.spent.1, Usd::ZERO);
                self.line(&format!("{} {}", style("·").dim(), describe(&moved)));
            }
            Content::Frame(kind, frame) => self.show_frame(kind, &frame),
            Content::Permission(question) if question.state == "asked" => self.question(&question)?,
            Content::Message(MessageData { state, text: Some(text), .. }) if state == "stored" => {
                self.line(&format!("{} {}", style("»").dim(), shortened(&text)));
            }
            Content::Log(log) => self.remark(log.message.as_deref()),
            Content::Permission(_) | Content::Message(_) | Content::Unknown => {}
        }
        Ok(())
    }

    fn show_frame(&mut self, kind: EventKind, FrameData { frame, message, .. }: &FrameData) {
        let content = frame["message"]["content"].as_array().map_or(&[][..], Vec::as_slice);
        match kind {
            EventKind::Assistant => content.iter().for_each(|part| self.line(text(&part["text"]))),
            EventKind::ToolUse => {
                for part in content.iter().filter(|part| part["name"].is_string()) {
                    self.tools += 1;
                    let (mark, name) = (style("▸").cyan(), style(text(&part["name"])).bold());
                    self.line(&format!("{mark} {name} {}", brief(&part["input"])));
                }
            }
            EventKind::ToolResult => {
                for part in content.iter().filter(|part| part["is_error"] == true) {
                    self.line(&format!("  {} {}", style("✗").red(), brief(&part["content"])));
                }
            }
            // It counts for all turns of the process.
            EventKind::Result => self.spent.1 = frame["total_cost_usd"].as_f64().map_or(self.spent.1, Usd::of),
            _ => self.remark(message.as_deref()),
        }
    }

    fn remark(&self, message: Option<&str>) {
        self.line(&style(shortened(message.unwrap_or_default())).dim().to_string());
    }

    /// Prints above the spinner, beside the way of the result.
    fn line(&self, text: &str) {
        if !text.trim().is_empty() {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }

    /// Asks the person at the terminal, and passes the answer on.
    fn question(&self, question: &PermissionData) -> anyhow::Result<()> {
        let PermissionData { tool_name: tool, request_id: request, .. } = question;
        let elsewhere = || self.line(&format!("? {tool} waits for an answer: cc-anywhere approve {}", self.id));
        if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
            elsewhere();
            return Ok(());
        }
        // Asked before, and answered by now: the events come again.
        let reply = self.server.ask("GET", &format!("/api/tasks/{}/permissions", self.id))?;
        let open = reply.content::<Permissions>().ok().map(|open| open.permissions).unwrap_or_default();
        let Some(open) = open.into_iter().find(|open| open.request_id == *request) else { return Ok(()) };
        let output = self.output;
        let ask = || match &**tool {
            "AskUserQuestion" => choose(output, &open.input),
            tool => decide(output, tool, &open.input),
        };
        let Some(decision) = self.bar.suspend(ask)? else {
            elsewhere();
            return Ok(());
        };
        let path = format!("/api/tasks/{}/permissions/{request}", self.id);
        let reply = self.server.send_json("POST", &path, &decision)?;
        if !reply.ok {
            self.line(&format!("{} {}", style("!").yellow(), self.output.text(&print::refusal(&reply))));
        }
        Ok(())
    }
}

/// A line from the terminal; `None` where the input has ended.
fn prompt(question: &str) -> anyhow::Result<Option<String>> {
    print!("{question} ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer)?;
    Ok((read > 0).then(|| answer.trim().to_owned()))
}

fn decide(output: Output, tool: &str, input: &Value) -> anyhow::Result<Option<Decision>> {
    println!("{} {} {}", style("?").yellow(), style(tool).bold(), output.text(&brief(input)));
    loop {
        let Some(answer) = prompt("allow it? [y]es, for the [s]ession, [n]o:")? else { return Ok(None) };
        match &*answer.to_lowercase() {
            "y" | "yes" => return Ok(Some(approve::allow(Scope::Once))),
            "s" | "session" => return Ok(Some(approve::allow(Scope::Session))),
            "n" | "no" => {
                let why = prompt("what is Claude told? (nothing)")?.filter(|why| !why.is_empty());
                return Ok(Some(approve::deny(why)));
            }
            _ => {}
        }
    }
}

/// Asks the model's own questions; a number stands for the option of that place.
fn choose(output: Output, input: &Value) -> anyhow::Result<Option<Decision>> {
    let shown = |value: &Value| output.text(text(value)).into_owned();
    let mut answers = Vec::new();
    for question in input["questions"].as_array().into_iter().flatten() {
        println!("{} {}", style("?").yellow(), style(shown(&question["question"])).bold());
        let options = question["options"].as_array().map_or(&[][..], Vec::as_slice);
        for (n, option) in options.iter().enumerate() {
            println!("  {}. {} {}", n + 1, shown(&option["label"]), style(shown(&option["description"])).dim());
        }
        let Some(answer) = prompt(">")? else { return Ok(None) };
        let picked = answer.parse::<usize>().ok().and_then(|n| options.get(n.checked_sub(1)?));
        answers.push(picked.map_or(answer, |option| text(&option["label"]).to_owned()));
    }
    Ok(Some(approve::with_answers(input, &answers)))
}

/// Returns the description of a change of status.
fn describe(moved: &StatusData) -> String {
    let mut line = moved.status.to_string();
    if let Some(attempt) = moved.attempt.filter(|attempt| *attempt > 1) {
        line += &format!(" (attempt {attempt})");
    }
    line += &moved.worker_id.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
    line += &moved.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
    line += &moved.due_at.map(|due| format!(", due {due}")).unwrap_or_default();
    line + &moved.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default()
}

/// Returns the most important part of a value of the model's, on one line.
fn brief(value: &Value) -> String {
    let named = ["command", "file_path", "pattern", "url", "query", "prompt", "description"];
    let first = named.iter().find_map(|name| value[*name].as_str());
    first.or(value.as_str()).map_or_else(|| shortened(&value.to_string()), shortened)
}

fn shortened(text: &str) -> String {
    text.replace('\n', " ").chars().take(120).collect()
}

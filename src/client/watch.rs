//! `cc-anywhere watch`: what a task does, as it does it; and its questions, answered where somebody sits.
//!
//! What happens goes to standard error, the result to standard output. A stream that breaks off is taken up where it
//! was.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use console::style;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::approve;
use super::http::Server;
use super::print::{self, Output, text};

/// A server that can't be reached for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two pictures of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// Follows a task to its end. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, id: &str, output: &Output) -> anyhow::Result<u8> {
    let mut watch = Watch::new(server, id, *output);
    let mut lost: Option<Instant> = None;
    loop {
        match watch.follow() {
            Ok(None) => lost = None,
            Ok(Some(refusal)) => {
                watch.bar.finish_and_clear();
                return Ok(output.answer(&(false, refusal), |_| {}));
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
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when a server comes back")]
fn pause() {
    std::thread::sleep(PAUSE);
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
    spent: (f64, f64),
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
        Self { server, id, output, bar, last: 0, tools: 0, spent: (0.0, 0.0), writing: String::new() }
    }

    /// Shows events until the stream ends. Returns what the server said where it refused.
    fn follow(&mut self) -> anyhow::Result<Option<Value>> {
        let path = format!("/api/tasks/{}/events?after={}", self.id, self.last);
        let events = match self.server.stream(&path)? {
            Ok(events) => events,
            Err(refusal) => return Ok(Some(refusal)),
        };
        for line in events.lines() {
            // It broke off: what is missing comes with the next one.
            let Ok(line) = line else { return Ok(None) };
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let event: Value = serde_json::from_str(data).unwrap_or_default();
            if self.output.is_json() {
                self.last = event["seq"].as_i64().unwrap_or(self.last);
                println!("{event}");
            } else {
                self.show(&event)?;
            }
        }
        Ok(None)
    }

    /// The exit code, where the task has ended.
    fn ended(&self) -> Option<u8> {
        let (ok, task) = self.server.ask("GET", &format!("/api/tasks/{}", self.id), None).ok()?;
        if !ok || !["completed", "failed", "cancelled"].contains(&text(&task["status"])) {
            return None;
        }
        self.bar.finish_and_clear();
        if self.output.is_json() {
            println!("{task}");
        } else {
            eprintln!(
                "{} {}",
                print::status(text(&task["status"])).trim_end(),
                style(self.sums(task["costUsd"].as_f64())).dim()
            );
            println!("{}", task["result"].as_str().or(task["error"]["message"].as_str()).unwrap_or_default());
        }
        Some(print::exit_code(&task))
    }

    /// How much was done and spent so far.
    fn sums(&self, usd: Option<f64>) -> String {
        format!("{} tool calls, ${:.4}", self.tools, usd.unwrap_or(self.spent.0 + self.spent.1))
    }

    fn show(&mut self, event: &Value) -> anyhow::Result<()> {
        let data = &event["data"];
        if text(&event["kind"]).is_empty() {
            // Text while it is written.
            self.writing += text(&event["text"]);
            let end: String = self.writing.replace('\n', " ").chars().rev().take(50).collect();
            self.bar.set_message(format!("{} {}", self.sums(None), end.chars().rev().collect::<String>()));
            return Ok(());
        }
        self.last = event["seq"].as_i64().unwrap_or(self.last);
        self.writing.clear();
        let content = data["frame"]["message"]["content"].as_array().map_or(&[][..], Vec::as_slice);
        match text(&event["kind"]) {
            "status" => {
                self.spent = (self.spent.0 + self.spent.1, 0.0);
                self.line(&format!("{} {}", style("·").dim(), moved(data)));
            }
            "assistant" => content.iter().for_each(|part| self.line(text(&part["text"]))),
            "tool_use" => {
                for part in content.iter().filter(|part| part["name"].is_string()) {
                    self.tools += 1;
                    self.line(&format!(
                        "{} {} {}",
                        style("▸").cyan(),
                        style(text(&part["name"])).bold(),
                        brief(&part["input"])
                    ));
                }
            }
            "tool_result" => {
                for part in content.iter().filter(|part| part["is_error"] == true) {
                    self.line(&format!("  {} {}", style("✗").red(), brief(&part["content"])));
                }
            }
            // It counts for all turns of the process.
            "result" => self.spent.1 = data["frame"]["total_cost_usd"].as_f64().unwrap_or(self.spent.1),
            "permission" if data["state"] == "asked" => self.question(data)?,
            "message" if data["state"] == "stored" => {
                self.line(&format!("{} {}", style("»").dim(), brief(&data["text"])))
            }
            "log" | "retry" if data["message"].is_string() => {
                self.line(&style(brief(&data["message"])).dim().to_string())
            }
            _ => {}
        }
        self.bar.set_message(self.sums(None));
        Ok(())
    }

    /// Prints above the spinner, beside the way of the result.
    fn line(&self, text: &str) {
        if !text.trim().is_empty() {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }

    /// Asks whoever sits at the terminal, and passes the answer on.
    fn question(&self, question: &Value) -> anyhow::Result<()> {
        let (tool, request) = (text(&question["toolName"]), text(&question["requestId"]));
        let elsewhere = || self.line(&format!("? {tool} waits for an answer: cc-anywhere approve {}", self.id));
        if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
            elsewhere();
            return Ok(());
        }
        // Asked before, and answered by now: the events come again.
        let (_, open) = self.server.ask("GET", &format!("/api/tasks/{}/permissions", self.id), None)?;
        let open = open["permissions"]
            .as_array()
            .and_then(|open| open.iter().find(|one| one["requestId"] == request))
            .cloned();
        let Some(open) = open else { return Ok(()) };
        let input = &open["input"];
        let ask = || if tool == "AskUserQuestion" { choose(input) } else { decide(tool, input) };
        let Some(decision) = self.bar.suspend(ask)? else {
            elsewhere();
            return Ok(());
        };
        let path = format!("/api/tasks/{}/permissions/{request}", self.id);
        let (_, answer) = self.server.ask("POST", &path, Some(&decision))?;
        if let Some(message) = answer["error"]["message"].as_str() {
            self.line(&format!("{} {message}", style("!").yellow()));
        }
        Ok(())
    }
}

/// A line from the terminal; `None` where nobody answers any more.
fn prompt(question: &str) -> anyhow::Result<Option<String>> {
    print!("{question} ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer)?;
    Ok((read > 0).then(|| answer.trim().to_owned()))
}

fn decide(tool: &str, input: &Value) -> anyhow::Result<Option<Value>> {
    println!("{} {} {}", style("?").yellow(), style(tool).bold(), brief(input));
    loop {
        let Some(answer) = prompt("allow it? [y]es, for the [s]ession, [n]o:")? else { return Ok(None) };
        match &*answer.to_lowercase() {
            "y" | "yes" => return Ok(Some(json!({ "behavior": "allow", "scope": "once" }))),
            "s" | "session" => return Ok(Some(json!({ "behavior": "allow", "scope": "session" }))),
            "n" | "no" => {
                let why = prompt("what is Claude told? (nothing)")?.filter(|why| !why.is_empty());
                return Ok(Some(json!({ "behavior": "deny", "message": why })));
            }
            _ => {}
        }
    }
}

/// Asks the model's own questions; a number stands for the option of that place.
fn choose(input: &Value) -> anyhow::Result<Option<Value>> {
    let mut answers = Vec::new();
    for question in input["questions"].as_array().into_iter().flatten() {
        println!("{} {}", style("?").yellow(), style(text(&question["question"])).bold());
        let options = question["options"].as_array().map_or(&[][..], Vec::as_slice);
        for (n, option) in options.iter().enumerate() {
            println!("  {}. {} {}", n + 1, text(&option["label"]), style(text(&option["description"])).dim());
        }
        let Some(answer) = prompt(">")? else { return Ok(None) };
        let picked = answer.parse::<usize>().ok().and_then(|n| options.get(n.checked_sub(1)?));
        answers.push(picked.map_or(answer, |option| text(&option["label"]).to_owned()));
    }
    Ok(Some(approve::with_answers(input, &answers)))
}

/// Where a task went.
fn moved(data: &Value) -> String {
    let mut line = text(&data["status"]).to_owned();
    if let Some(attempt) = data["attempt"].as_i64().filter(|attempt| *attempt > 1) {
        line += &format!(" (attempt {attempt})");
    }
    for (before, key) in [(" on ", "workerId"), (", ", "reason"), (", due ", "dueAt")] {
        line += &data[key].as_str().map(|text| format!("{before}{text}")).unwrap_or_default();
    }
    line + &data["error"]["message"].as_str().map(|text| format!(": {text}")).unwrap_or_default()
}

/// What matters of a value, on one line.
fn brief(value: &Value) -> String {
    let named = ["command", "file_path", "pattern", "url", "query", "prompt", "description"];
    let first = named.iter().find_map(|name| value[*name].as_str());
    let text = first.or(value.as_str()).map_or_else(|| value.to_string(), str::to_owned);
    text.replace('\n', " ").chars().take(120).collect()
}

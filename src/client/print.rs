//! How answers are printed: for people, or as they came.

use console::style;
use serde_json::Value;

/// How the answer is printed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Output {
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

impl Output {
    /// Whether it is for a program.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Prints an answer; `people` prints one that is a success. Returns the exit code.
    pub fn answer(self, (ok, answer): &(bool, Value), people: impl FnOnce(&Value)) -> u8 {
        match (*ok, self.json) {
            (_, true) => println!("{answer}"),
            (true, false) => people(answer),
            (false, false) => refusal(answer),
        }
        u8::from(!ok)
    }
}

fn refusal(answer: &Value) {
    match (text(&answer["error"]["message"]), text(&answer["error"]["code"])) {
        ("", _) => eprintln!("{answer}"),
        (message, code) => eprintln!("{message} ({code})"),
    }
}

/// The text of a value, or nothing.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The exit code of a task that has ended.
pub fn exit_code(task: &Value) -> u8 {
    match text(&task["status"]) {
        "completed" => 0,
        "cancelled" => 3,
        _ => 1,
    }
}

/// A status, in its colour.
pub fn status(name: &str) -> String {
    let padded = format!("{name:9}");
    match name {
        "completed" => style(padded).green(),
        "failed" => style(padded).red(),
        "running" => style(padded).cyan(),
        "cancelled" => style(padded).yellow(),
        _ => style(padded),
    }
    .to_string()
}

/// The first words of an instruction, on one line.
fn brief(instruction: &str) -> String {
    instruction.lines().next().unwrap_or_default().chars().take(60).collect()
}

/// A task on one line.
pub fn line(task: &Value) {
    let (id, at) = (text(&task["taskId"]), text(&task["createdAt"]));
    println!("{id}  {}  {at}  {}", status(text(&task["status"])), brief(text(&task["instruction"])));
}

/// Tasks, a line each.
pub fn tasks(page: &Value) {
    page["tasks"].as_array().into_iter().flatten().for_each(line);
}

/// The id of a task that was submitted.
pub fn id(task: &Value) {
    println!("{}", text(&task["taskId"]));
}

/// The ids of tasks.
pub fn ids(tasks: &Value) {
    tasks.as_array().into_iter().flatten().for_each(id);
}

/// A task, whole.
pub fn task(task: &Value) {
    line(task);
    for (name, key) in [
        ("folder", "workingDirectory"),
        ("started", "startedAt"),
        ("ended", "completedAt"),
        ("due", "dueAt"),
        ("worker", "workerId"),
        ("session", "sdkSessionId"),
        ("attempt", "attempt"),
        ("turns", "numTurns"),
        ("tags", "tags"),
        ("waits for", "waitingFor"),
    ] {
        let shown = match &task[key] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(all) if all.is_empty() => continue,
            other => other.to_string(),
        };
        println!("{:>10}  {shown}", style(name).dim());
    }
    if let Some(usd) = task["costUsd"].as_f64() {
        println!("{:>10}  ${usd:.4}", style("cost").dim());
    }
    if let Some(code) = task["error"]["code"].as_str() {
        println!("{:>10}  {} {}", style("error").dim(), style(code).red(), text(&task["error"]["message"]));
    }
    if let Some(result) = task["result"].as_str() {
        println!("\n{result}");
    }
}

/// Why a task isn't running.
pub fn reasons(answer: &Value) {
    if let Some(position) = answer["position"].as_i64() {
        println!("place {position}");
    }
    for reason in answer["reasons"].as_array().into_iter().flatten() {
        let until = reason["until"].as_str().map(|until| format!(", until {until}")).unwrap_or_default();
        println!("{}: {}{until}", style(text(&reason["code"])).bold(), text(&reason["message"]));
    }
}

/// Workers, a line each.
pub fn workers(answer: &Value) {
    for worker in answer["workers"].as_array().into_iter().flatten() {
        let (running, most) = (&worker["running"], &worker["concurrency"]);
        let connected = if worker["connected"] == true { "connected" } else { "gone" };
        println!(
            "{:12}  pid {:8}  {connected:9}  {running}/{most} tasks  {} restarts",
            text(&worker["workerId"]),
            worker["pid"].to_string(),
            worker["restartCount"]
        );
    }
}

/// What was spent, a line for each day and key.
pub fn usage(answer: &Value) {
    for day in answer["days"].as_array().into_iter().flatten() {
        let usd = day["costUsd"].as_f64().unwrap_or_default();
        let (attempts, tokens) = (&day["attempts"], &day["tokens"]);
        println!(
            "{}  {:12}  ${usd:9.4}  {attempts:>6} attempts  {:>9} in  {:>9} out",
            text(&day["day"]),
            text(&day["key"]),
            tokens["input"],
            tokens["output"]
        );
    }
    println!("total ${:.4}", answer["totalUsd"].as_f64().unwrap_or_default());
    if let Some(left) = answer["today"]["server"]["leftUsd"].as_f64() {
        println!("left today ${left:.4}");
    }
}

/// How the server is.
pub fn health(answer: &Value) {
    let queue = &answer["queue"];
    println!(
        "{}: {} pending, {} running, {} workers ({})",
        text(&answer["status"]),
        queue["pending"],
        queue["running"],
        answer["workers"]["count"],
        text(&answer["workerMode"])
    );
}

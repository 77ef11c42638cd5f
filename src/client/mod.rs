//! The client's commands, over HTTP. Talks to the server only, as any other client does.

mod approve;
mod doctor;
mod http;

use std::io::{BufRead, Read};

use clap::Subcommand;
use serde_json::{Value, json};

use http::Server;

/// A command of the client.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submit a task
    Submit {
        /// What Claude is to do; `-` reads it from standard input
        instruction: String,
        /// The folder to work in
        #[arg(long)]
        dir: Option<std::path::PathBuf>,
        /// Tools that need no permission, such as Bash or "Bash(git *)"
        #[arg(long = "allow")]
        allowed_tools: Vec<String>,
        /// Follow it to its end; the exit code tells the outcome
        #[arg(long)]
        wait: bool,
    },
    /// List tasks, newest first
    Tasks {
        /// Only in this status
        #[arg(long)]
        status: Option<String>,
    },
    /// Show a task
    Show {
        /// Its id
        id: String,
    },
    /// Follow a task to its end; the exit code tells the outcome
    Watch {
        /// Its id
        id: String,
    },
    /// Cancel a task
    Cancel {
        /// Its id
        id: String,
    },
    /// Answer a question of a task
    Approve(approve::Approve),
    /// Say something to a task: a further turn
    Say {
        /// Its id
        id: String,
        /// What; `-` reads it from standard input
        text: String,
    },
    /// Stop the turn of a task, and keep its session
    Interrupt {
        /// Its id
        id: String,
    },
    /// Run a task that has ended again, as a new task
    Retry {
        /// Its id
        id: String,
    },
    /// List the workers
    Workers,
    /// Ask how the server is
    Health,
    /// Say what is missing on this machine, and how to mend it
    Doctor(crate::config::Flags),
}

/// Runs a command. Returns the exit code: 0 when it succeeded, 1 when the server refused or
/// the task failed, 2 for a bad setting.
///
/// # Errors
/// The server can't be reached.
pub fn run(command: Command) -> anyhow::Result<u8> {
    crate::process::end_with_closed_pipes();
    if let Command::Doctor(flags) = command {
        return doctor::run(&flags);
    }
    let server = Server::find()?;
    match command {
        Command::Submit { instruction, dir, allowed_tools, wait } => {
            let context = match dir {
                Some(dir) => json!({ "workingDirectory": std::fs::canonicalize(dir)? }),
                None => json!({}),
            };
            let options = json!({ "sdk": { "allowedTools": allowed_tools } });
            let body = json!({ "instruction": read_instruction(instruction)?, "context": context, "options": options });
            let (ok, task) = server.ask("POST", "/api/tasks", Some(&body))?;
            if ok && wait {
                return watch(&server, task["taskId"].as_str().unwrap_or_default());
            }
            Ok(print(ok, &task))
        }
        Command::Tasks { status } => {
            let query = status.map(|status| format!("?status={status}")).unwrap_or_default();
            let (ok, page) = server.ask("GET", &format!("/api/tasks{query}"), None)?;
            match page["tasks"].as_array() {
                Some(tasks) if ok => tasks.iter().for_each(print_line),
                _ => return Ok(print(ok, &page)),
            }
            Ok(0)
        }
        Command::Show { id } => show(&server, "GET", &format!("/api/tasks/{id}")),
        Command::Watch { id } => watch(&server, &id),
        Command::Cancel { id } => show(&server, "DELETE", &format!("/api/tasks/{id}")),
        Command::Approve(approve) => {
            let (ok, answer) = approve::run(&server, &approve)?;
            Ok(print(ok, &answer))
        }
        Command::Say { id, text } => {
            let body = json!({ "text": read_instruction(text)? });
            let (ok, answer) = server.ask("POST", &format!("/api/tasks/{id}/messages"), Some(&body))?;
            Ok(print(ok, &answer))
        }
        Command::Interrupt { id } => show(&server, "POST", &format!("/api/tasks/{id}/interrupt")),
        Command::Retry { id } => show(&server, "POST", &format!("/api/tasks/{id}/retry")),
        Command::Workers => show(&server, "GET", "/api/workers"),
        Command::Health => show(&server, "GET", "/health"),
        Command::Doctor(_) => Ok(0),
    }
}

fn read_instruction(instruction: String) -> anyhow::Result<String> {
    if instruction != "-" {
        return Ok(instruction);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn show(server: &Server, method: &str, path: &str) -> anyhow::Result<u8> {
    let (ok, answer) = server.ask(method, path, None)?;
    Ok(print(ok, &answer))
}

fn print(ok: bool, answer: &Value) -> u8 {
    println!("{answer:#}");
    u8::from(!ok)
}

fn print_line(task: &Value) {
    let text = |key: &str| task[key].as_str().unwrap_or_default();
    let instruction: String = text("instruction").lines().next().unwrap_or_default().chars().take(60).collect();
    println!("{}  {:9}  {}  {instruction}", text("taskId"), text("status"), text("createdAt"));
}

/// Prints the events of a task as they come, then its result.
fn watch(server: &Server, id: &str) -> anyhow::Result<u8> {
    let events = match server.stream(&format!("/api/tasks/{id}/events"))? {
        Ok(events) => events,
        Err(refusal) => return Ok(print(false, &refusal)),
    };
    for line in events.lines() {
        let line = line?;
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        if event["seq"].is_i64() {
            println!("{} {}", event["kind"].as_str().unwrap_or_default(), brief(&event["data"]));
        }
    }
    let (ok, task) = server.ask("GET", &format!("/api/tasks/{id}"), None)?;
    println!("{}", task["result"].as_str().or(task["error"]["message"].as_str()).unwrap_or_default());
    Ok(u8::from(!ok || task["status"] != "completed"))
}

/// What matters of an event, on one line.
fn brief(data: &Value) -> String {
    let content = &data["frame"]["message"]["content"][0];
    let text = content["text"].as_str().or(content["name"].as_str()).or(data["status"].as_str());
    let text = text.or(data["message"].as_str()).unwrap_or_default();
    text.replace('\n', " ").chars().take(120).collect()
}

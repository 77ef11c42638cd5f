//! A scripted stand-in of the Messages API, on loopback: the real CLI asks it, and does what
//! it says. What it answers stands in the instruction, one step a line:
//!
//! ```text
//! step say TEXT             the answer; the turn ends
//! step write PATH TEXT      a call of the Write tool
//! step bash COMMAND         a call of the Bash tool
//! step tool NAME JSON       a call of any tool, its input to the letter
//! step json "TEXT"          the answer as it stands in JSON: half an emoji, say
//! step stop REASON TEXT     an answer that ends for another reason than the end of the turn
//! step slow TEXT            the answer, word by word, 50 ms apart
//! step delay MS             the next step is answered after this time
//! step error STATUS TEXT    an HTTP error
//! step limit SECONDS        the account's limit, until so many seconds from the first time on
//! ```
//!
//! A test may also [script](Model::script) what follows on a plain instruction.
//!
//! The step is chosen by how many tool results, and how many notes that something has ended in the background,
//! stand behind the newest text with steps, so that the stand-in needs no state of its own. Without steps it
//! says `ok`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// A request that the stand-in answered.
#[derive(Clone, Debug)]
pub struct Call {
    /// The newest text with steps, else the first text: the instruction, word for word.
    pub instruction: String,
    /// The whole body.
    pub body: Value,
    /// Which step it was answered with.
    pub step: usize,
    /// The key that it showed.
    pub key: String,
    /// When it came.
    pub at: Instant,
}

/// A running stand-in; it ends with the process.
#[derive(Clone)]
pub struct Model {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    scripts: Scripts,
}

/// Steps by the first line of an instruction that has none of its own.
type Scripts = Arc<Mutex<HashMap<String, String>>>;

impl Model {
    /// Starts on this port; 0 takes a free one.
    pub fn start(port: u16) -> Self {
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let data = Data::new(Arc::clone(&calls));
        let scripts = Scripts::default();
        let known = Data::new(Arc::clone(&scripts));
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                HttpServer::new(move || {
                    App::new()
                        .app_data(data.clone())
                        .app_data(known.clone())
                        .app_data(web::PayloadConfig::new(64 << 20))
                        .route("/v1/messages", web::post().to(messages))
                        .route("/v1/messages/count_tokens", web::post().to(count_tokens))
                })
                .workers(2)
                .disable_signals()
                .listen(listener)
                .expect("a server")
                .run()
                .await
            })
        });
        Self { url, calls, scripts }
    }

    /// What it does when it is told this.
    pub fn script(&self, told: &str, steps: &[&str]) {
        let steps: Vec<_> = steps.iter().map(|step| format!("step {step}")).collect();
        self.scripts.lock().expect("scripts").insert(told.to_owned(), format!("{told}\n{}", steps.join("\n")));
    }

    /// Every request so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("calls").clone()
    }

    /// Number of conversations began with an instruction that contains `text`.
    pub fn begun(&self, text: &str) -> usize {
        self.calls().iter().filter(|call| call.step == 0 && call.instruction.contains(text)).count()
    }
}

async fn count_tokens() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "input_tokens": 10 }))
}

/// The account's limit.
fn refused_until(reset: SystemTime) -> HttpResponse {
    // Whole seconds, and not before the end.
    let reset = reset.duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs() + 1;
    let error = json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "scripted limit" } });
    HttpResponse::TooManyRequests()
        .insert_header(("anthropic-ratelimit-unified-status", "rejected"))
        .insert_header(("anthropic-ratelimit-unified-reset", reset.to_string()))
        .insert_header(("anthropic-ratelimit-unified-representative-claim", "five_hour"))
        .json(error)
}

/// Keeps the call. Returns how long ago the first one like it was.
fn note(calls: &Mutex<Vec<Call>>, call: Call) -> Duration {
    let mut calls = calls.lock().expect("calls");
    let first = calls.iter().find(|one| one.instruction == call.instruction && one.step == call.step);
    let since_first = first.map(|first| first.at.elapsed()).unwrap_or_default();
    calls.push(call);
    since_first
}

async fn messages(
    request: HttpRequest,
    body: Bytes,
    calls: Data<Arc<Mutex<Vec<Call>>>>,
    scripts: Data<Scripts>,
) -> HttpResponse {
    let body: Value = serde_json::from_slice(&shallow(&body)).expect("a body");
    let key = request.headers().get("x-api-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let (instruction, step) = turn(&body, &scripts);
    let since_first = note(&calls, Call { instruction: instruction.clone(), step, key, body, at: Instant::now() });
    let (delay, action) = action(&instruction, step);
    actix_web::rt::time::sleep(delay).await;
    let (verb, rest) = action.split_once(' ').unwrap_or((&action, ""));
    match verb {
        "error" => {
            let (status, text) = rest.trim().split_once(' ').unwrap_or((rest.trim(), "scripted"));
            let status = actix_web::http::StatusCode::from_u16(status.parse().unwrap_or(500)).expect("a status");
            let kind = match status.as_u16() {
                400 => "invalid_request_error",
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found_error",
                413 => "request_too_large",
                _ => "api_error",
            };
            let error = json!({ "type": "error", "error": { "type": kind, "message": text } });
            HttpResponse::build(status).json(error)
        }
        "limit" => {
            let limit = Duration::from_secs(rest.trim().parse().unwrap_or(1));
            match limit.checked_sub(since_first).filter(|left| !left.is_zero()) {
                Some(left) => refused_until(SystemTime::now() + left),
                None => stream(vec!["ok".to_owned()], Duration::ZERO),
            }
        }
        "json" => respond(told(&[rest.to_owned()], "end_turn"), Duration::ZERO),
        "stop" => {
            let (reason, text) = rest.split_once(' ').unwrap_or((rest, ""));
            respond(told(&[json!(text).to_string()], reason), Duration::ZERO)
        }
        "write" => {
            let (path, text) = rest.split_once(' ').unwrap_or((rest, ""));
            tool("Write", &json!({ "file_path": path, "content": text }).to_string())
        }
        "bash" => tool("Bash", &json!({ "command": rest, "description": "scripted", "timeout": 600_000 }).to_string()),
        "tool" => {
            let (name, input) = rest.split_once(' ').unwrap_or((rest, "{}"));
            tool(name, input)
        }
        "slow" => stream(words(rest), Duration::from_millis(50)),
        "say" => stream(vec![rest.to_owned()], Duration::ZERO),
        _ => stream(vec!["ok".to_owned()], Duration::ZERO),
    }
}

/// A body without what is nested deeper than serde_json reads.
fn shallow(body: &[u8]) -> Vec<u8> {
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    let mut kept = Vec::with_capacity(body.len());
    for byte in body {
        match byte {
            _ if in_text => {
                in_text = escaped || *byte != b'"';
                escaped = !escaped && *byte == b'\\';
            }
            b'"' => in_text = true,
            b'[' | b'{' => depth += 1,
            _ => {}
        }
        if depth <= 100 {
            kept.push(*byte);
        }
        if !in_text && matches!(byte, b']' | b'}') {
            depth -= 1;
        }
    }
    kept
}

/// The newest text with steps, else the first text, and how many tool results follow it.
fn turn(body: &Value, scripts: &Scripts) -> (String, usize) {
    let scripts = scripts.lock().expect("scripts");
    let messages = body["messages"].as_array().into_iter().flatten();
    let blocks = messages.flat_map(|message| match &message["content"] {
        Value::String(text) => vec![json!({ "type": "text", "text": text })],
        content => content.as_array().cloned().unwrap_or_default(),
    });
    let mut turn: Option<(String, usize)> = None;
    for block in blocks {
        let text = block["text"].as_str().filter(|text| !text.starts_with("<system-reminder>"));
        let text = text.map(|text| scripts.get(text).map_or(text, String::as_str));
        let has_steps = text.is_some_and(|text| text.lines().any(|line| line.trim().starts_with("step ")));
        match (&mut turn, text) {
            (Some(_), Some(text)) if has_steps => turn = Some((text.to_owned(), 0)),
            (None, Some(text)) => turn = Some((text.to_owned(), 0)),
            (Some((_, results)), None) if block["type"] == "tool_result" => *results += 1,
            (Some((_, results)), Some(text)) if text.contains("<task-notification>") => *results += 1,
            _ => {}
        }
    }
    turn.unwrap_or_default()
}

fn action(instruction: &str, step: usize) -> (Duration, String) {
    let mut delay = Duration::ZERO;
    let mut actions = Vec::new();
    for line in instruction.lines().filter_map(|line| line.trim().strip_prefix("step ")) {
        match line.strip_prefix("delay ") {
            Some(ms) => delay = Duration::from_millis(ms.trim().parse().unwrap_or(0)),
            None => actions.push((std::mem::take(&mut delay), line.to_owned())),
        }
    }
    actions.get(step).cloned().unwrap_or((Duration::ZERO, "say ok".to_owned()))
}

fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

fn event(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

fn start_of_message() -> Bytes {
    event(
        "message_start",
        &json!({ "type": "message_start", "message": {
            "id": format!("msg_{}", uuid::Uuid::new_v4().simple()), "type": "message", "role": "assistant", "model": "claude-scripted", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 10, "output_tokens": 1 },
        }}),
    )
}

fn end_of_message(reason: &str) -> Vec<Bytes> {
    vec![
        event("content_block_stop", &json!({ "type": "content_block_stop", "index": 0 })),
        event(
            "message_delta",
            &json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null },
                "usage": { "output_tokens": 5 } }),
        ),
        event("message_stop", &json!({ "type": "message_stop" })),
    ]
}

fn tool(name: &str, input: &str) -> HttpResponse {
    let id = format!("toolu_{}", uuid::Uuid::new_v4().simple());
    let mut chunks = vec![
        start_of_message(),
        event(
            "content_block_start",
            &json!({ "type": "content_block_start", "index": 0,
                "content_block": { "type": "tool_use", "id": id, "name": name, "input": {} } }),
        ),
        event(
            "content_block_delta",
            &json!({ "type": "content_block_delta", "index": 0,
                "delta": { "type": "input_json_delta", "partial_json": input } }),
        ),
    ];
    chunks.extend(end_of_message("tool_use"));
    respond(chunks, Duration::ZERO)
}

fn stream(texts: Vec<String>, pause: Duration) -> HttpResponse {
    let texts: Vec<_> = texts.iter().map(|text| json!(text).to_string()).collect();
    respond(told(&texts, "end_turn"), pause)
}

/// A message of texts, each as it stands in JSON.
fn told(texts: &[String], reason: &str) -> Vec<Bytes> {
    let mut chunks = vec![
        start_of_message(),
        event(
            "content_block_start",
            &json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        ),
    ];
    chunks.extend(texts.iter().map(|text| {
        let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"#;
        Bytes::from(format!("event: content_block_delta\ndata: {delta}{text}}}}}\n\n"))
    }));
    chunks.extend(end_of_message(reason));
    chunks
}

fn respond(chunks: Vec<Bytes>, pause: Duration) -> HttpResponse {
    let body = futures_util::stream::iter(chunks).then(move |chunk| async move {
        if !pause.is_zero() {
            actix_web::rt::time::sleep(pause).await;
        }
        Ok::<_, actix_web::Error>(chunk)
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(body)
}

//! `GET /ws`: the same news over a WebSocket, as clients of cc-anywhere know them.
//!
//! Messages both ways are `{"type", "payload"}`. The client says `auth` (unless its request showed the key),
//! `subscribe` and `unsubscribe` with a `taskId` or `"*"`, and `ping`; it hears `task-update`, `task-log` and
//! `task-complete`. What goes wrong is an `error`, and the connection stays.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Closed, Session};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::feed::Wanted;
use super::super::guard;
use super::super::shared::Shared;
use super::super::streams::StreamPermit;
use super::resource;
use crate::process::wall_now;
use crate::queue::{FeedFollower, Find, SequencedEvent};
use crate::service::Phase;
use crate::telemetry::meters;
use domain::{EventKind, Named as _, TaskId};
use wire::response::TaskView;
use wire::{KeyScope, Task};

/// Longest time without a key; then the client is cut off.
const AUTH_LIMIT: Duration = Duration::from_secs(10);
/// Time between two pings.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Longest silence of a client, which answers pings; then it is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest message of a client, in bytes.
const MAX_MESSAGE: usize = 64 << 10;
/// Subscriptions of one connection.
const MAX_SUBSCRIPTIONS: usize = 1_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/ws").get(connect));
}

async fn connect(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let refused = |error: actix_web::Error| {
        let message = format!("open a WebSocket here: {error}");
        ApiError::new(actix_web::http::StatusCode::BAD_REQUEST, "NO_WEBSOCKET", message)
    };
    let address = request.peer_addr().map(|address| address.ip());
    let caller = match guard::check_key(request.headers(), &shared, address).await {
        // It may be shown inside.
        Err(error) if error.is_unauthorized() => None,
        caller => Some(caller?),
    };
    let guest = caller.map(|caller| Guest::of(&shared, caller)).transpose()?;
    let (response, session, messages) = actix_ws::handle(&request, payload).map_err(refused)?;
    let follower = shared.tail.follow(None).await?;
    let connection =
        Connection { shared, session, address, guest, all: false, tasks: HashSet::new(), told: HashSet::new() };
    actix_web::rt::spawn(connection.run(messages.max_frame_size(MAX_MESSAGE).aggregate_continuations(), follower));
    Ok(response)
}

/// Frame of a client.
#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
enum ClientFrame {
    Auth {
        #[serde(rename = "apiKey")]
        api_key: String,
    },
    Subscribe {
        #[serde(rename = "taskId")]
        task_id: String,
    },
    Unsubscribe {
        #[serde(rename = "taskId")]
        task_id: String,
    },
    Ping(#[serde(default)] Option<Value>),
}

/// A caller that has shown a key.
struct Guest {
    caller: Caller,
    permit: StreamPermit,
    /// Events that it sees.
    wanted: Wanted,
}

impl Guest {
    fn of(shared: &Shared, caller: Caller) -> Result<Self, ApiError> {
        if !caller.may(KeyScope::Read) {
            return Err(ApiError::forbidden("SCOPE_MISSING", "this key has not the scope read"));
        }
        let permit = shared.streams.open(&shared.keys, &caller)?;
        Ok(Self { wanted: Wanted::all(&caller), caller, permit })
    }
}

struct Connection {
    shared: Data<Shared>,
    session: Session,
    address: Option<IpAddr>,
    /// The caller, once it has shown a key.
    guest: Option<Guest>,
    /// True if it wants all tasks.
    all: bool,
    tasks: HashSet<TaskId>,
    /// Tasks of whose end it was told when it subscribed.
    told: HashSet<TaskId>,
}

impl Connection {
    async fn run(mut self, mut messages: AggregatedMessageStream, mut follower: FeedFollower) {
        let _counted = meters().stream("ws");
        let (begun, mut heard) = (Instant::now(), Instant::now());
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut phase = self.shared.phase.clone();
        let end = loop {
            let done = tokio::select! {
                message = messages.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(AggregatedMessage::Text(text))) => self.hear(&text).await,
                        Some(Ok(AggregatedMessage::Ping(bytes))) => self.session.pong(&bytes).await,
                        Some(Ok(AggregatedMessage::Binary(_))) => self.error("INVALID_MESSAGE", "send text").await,
                        Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
                        Some(Ok(AggregatedMessage::Close(_))) | None => break None,
                        Some(Err(error)) => break Some((CloseCode::Protocol, error.to_string())),
                    }
                }
                events = follower.next() => match events {
                    Ok(events) => self.tell_all(&events).await,
                    Err(_) => break Some((CloseCode::Error, "the store did not answer".to_owned())),
                },
                _ = heartbeat.tick() => {
                    if heard.elapsed() > SILENCE {
                        break Some((CloseCode::Away, "nothing was heard of you".to_owned()));
                    }
                    if let Some(guest) = &self.guest && !guest.permit.is_good().await {
                        break Some((CloseCode::Policy, "the key is not good any more".to_owned()));
                    }
                    self.session.ping(b"").await
                }
                () = tokio::time::sleep_until(begun + AUTH_LIMIT), if self.guest.is_none() => {
                    break Some((CloseCode::Policy, "no key was shown in time".to_owned()));
                }
                _ = phase.changed() => match *phase.borrow() {
                    Phase::Stopping => break Some((CloseCode::Restart, "the server stops".to_owned())),
                    _ => Ok(()),
                },
            };
            if done.is_err() {
                return;
            }
        };
        let reason = end.map(|(code, why)| CloseReason { code, description: Some(why) });
        // Gone already, if this fails.
        drop(self.session.close(reason).await);
    }

    async fn send(&mut self, kind: &str, payload: Value) -> Result<(), Closed> {
        self.session.text(json!({ "type": kind, "payload": payload }).to_string()).await
    }

    async fn error(&mut self, code: &str, message: &str) -> Result<(), Closed> {
        self.send("error", json!({ "code": code, "message": message })).await
    }

    async fn refuse(&mut self, error: &ApiError) -> Result<(), Closed> {
        self.error(error.code(), error.message()).await
    }

    async fn hear(&mut self, text: &str) -> Result<(), Closed> {
        let said: ClientFrame = match serde_json::from_str(text) {
            Ok(said) => said,
            Err(error) => {
                let rule = "say {\"type\": \"auth\" | \"subscribe\" | \"unsubscribe\" | \"ping\", \"payload\": …}";
                return self.error("INVALID_MESSAGE", &format!("{rule}: {error}")).await;
            }
        };
        match said {
            ClientFrame::Auth { api_key } => {
                let found = guard::find_key(api_key.trim(), &self.shared, self.address).await;
                match found.and_then(|caller| Guest::of(&self.shared, caller)) {
                    Ok(guest) => {
                        self.guest = Some(guest);
                        self.send("auth-success", json!({})).await
                    }
                    Err(error) => self.refuse(&error).await,
                }
            }
            ClientFrame::Ping(payload) => {
                self.send("pong", payload.unwrap_or(json!({ "timestamp": wall_now() }))).await
            }
            _ if self.guest.is_none() => self.error("UNAUTHORIZED", "say auth first, with payload.apiKey").await,
            ClientFrame::Subscribe { task_id } => self.subscribe(&task_id).await,
            ClientFrame::Unsubscribe { task_id } => {
                match str::parse::<TaskId>(&task_id) {
                    Ok(task) => {
                        self.tasks.remove(&task);
                        self.told.remove(&task);
                    }
                    Err(_) => self.all &= task_id != "*",
                }
                self.send("unsubscribe-success", json!({ "taskId": task_id })).await
            }
        }
    }

    /// Follows a task from now on; its status comes first.
    async fn subscribe(&mut self, id: &str) -> Result<(), Closed> {
        if id == "*" {
            self.all = true;
            return self.send("subscribe-success", json!({ "taskId": id })).await;
        }
        if self.tasks.len() >= MAX_SUBSCRIPTIONS {
            let most = format!("a connection has at most {MAX_SUBSCRIPTIONS} subscriptions; subscribe to \"*\"");
            return self.error("TOO_MANY_SUBSCRIPTIONS", &most).await;
        }
        let task = match str::parse::<TaskId>(id) {
            Ok(task) => self.shared.queue.ask(Find(task)).await,
            Err(_) => Ok(None),
        };
        let sees = |task: &Task| self.guest.as_ref().is_some_and(|guest| guest.caller.sees(&task.key));
        let task = task.map(|task| task.filter(sees));
        match task {
            Ok(Some(task)) => {
                self.tasks.insert(task.id);
                self.send("subscribe-success", json!({ "taskId": task.id })).await?;
                if task.status.is_terminal() {
                    self.told.insert(task.id);
                    self.complete(&task).await
                } else {
                    self.send("task-update", update(&task)).await
                }
            }
            Ok(None) => self.error("TASK_NOT_FOUND", &format!("there is no task {id}")).await,
            Err(error) => self.error("STORE_UNAVAILABLE", &error.to_string()).await,
        }
    }

    async fn complete(&mut self, task: &Task) -> Result<(), Closed> {
        self.send("task-complete", json!(TaskView::of(task))).await
    }

    async fn tell_all(&mut self, events: &[std::sync::Arc<SequencedEvent>]) -> Result<(), Closed> {
        for sequenced in events {
            let event = &sequenced.event;
            if !(self.all || self.tasks.contains(&event.task)) {
                continue;
            }
            let Some(guest) = &mut self.guest else { continue };
            // What a store that doesn't answer can't tell is not told.
            if !guest.wanted.has(sequenced, &self.shared.queue).await.unwrap_or(false) {
                continue;
            }
            let log = json!({
                "taskId": event.task, "log": event.to_line(), "timestamp": event.at, "kind": event.kind.name(), "seq": event.seq,
            });
            self.send("task-log", log).await?;
            if event.kind != EventKind::Status {
                continue;
            }
            // A store that doesn't answer now does so for the next one.
            let Ok(Some(task)) = self.shared.queue.ask(Find(event.task)).await else { continue };
            let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
            let mut update = update(&task);
            update["status"] = data["status"].clone();
            self.send("task-update", update).await?;
            let has_ended = data["status"] == json!(task.status) && task.status.is_terminal();
            if has_ended && !self.told.remove(&task.id) {
                self.complete(&task).await?;
            }
        }
        Ok(())
    }
}

fn update(task: &Task) -> Value {
    json!({
        "taskId": task.id, "status": task.status, "timestamp": wall_now(), "attempt": task.attempt, "workerId": task.worker,
    })
}

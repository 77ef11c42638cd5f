//! Traces: one from the request to the tools, by a collector that keeps what it is sent.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::{Server, World, task, until};

/// Spans are sent this often, in milliseconds.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "50");
/// Where a client is.
const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[derive(Clone, Debug)]
struct Seen {
    name: String,
    trace: String,
    id: String,
    parent: String,
    attributes: BTreeMap<String, String>,
    links: Vec<String>,
    /// Of the process that sent it.
    resource: BTreeMap<String, String>,
    /// Header of the request that brought it.
    authorization: Option<String>,
    failed: bool,
}

type Spans = Arc<Mutex<Vec<Seen>>>;

struct Collector {
    url: String,
    spans: Spans,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let spans = Spans::default();
        let kept = Arc::clone(&spans);
        std::thread::spawn(move || {
            let app = move || {
                let state = web::Data::new(Arc::clone(&kept));
                App::new()
                    .app_data(state)
                    .app_data(web::PayloadConfig::new(16 << 20))
                    .route("/v1/traces", web::post().to(take))
            };
            let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("a server").run();
            actix_web::rt::System::new().block_on(server).expect("it serves");
        });
        Self { url, spans }
    }

    fn all(&self) -> Vec<Seen> {
        self.spans.lock().expect("spans").clone()
    }

    /// The spans of this name, as soon as there are as many.
    fn named(&self, name: &str, many: usize) -> Vec<Seen> {
        until(&format!("{many} × {name}"), || {
            let found: Vec<Seen> = self.all().into_iter().filter(|span| span.name == name).collect();
            (found.len() >= many).then_some(found)
        })
    }
}

async fn take(request: HttpRequest, body: web::Bytes, spans: web::Data<Spans>) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    assert_eq!(header("content-type").as_deref(), Some("application/x-protobuf"));
    let sent = ExportTraceServiceRequest::decode(body).expect("OTLP");
    for of_resource in sent.resource_spans {
        let resource = attributes(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.lock().expect("spans").push(Seen {
                name: span.name,
                trace: hex::encode(span.trace_id),
                id: hex::encode(span.span_id),
                parent: hex::encode(span.parent_span_id),
                attributes: attributes(span.attributes),
                links: span.links.into_iter().map(|link| hex::encode(link.span_id)).collect(),
                resource: resource.clone(),
                authorization: header("authorization"),
                failed: span.status.is_some_and(|status| status.code == 2),
            });
        }
    }
    HttpResponse::Ok().content_type("application/x-protobuf").finish()
}

fn attributes(found: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::DoubleValue(number) => number.to_string(),
        any_value::Value::BoolValue(is) => is.to_string(),
        other => format!("{other:?}"),
    };
    let one = |pair: KeyValue| Some((pair.key, text(pair.value?.value?)));
    found.into_iter().filter_map(one).collect()
}

/// Submits as a client that is in a trace.
fn submit(server: &Server, place: &str, body: &Value) -> String {
    let (status, answer) =
        server.http.try_ask("POST", "/api/tasks", &[("traceparent", place)], Some(body)).expect("an answer");
    assert_eq!(status, 202, "{answer}");
    answer["taskId"].as_str().expect("an id").to_owned()
}

fn settings<'a>(collector: &'a Collector, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[SOON, ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())], more].concat()
}

#[test]
fn a_task_is_one_trace_from_the_request_to_the_tools() {
    let (world, collector) = (World::new(), Collector::start());
    let server = world.serve("managed", &settings(&collector, &[]));
    let id = submit(&server, CLIENT, &task(&world.ws(), "traced", &["bash echo hello", "say done"]));
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["traceId"]), (&json!("completed"), &json!(TRACE)));
    let one = |name: &str| {
        let found: Vec<Seen> = collector.named(name, 1).into_iter().filter(|span| span.trace == TRACE).collect();
        let [span] = found.as_slice() else { panic!("{name}: {found:#?}") };
        span.clone()
    };
    let (request, send) = (one("POST /api/tasks"), one("send tasks"));
    let (attempt, set_up, agent) = (one("process tasks"), one("cc.set_up"), one("invoke_agent claude-code"));
    assert_eq!(request.parent, "b7ad6b7169203331");
    assert_eq!(request.attributes["http.response.status_code"], "202");
    assert_eq!((&send.parent, &send.attributes["messaging.message.id"]), (&request.id, &id));
    assert_eq!((&attempt.parent, &attempt.attributes["cc.worker.id"]), (&send.id, &"worker-0".to_owned()));
    assert_eq!((&attempt.attributes["cc.outcome"], attempt.failed), (&"completed".to_owned(), false));
    assert_ne!(attempt.resource["process.pid"], send.resource["process.pid"], "two processes");
    assert_eq!((&set_up.parent, &agent.parent), (&attempt.id, &attempt.id));
    assert_eq!(agent.attributes["gen_ai.conversation.id"], done["sdkSessionId"].as_str().expect("a session"));
    assert!(agent.attributes["cc.cost_usd"].parse::<f64>().expect("a cost") > 0.0);
    // The CLI's own spans, below ours.
    let turn = one("claude_code.interaction");
    assert_eq!((&turn.parent, &turn.resource["cc.task.id"]), (&agent.id, &id));
    let tool = collector.named("claude_code.tool", 1).remove(0);
    assert_eq!((tool.trace.as_str(), tool.parent), (TRACE, turn.id));
    assert!(collector.all().iter().all(|span| !span.name.starts_with("execute_tool")), "not told twice");
    let said = |span: &Seen| span.attributes.values().any(|value| value.contains("echo hello"));
    assert!(!collector.all().iter().any(said), "what was asked, and what it did, stays here: {:#?}", collector.all());
    assert!(server.process.logs().contains(&format!("trace_id={TRACE}")), "{}", server.process.logs());
}

#[test]
fn an_attempt_follows_the_one_before_and_says_how_it_failed() {
    let (world, collector) = (World::new(), Collector::start());
    let server = world.serve("inline", &settings(&collector, &[("CLI_TELEMETRY", "off")]));
    let mut body = task(&world.ws(), "again", &["bash exit 3", "error 500"]);
    body["options"]["maxAttempts"] = json!(2);
    body["options"]["retry"] = json!({ "initialDelay": 0, "maxDelay": 0 });
    let id = server.submit(body);
    assert_eq!(server.wait_end(&id)["status"], "failed");
    let attempts = collector.named("process tasks", 2);
    let [first, second] = attempts.as_slice() else { panic!("{attempts:#?}") };
    assert_eq!((first.trace.as_str(), first.parent.as_str()), (second.trace.as_str(), second.parent.as_str()));
    assert_eq!((&first.links, &second.links), (&vec![], &vec![first.id.clone()]));
    assert!(first.failed && first.attributes.contains_key("error.type"), "{first:?}");
    assert_eq!(server.task(&id)["traceId"], json!(first.trace), "a trace of its own, where the client has none");
    // The CLI says nothing: its tools are seen all the same.
    let tools = collector.named("execute_tool Bash", 1);
    assert!(tools[0].failed, "{tools:#?}");
    assert!(collector.all().iter().all(|span| !span.name.starts_with("claude_code")));
}

#[test]
fn what_a_client_does_not_want_kept_is_not_sent() {
    let (world, collector) = (World::new(), Collector::start());
    let server = world.serve("inline", &settings(&collector, &[]));
    let quiet = CLIENT.replace("-01", "-00");
    let id = submit(&server, &quiet, &task(&world.ws(), "quiet", &["say done"]));
    assert_eq!(server.wait_end(&id)["traceId"], json!(TRACE));
    // What is no place in a trace is none.
    let id = submit(&server, "00-zz-01", &task(&world.ws(), "loud", &["say done"]));
    let trace = server.wait_end(&id)["traceId"].as_str().expect("a trace").to_owned();
    collector.named("process tasks", 1);
    let traces: Vec<_> = collector.all().into_iter().filter(|span| span.name == "process tasks").collect();
    assert!(traces.len() == 1 && traces[0].trace == trace, "{traces:#?}");
}

#[test]
fn what_sends_nothing_says_so() {
    let (world, collector) = (World::new(), Collector::start());
    let server = world.serve("inline", &settings(&collector, &[]));
    server.http.ask("POST", "/api/queue/pause", None);
    let sends = |many: usize| collector.named("send tasks", many);
    // Refused: a task, a batch for its second one, a schedule that was sent for by hand.
    let fine = task(&world.ws(), "fine", &["say done"]);
    let mut bad = fine.clone();
    bad["context"]["workingDirectory"] = json!("/nowhere");
    assert_eq!(server.http.ask("POST", "/api/tasks", Some(bad.clone())).0, 403);
    assert_eq!(server.http.ask("POST", "/api/tasks/batch", Some(json!({ "tasks": [fine, bad] }))).0, 403);
    let schedule = |task: &Value, extra: Value| {
        let mut body = json!({ "cron": "0 0 1 1 *", "task": task });
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let (status, answer) = server.http.ask("POST", "/api/schedules", Some(body));
        assert_eq!(status, 201, "{answer}");
        answer["scheduleId"].as_str().expect("an id").to_owned()
    };
    let gone = world.ws().join("gone");
    std::fs::create_dir(&gone).expect("a folder");
    let refused = schedule(&task(&gone, "gone", &["say done"]), json!({}));
    std::fs::remove_dir(&gone).expect("it goes");
    assert_eq!(server.http.ask("POST", &format!("/api/schedules/{refused}/run"), None).0, 409);
    let failed = sends(3);
    assert!(failed.iter().all(|span| span.failed && span.attributes.contains_key("error.type")), "{failed:#?}");
    // Skipped: nothing was sent, and nothing was tried.
    let skipping = schedule(&fine, json!({ "overlap": "skip" }));
    assert_eq!(server.http.ask("POST", &format!("/api/schedules/{skipping}/run"), None).0, 202);
    assert_eq!(server.http.ask("POST", &format!("/api/schedules/{skipping}/run"), None).0, 409);
    collector.named("POST /api/schedules/{id}/run", 3);
    let sent: Vec<_> = sends(4).into_iter().filter(|span| !span.failed).collect();
    assert!(sent.len() == 1 && sent[0].attributes.contains_key("messaging.message.id"), "{sent:#?}");
}

#[test]
fn headers_of_the_collector_reach_no_task() {
    let (world, collector) = (World::new(), Collector::start());
    let secret = "Bearer%20the-collectors-secret";
    let headers = format!("authorization={secret}");
    let server = world.serve("inline", &settings(&collector, &[("OTEL_EXPORTER_OTLP_HEADERS", &headers)]));
    let id = server.submit(task(&world.ws(), "secret", &["bash env | grep -c the-collectors-secret", "say done"]));
    server.wait_end(&id);
    let ours = collector.named("process tasks", 1);
    assert_eq!(ours[0].authorization.as_deref(), Some("Bearer the-collectors-secret"));
    // On this machine, the CLI sends without them.
    let turn = collector.named("claude_code.interaction", 1);
    assert_eq!(turn[0].authorization, None);
    let page = server.get(&format!("/api/tasks/{id}/events/page"));
    assert!(!page.to_string().contains("the-collectors-secret\\n"), "{page}");
    let said = page["events"].as_array().expect("events").iter().find(|event| event["kind"] == "tool_result");
    assert!(said.expect("a result").to_string().contains("\"0\""), "{page:#}");
}

#[test]
fn without_a_collector_nothing_is_sent_and_a_place_is_handed_on() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let id = submit(
        &server,
        CLIENT,
        &task(&world.ws(), "off", &["bash env | grep -c -e ^OTEL -e ^CLAUDE_CODE_ENABLE -e ^TRACEPARENT", "say done"]),
    );
    assert_eq!(server.wait_end(&id)["traceId"], json!(TRACE));
    let page = server.get(&format!("/api/tasks/{id}/events/page"));
    let said = page["events"].as_array().expect("events").iter().find(|event| event["kind"] == "tool_result");
    assert!(said.expect("a result").to_string().contains("\"0\""), "{page:#}");
    let id = server.submit(task(&world.ws(), "none", &["say done"]));
    assert_eq!(server.wait_end(&id)["traceId"], Value::Null);
}

#[test]
fn a_collector_that_answers_nobody_holds_nothing_up() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let mut server = world.serve("inline", &[SOON, ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let id = server.submit(task(&world.ws(), "silent", &["say done"]));
    assert_eq!(server.wait_end(&id)["status"], "completed");
    server.process.signal("TERM");
    assert_eq!(server.process.wait(), 0);
}

#[test]
fn an_address_that_is_none_is_said_at_the_start() {
    let world = World::new();
    for (name, value, rule) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "must be the address of a collector"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@localhost:4318", "without a user or password"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "must be http/protobuf"),
    ] {
        let mut command =
            world.command("serve", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), (name, value)]);
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(name) && said.contains(rule), "{said}");
    }
}

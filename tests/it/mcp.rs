//! The server as tools of a model: over standard input and output, by hand and by the real CLI.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::support::{Server, World, task};

/// A client of `cc-anywhere mcp`.
struct Client {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    last: i64,
}

impl Client {
    fn of(world: &World, server: &Server) -> Self {
        let port = server.http.url.rsplit(':').next().expect("a port");
        let mut command = world.command("mcp", &[("PORT", port)]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("the program");
        let (to, from) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let mut client = Self { child, to, from: BufReader::new(from), last: 0 };
        let about = json!({ "name": "test", "version": "1" });
        let begun = client
            .ask("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about }));
        assert_eq!(begun["result"]["serverInfo"]["name"], "cc-anywhere", "{begun}");
        client.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    fn say(&mut self, message: &Value) {
        let to = self.to.as_mut().expect("a pipe");
        writeln!(to, "{message}").expect("written");
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).expect("a line") > 0, "it has ended");
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            if answer["id"] == id {
                return answer;
            }
        }
    }

    /// Calls a tool. Returns what the model reads, and whether that is an error.
    fn call(&mut self, tool: &str, arguments: Value) -> (String, bool) {
        let answer = self.ask("tools/call", json!({ "name": tool, "arguments": arguments }));
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
        (text.to_owned(), result["isError"] == true)
    }

    fn json(&mut self, tool: &str, arguments: Value) -> Value {
        let (text, is_error) = self.call(tool, arguments);
        assert!(!is_error, "{tool}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
    }

    /// Ends with its input.
    fn end(mut self) {
        self.to = None;
        assert!(self.child.wait().expect("an end").success());
    }
}

#[test]
fn a_model_submits_follows_and_answers() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let mut client = Client::of(&world, &server);
    let tools = client.ask("tools/list", json!({}))["result"]["tools"].clone();
    let names: Vec<&str> = tools.as_array().expect("a list").iter().filter_map(|tool| tool["name"].as_str()).collect();
    for name in [
        "submit_task",
        "list_tasks",
        "get_task",
        "task_events",
        "answer_question",
        "say",
        "interrupt",
        "cancel",
        "explain",
        "usage",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    let more = json!({ "options": { "sdk": { "permissionMode": "default" } } });
    let asked = json!({ "instruction": "x\nstep bash touch made\nstep say done", "workingDirectory": world.ws(), "tags": ["mcp"], "more": more });
    let id = client.json("submit_task", asked)["taskId"].clone();
    let open = crate::support::until("a question", || {
        let task = client.json("get_task", json!({ "id": id }));
        task["waitingFor"]["requestId"].as_str().map(str::to_owned)
    });
    assert_eq!(client.json("open_questions", json!({}))["questions"].as_array().map(Vec::len), Some(1));
    client.json("answer_question", json!({ "id": id, "requestId": open, "behavior": "allow" }));
    server.wait_end(id.as_str().expect("an id"));
    assert_eq!(client.json("get_task", json!({ "id": id }))["result"], "done");
    assert_eq!(client.json("list_tasks", json!({ "tag": "mcp", "limit": 5 }))["total"], 1);
    let (lines, _) = client.call("task_events", json!({ "id": id, "n": 100 }));
    assert!(lines.contains("[tool_use] Bash touch made") && lines.lines().count() > 5, "{lines}");
    let (refused, is_error) = client.call("cancel", json!({ "id": id }));
    assert!(is_error && refused.starts_with("TASK_ENDED: "), "{refused}");
    let (refused, is_error) = client.call("submit_task", json!({ "instruction": "x", "more": { "effort_": 5 } }));
    assert!(is_error && refused.contains("effort_"), "the model is told what is wrong: {refused}");
    let wrong = client.ask("tools/call", json!({ "name": "get_task", "arguments": {} }));
    assert!(wrong["error"]["message"].as_str().is_some_and(|why| why.contains("needs the argument id")), "{wrong}");
    client.end();
}

#[test]
fn a_task_of_the_real_cli_submits_another() {
    let world = World::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
    let port = free.to_string();
    let key = "a-key-of-sixteen-characters";
    let config = world.dir.join("mcp.json");
    let program = crate::support::PROGRAM;
    let environment = json!({ "PORT": port, "API_KEY": key });
    let of = json!({ "mcpServers": { "cc": { "command": program, "args": ["mcp"], "env": environment } } });
    std::fs::write(&config, of.to_string()).expect("a file");
    let settings = [
        ("MCP_CONFIG", config.to_str().expect("a path")),
        ("PORT", &port),
        ("API_KEY", key),
        ("QUEUE_CONCURRENCY", "2"),
    ];
    let server = world.serve("inline", &settings);
    let asked = json!({ "instruction": "within\nstep say from within", "tags": ["child"] });
    let mut body = task(&world.ws(), "asks another", &[&format!("tool mcp__cc__submit_task {asked}"), "say submitted"]);
    body["options"]["sdk"]["mcpConfig"] = json!({ "mcpServers": { "cc": {} } });
    body["options"]["sdk"]["allowedTools"] = json!(["mcp__cc__submit_task"]);
    let id = server.submit(body);
    let ended = server.wait_end(&id);
    assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!("submitted")), "{ended:#}");
    let made = server.get("/api/tasks?tag=child")["tasks"][0]["taskId"].as_str().map(str::to_owned);
    let made = made.unwrap_or_else(|| panic!("{}", server.get(&format!("/api/tasks/{id}/logs"))));
    assert_eq!(server.task(&made)["parent"], json!(id), "it is a child");
    assert_eq!(server.wait_end(&made)["result"], "from within");
}

/// Asks over HTTP. Returns the answer.
fn post(client: &crate::support::http::Client, message: &Value) -> Value {
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let (status, _, answer) = client.send("POST", "/mcp", &headers, Some(&message.to_string()));
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &message["id"]), "{answer}");
    answer
}

#[test]
fn the_same_over_http_with_the_rights_of_the_key() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let ask = |method: &str, params: Value| {
        post(&server.http, &json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params }))
    };
    let begun = ask("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {} }));
    assert_eq!(begun["result"]["protocolVersion"], "2025-06-18", "{begun}");
    let begun = ask("initialize", json!({ "protocolVersion": "1999-01-01" }));
    assert_eq!(begun["result"]["protocolVersion"], "2025-11-25", "{begun}");
    let headers = [("content-type", "application/json")];
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string();
    assert_eq!(server.http.send("POST", "/mcp", &headers, Some(&told)).0, 202);
    assert_eq!(server.http.ask("GET", "/mcp", None).0, 405, "there is no stream");
    let tools = ask("tools/list", json!({}))["result"]["tools"].clone();
    assert!(
        tools
            .as_array()
            .is_some_and(|tools| tools.iter().any(|tool| tool["inputSchema"]["required"][0] == "instruction"))
    );
    let call = |tool: &str, arguments: Value| ask("tools/call", json!({ "name": tool, "arguments": arguments }));
    let made = call("submit_task", json!({ "instruction": "x\nstep say over HTTP", "workingDirectory": world.ws() }));
    let made: Value =
        serde_json::from_str(made["result"]["content"][0]["text"].as_str().expect("a text")).expect("JSON");
    let id = made["taskId"].as_str().expect("an id");
    server.wait_end(id);
    let read = call("get_task", json!({ "id": id }))["result"].clone();
    assert!(
        read["isError"] == false && read["content"][0]["text"].as_str().is_some_and(|text| text.contains("over HTTP"))
    );
    let refused = call("cancel", json!({ "id": id }))["result"].clone();
    assert!(
        refused["isError"] == true
            && refused["content"][0]["text"].as_str().is_some_and(|text| text.starts_with("TASK_ENDED"))
    );
    for (method, params, code) in [
        ("tools/call", json!({ "name": "drop_all" }), -32602),
        ("tools/call", json!([1]), -32602),
        ("tools/call", json!({ "name": "get_task", "arguments": "x" }), -32602),
        ("resources/list", json!({}), -32601),
    ] {
        assert_eq!(ask(method, params)["error"]["code"], code, "{method}");
    }
    assert_eq!(post(&server.http, &json!({ "id": 1, "method": "ping" }))["error"]["code"], -32600);
    // Whoever may only read submits nothing, and without a key nobody is heard.
    let key = json!({ "name": "reader", "scopes": ["read"] });
    let (_, key) = server.http.ask("POST", "/api/keys", Some(key));
    let reader = crate::support::http::Client::new(&server.http.url, key["key"].as_str().expect("a secret"));
    let asked = json!({ "name": "submit_task", "arguments": { "instruction": "x" } });
    let refused = post(&reader, &json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": asked }));
    let text = refused["result"]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.starts_with("SCOPE_MISSING"), "{refused}");
    let nobody = crate::support::http::Client::new(&server.http.url, "");
    assert_eq!(nobody.send("POST", "/mcp", &headers, Some(&told)).0, 401);
}

#[test]
fn a_task_of_the_real_cli_submits_another_over_http() {
    let world = World::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
    let (port, key) = (free.to_string(), "a-key-of-sixteen-characters");
    let config = world.dir.join("mcp.json");
    let headers = json!({ "X-API-Key": key, "X-Parent-Task": "${CC_ANYWHERE_TASK:-}" });
    let of = json!({ "mcpServers": { "cc": { "type": "http", "url": format!("http://127.0.0.1:{port}/mcp"), "headers": headers } } });
    std::fs::write(&config, of.to_string()).expect("a file");
    let config = config.to_str().expect("a path");
    let settings = [("MCP_CONFIG", config), ("PORT", &port), ("API_KEY", key), ("QUEUE_CONCURRENCY", "2")];
    let server = world.serve("inline", &settings);
    let asked = json!({ "instruction": "within\nstep say from within" });
    let mut body = task(&world.ws(), "asks another", &[&format!("tool mcp__cc__submit_task {asked}"), "say submitted"]);
    body["options"]["sdk"]["mcpConfig"] = json!({ "mcpServers": { "cc": {} } });
    body["options"]["sdk"]["allowedTools"] = json!(["mcp__cc__submit_task"]);
    let id = server.submit(body);
    assert_eq!(server.wait_end(&id)["result"], "submitted");
    let made = server.get(&format!("/api/tasks?parent={id}"))["tasks"][0]["taskId"].as_str().map(str::to_owned);
    let made = made.unwrap_or_else(|| panic!("{}", server.get(&format!("/api/tasks/{id}/logs"))));
    assert_eq!(server.wait_end(&made)["result"], "from within");
}

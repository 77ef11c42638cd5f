//! What a client decides about a conversation: which one goes on, what it may use, what shape
//! its answer has.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{Server, World, task};

/// A task that has said something; in a folder of its own.
fn begun(server: &Server, name: &str) -> Value {
    let done = server.wait_end(&server.submit(json!({ "instruction": format!("{name}\nstep say once") })));
    assert_eq!(done["status"], "completed", "{done:#}");
    done
}

fn go_on(name: &str, sdk: Value) -> Value {
    json!({ "instruction": format!("{name}\nstep say twice"), "options": { "sdk": sdk } })
}

/// The conversation that the model was sent with this instruction.
fn sent(world: &World, name: &str) -> String {
    let calls = world.model.calls();
    let call = calls.iter().rfind(|call| call.instruction.starts_with(name)).expect("a call");
    call.body["messages"].to_string()
}

fn refused(server: &Server, body: Value, code: &str) -> Value {
    let (status, answer) = server.http.ask("POST", "/api/tasks", Some(body));
    assert_eq!(answer["error"]["code"], code, "{status} {answer}");
    answer["error"]["details"].clone()
}

#[test]
fn a_task_goes_on_with_the_conversation_of_another() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let first = begun(&server, "first");
    assert_eq!(first["sdkSessionId"], first["taskId"], "a session of its own has its id");
    let id = first["taskId"].as_str().expect("an id");

    let second = server.wait_end(&server.submit(go_on("second", json!({ "continueFromTaskId": id }))));
    assert_eq!((&second["status"], &second["result"]), (&json!("completed"), &json!("twice")), "{second:#}");
    assert_eq!((&second["continuedFrom"], &second["sdkSessionId"]), (&json!(id), &first["sdkSessionId"]));
    assert_eq!(second["workingDirectory"], first["workingDirectory"]);
    assert!(sent(&world, "second").contains("first\\nstep say once"), "the model sees what was said before");

    let fork = json!({ "continueFromTaskId": id, "forkSession": true });
    let third = server.wait_end(&server.submit(go_on("third", fork)));
    assert_eq!(third["status"], "completed", "{third:#}");
    assert_eq!(third["sdkSessionId"], third["taskId"], "a copy has an id of its own");
    assert!(sent(&world, "third").contains("second\\nstep say twice"));

    let by_id = json!({ "resumeSession": first["sdkSessionId"] });
    let fourth = server.wait_end(&server.submit(go_on("fourth", by_id)));
    assert_eq!((&fourth["status"], &fourth["continuedFrom"]), (&json!("completed"), &Value::Null), "{fourth:#}");
    assert!(!sent(&world, "fourth").contains("third"), "the copy is the other's own");

    let id = second["taskId"].as_str().expect("an id");
    let said = server.get(&format!("/api/tasks/{id}/conversation"));
    let texts: Vec<_> =
        said["messages"].as_array().expect("messages").iter().map(|said| &said["content"][0]["text"]).collect();
    assert_eq!(texts, ["first\nstep say once", "once", "second\nstep say twice", "twice"]);
}

#[test]
fn a_conversation_that_cannot_go_on_is_refused_with_the_reason() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let first = begun(&server, "first");
    let sdk = json!({ "resumeSession": first["sdkSessionId"] });
    let mut elsewhere = go_on("elsewhere", sdk.clone());
    elsewhere["context"] = json!({ "workingDirectory": world.ws() });
    let details = refused(&server, elsewhere, "INVALID_INPUT");
    assert_eq!(details["workingDirectory"], first["workingDirectory"], "the right folder is named");

    let nobody = "01890000-0000-7000-8000-00000000000a";
    refused(&server, go_on("x", json!({ "resumeSession": nobody })), "INVALID_INPUT");
    refused(&server, go_on("x", json!({ "resumeSession": "last" })), "INVALID_INPUT");
    refused(&server, go_on("x", json!({ "continueFromTaskId": nobody })), "INVALID_INPUT");
    refused(&server, go_on("x", json!({ "forkSession": true })), "INVALID_INPUT");
    let both = json!({ "resumeSession": nobody, "continueFromTaskId": nobody });
    refused(&server, go_on("x", both), "INVALID_INPUT");

    let mut long = go_on("long", sdk.clone());
    long["instruction"] = json!("long\nstep delay 60000\nstep say never");
    let long = server.submit(long);
    assert_eq!(refused(&server, go_on("x", sdk), "SESSION_IN_USE")["taskId"], json!(long));
    refused(&server, go_on("x", json!({ "continueFromTaskId": long })), "TASK_NOT_ENDED");
    server.http.ask("DELETE", &format!("/api/tasks/{long}"), None);
}

#[test]
fn the_answer_has_the_shape_that_was_asked_for() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let mut body = task(&world.ws(), "shape", &["tool StructuredOutput {\"answer\": 42}", "say done"]);
    body["options"]["sdk"]["outputSchema"] = json!({
        "type": "object", "properties": { "answer": { "type": "integer" } }, "required": ["answer"],
    });
    let done = server.wait_end(&server.submit(body.clone()));
    assert_eq!(
        (&done["status"], &done["structuredOutput"]),
        (&json!("completed"), &json!({ "answer": 42 })),
        "{done:#}"
    );
    body["options"]["sdk"]["outputSchema"] = json!({ "type": "objekt" });
    assert_eq!(refused(&server, body, "INVALID_INPUT")["field"], "options.sdk.outputSchema");
}

#[test]
fn a_conversation_goes_on_in_a_folder_that_was_moved() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let (old, new) = (world.ws().join("old"), world.ws().join("new"));
    std::fs::create_dir(&old).expect("a folder");
    let mut body = json!({ "instruction": "first\nstep say once" });
    body["context"] = json!({ "workingDirectory": old });
    let first = server.wait_end(&server.submit(body));
    assert_eq!(first["status"], "completed", "{first:#}");
    std::fs::rename(&old, &new).expect("moved");
    let ways = [json!({ "continueFromTaskId": first["taskId"] }), json!({ "resumeSession": first["sdkSessionId"] })];
    for (n, sdk) in ways.into_iter().enumerate() {
        let told = |sdk: &Value, folder: Option<&std::path::Path>| {
            let mut body = go_on(&format!("next-{n}"), sdk.clone());
            if let Some(folder) = folder {
                body["context"] = json!({ "workingDirectory": folder });
            }
            body
        };
        for folder in [None, Some(new.as_path())] {
            // By its id alone a session is looked for in the folder that is named, or in none.
            if n == 1 && folder.is_none() {
                continue;
            }
            let (status, answer) = server.http.ask("POST", "/api/tasks", Some(told(&sdk, folder)));
            assert_eq!(status, 422, "{answer}");
            assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("moveSession")), "{answer}");
        }
        let mut moves = sdk.clone();
        moves["moveSession"] = json!(true);
        let done = server.wait_end(&server.submit(told(&moves, Some(&new))));
        assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("twice")), "{done:#}");
        assert!(sent(&world, &format!("next-{n}")).contains("first\\nstep say once"), "the model sees what was said");
    }
}

/// A server without tools, which writes its `MARK` into the file that it is given.
fn mcp_server(world: &World) -> std::path::PathBuf {
    let script = world.dir.join("server.sh");
    let said = r#"#!/bin/sh
echo "$MARK" >"$1"
while IFS= read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case $line in
    *'"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"docs","version":"1"}}' ;;
    *) result='{"tools":[]}' ;;
    esac
    [ -z "$id" ] || printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
"#;
    std::fs::write(&script, said).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).expect("a mode");
    script
}

#[test]
fn a_task_begins_with_the_mcp_servers_that_it_needs_or_not_at_all() {
    let world = World::new();
    let (script, mark) = (mcp_server(&world), world.dir.join("witness/started"));
    let hangs = json!({ "command": "/bin/sleep", "args": ["98804"] });
    let ours = json!({ "mcpServers": {
        "works": { "command": script, "args": [mark], "env": { "MARK": "x" } },
        "missing": { "command": "/nowhere/server" }, "dies": { "command": "/bin/false" }, "hangs": hangs,
    }});
    let config = world.dir.join("mcp.json");
    std::fs::write(&config, ours.to_string()).expect("a file");
    let settings = [("MCP_CONFIG", config.to_str().expect("a path")), ("QUEUE_CONCURRENCY", "4")];
    let server = world.serve("inline", &settings);
    let with = |servers: Value| go_on("mcp", json!({ "mcpConfig": { "mcpServers": servers } }));
    for name in ["missing", "dies"] {
        let mut body = with(json!({ "works": {}, name: {} }));
        body["options"]["maxAttempts"] = json!(1);
        let done = server.wait_end(&server.submit(body));
        assert_eq!(
            (&done["status"], &done["error"]["code"]),
            (&json!("failed"), &json!("MCP_UNAVAILABLE")),
            "{done:#}"
        );
        let why = done["error"]["message"].as_str().expect("why");
        assert!(why.contains(name) && why.contains("failed"), "{why}");
    }
    assert!(world.model.calls().is_empty(), "nothing was paid");
    let optional = json!({ "works": {}, "dies": { "required": false }, "hangs": { "required": false } });
    let id = server.submit(with(optional));
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("twice")), "{done:#}");
    let events = server.http.events(&format!("/api/tasks/{id}/events"), None);
    let warned: Vec<_> = events.filter(|event| event["kind"] == "log").map(|event| event["data"].to_string()).collect();
    assert!(["dies", "hangs"].iter().all(|name| warned.iter().any(|said| said.contains(name))), "{warned:#?}");
}

#[test]
fn mcp_servers_come_from_the_operators_list() {
    let world = World::new();
    let (script, mark) = (mcp_server(&world), world.dir.join("witness/started"));
    let ours = json!({ "mcpServers": {
        "docs": { "command": script, "args": [mark], "env": { "MARK": "a secret" } }, "other": { "command": "/bin/false" },
    }});
    let config = world.dir.join("mcp.json");
    std::fs::write(&config, ours.to_string()).expect("a file");
    let server = world.serve("inline", &[("MCP_CONFIG", config.to_str().expect("a path"))]);

    let with = |servers: Value| go_on("mcp", json!({ "mcpConfig": { "mcpServers": servers } }));
    let evil = json!({ "evil": { "command": "/usr/bin/touch", "args": [mark] } });
    assert_eq!(refused(&server, with(evil), "PERMISSION_CEILING")["mcpServers"], json!(["docs", "other"]));
    refused(&server, with(json!({ "docs": { "command": "/bin/sh" } })), "PERMISSION_CEILING");
    assert!(!mark.exists());

    let id = server.submit(with(json!({ "docs": {} })));
    let init = server.follow(&id, |event| event["kind"] == "init").expect("a beginning");
    let named: Vec<_> =
        init["data"]["frame"]["mcp_servers"].as_array().expect("servers").iter().map(|one| &one["name"]).collect();
    assert_eq!(named, ["docs"]);
    assert_eq!(server.wait_end(&id)["status"], "completed");
    assert_eq!(std::fs::read_to_string(mark).expect("it was started"), "a secret\n");
}

//! Talking to a task while it runs: its questions, further messages, interrupts.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Server, World, task, until};

/// A task that asks before it uses a tool.
fn asking(folder: &Path, name: &str, steps: &[&str]) -> Value {
    let mut body = task(folder, name, steps);
    body["options"]["sdk"] = json!({ "permissionMode": "default" });
    body
}

/// Waits for a question, and returns it.
fn question(server: &Server, id: &str) -> Value {
    until("a question", || {
        let open = server.get(&format!("/api/tasks/{id}/permissions"));
        open["permissions"].get(0).cloned()
    })
}

fn answer(server: &Server, id: &str, question: &Value, decision: Value) -> (u16, Value) {
    let request = question["requestId"].as_str().expect("an id");
    server.http.ask("POST", &format!("/api/tasks/{id}/permissions/{request}"), Some(decision))
}

fn say(server: &Server, id: &str, text: &str) -> (u16, Value) {
    server.http.ask("POST", &format!("/api/tasks/{id}/messages"), Some(json!({ "text": text })))
}

/// What the model was told, turn by turn.
fn turns(world: &World) -> Vec<String> {
    let calls = world.model.calls();
    let begun = calls.iter().filter(|call| call.step == 0);
    begun.map(|call| call.instruction.lines().next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_question_waits_for_its_answer() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let file = |name: &str| world.ws().join(name);
    let bash = |name: &str| format!("bash touch {}", file(name).display());
    let id = server.submit(asking(&world.ws(), "asks", &[&bash("a"), &bash("b"), "say done"]));
    let first = question(&server, &id);
    assert_eq!(first["toolName"], "Bash");
    let waiting = server.task(&id)["waitingFor"].clone();
    assert_eq!((&waiting["type"], &waiting["requestId"]), (&json!("permission"), &first["requestId"]));
    assert!(!file("a").exists(), "nothing is done before the answer");

    for (decision, field) in [
        (json!({ "behavior": "maybe" }), "behavior"),
        (json!({ "behavior": "deny", "updatedInput": {} }), "updatedInput"),
        (json!({ "behavior": "allow", "why": 1 }), "why"),
    ] {
        let (status, refused) = answer(&server, &id, &first, decision);
        assert_eq!((status, &refused["error"]["details"]["field"]), (422, &json!(field)), "{refused}");
    }
    let yes = json!({ "behavior": "allow", "updatedInput": {
        "command": format!("touch {}", file("instead").display()), "description": "changed",
    }});
    assert_eq!(answer(&server, &id, &first, yes.clone()).0, 200);
    assert_eq!(answer(&server, &id, &first, yes).0, 200, "the same answer again says the same");
    let (status, other) = answer(&server, &id, &first, json!({ "behavior": "deny" }));
    assert_eq!((status, &other["error"]["code"]), (409, &json!("PERMISSION_ANSWERED")));

    let second = question(&server, &id);
    answer(&server, &id, &second, json!({ "behavior": "deny", "message": "not that one" }));
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["waitingFor"]), (&json!("completed"), &Value::Null), "{done:#}");
    assert!(file("instead").exists() && !file("a").exists() && !file("b").exists());
    let heard = world.model.calls().last().expect("a call").body["messages"].to_string();
    assert!(heard.contains("not that one"), "the model hears why");
    let kinds: Vec<_> = server
        .http
        .events(&format!("/api/tasks/{id}/events"), None)
        .filter(|event| event["kind"] == "permission")
        .map(|event| event["data"]["state"].clone())
        .collect();
    assert_eq!(kinds, ["asked", "answered", "asked", "answered"]);
    let (status, gone) = answer(&server, &id, &json!({ "requestId": "nobody" }), json!({ "behavior": "allow" }));
    assert_eq!((status, &gone["error"]["code"]), (404, &json!("PERMISSION_NOT_FOUND")));
}

#[test]
fn the_model_asks_and_a_yes_holds_for_the_session() {
    let world = World::new();
    let server = world.serve("managed", &[("PERMISSION_PARK_MS", "300")]);
    let asks = json!({ "questions": [{
        "question": "Which colour?", "header": "Colour", "multiSelect": false,
        "options": [{ "label": "Red", "description": "r" }, { "label": "Blue", "description": "b" }],
    }]});
    let tool = format!("tool AskUserQuestion {asks}");
    let bash = format!("bash touch {}/a", world.ws().display());
    let id = server.submit(asking(&world.ws(), "asks", &[&tool, &bash, &bash, "say done"]));
    let asked = question(&server, &id);
    let mut input = asked["input"].clone();
    input["answers"] = json!({ "Which colour?": "Blue" });
    answer(&server, &id, &asked, json!({ "behavior": "allow", "updatedInput": input }));

    let asked = question(&server, &id);
    // Long enough for the process to have ended: what was allowed holds for the next one as well.
    until("the slot to be free", || (server.task(&id)["status"] == "pending").then_some(()));
    answer(&server, &id, &asked, json!({ "behavior": "allow", "scope": "session" }));
    let done = server.wait_end(&id);
    assert_eq!(done["status"], "completed", "{done:#}");
    let heard = world.model.calls().last().expect("a call").body["messages"].to_string();
    assert!(heard.contains("Blue"), "the model has the answer");
    let all = server.get(&format!("/api/tasks/{id}/permissions?all=true"));
    assert_eq!(all["permissions"].as_array().map(Vec::len), Some(2), "the second call was not asked for: {all:#}");
}

#[test]
fn an_open_question_outlives_the_api_and_holds_no_slot() {
    let world = World::new();
    let settings = [("PERMISSION_PARK_MS", "200"), ("QUEUE_CONCURRENCY", "1")];
    let mut server = world.serve("inline", &settings);
    let bash = format!("bash touch {}/a", world.ws().display());
    let id = server.submit(asking(&world.ws(), "asks", &[&bash, "say done"]));
    let asked = question(&server, &id);
    let other = server.submit(task(&world.ws(), "other", &["say ok"]));
    assert_eq!(server.wait_end(&other)["status"], "completed", "the slot is free");
    let parked = server.task(&id);
    assert_eq!((&parked["status"], &parked["crashes"]), (&json!("pending"), &json!(0)), "{parked:#}");
    let why = server.get(&format!("/api/tasks/{id}/explain"));
    assert_eq!(why["reasons"][0]["code"], "WAITING_FOR_ANSWER", "{why}");

    server.process.signal("KILL");
    server.process.wait();
    let server = world.serve("inline", &settings);
    assert_eq!(question(&server, &id)["requestId"], asked["requestId"]);
    assert_eq!(answer(&server, &id, &asked, json!({ "behavior": "allow" })).0, 200);
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["attempt"]), (&json!("completed"), &json!(2)), "{done:#}");
    assert!(world.ws().join("a").exists());
    assert_eq!(done["attempts"][0]["outcome"], "released");
    crate::support::check_history(&world, &["--settled"]);
}

#[test]
fn nobody_s_answer_is_a_no() {
    let world = World::new();
    let bash = format!("bash touch {}/a", world.ws().display());
    // In the process, and while the task is parked.
    for park in ["60000", "100"] {
        let server = world.serve("inline", &[("PERMISSION_TIMEOUT_MS", "1500"), ("PERMISSION_PARK_MS", park)]);
        let done = server.wait_end(&server.submit(asking(&world.ws(), "asks", &[&bash, "say done"])));
        assert_eq!(done["status"], "completed", "{done:#}");
        assert!(!world.ws().join("a").exists());
        let heard = world.model.calls().last().expect("a call").body["messages"].to_string();
        assert!(heard.contains("Nobody answered in time"), "{heard}");
    }
}

#[test]
fn messages_are_further_turns_in_order() {
    let world = World::new();
    let server = world.serve("managed", &[("WORKER_COUNT", "2")]);
    let wait = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let id = server.submit(task(&world.ws(), "first", &[&wait, "say one"]));
    server.wait_tool(&id);
    for text in ["second\nstep say two", "third\nstep say three", "@/etc/hostname\nstep say four"] {
        assert_eq!(say(&server, &id, text).0, 202);
    }
    assert_eq!(say(&server, &id, "  ").0, 422);
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("four")), "{done:#}");
    assert_eq!(turns(&world), ["first", "second", "third", "@/etc/hostname"]);
    assert_eq!(done["attempt"], 1, "one process heard all of them");
    let (status, deaf) = say(&server, &id, "more");
    assert_eq!((status, &deaf["error"]["code"]), (409, &json!("TASK_ENDED")), "{deaf}");
    let said = server.get(&format!("/api/tasks/{id}/conversation"));
    let users: Vec<_> = said["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .filter(|said| said["role"] == "user" && said["content"][0]["type"] == "text")
        .filter_map(|said| said["content"][0]["text"].as_str()?.lines().next())
        .collect();
    assert_eq!(users, ["first", "second", "third", "@/etc/hostname"]);
}

#[test]
fn a_message_that_comes_at_the_last_moment_is_heard() {
    let world = World::new();
    // The attempt has ended and is not reported yet.
    let server = world.serve("inline", &[("FAILPOINTS", "agent-run=1*sleep(1500)")]);
    let id = server.submit(task(&world.ws(), "first", &["say one"]));
    server.follow(&id, |event| event["kind"] == "result").expect("a result");
    assert_eq!(say(&server, &id, "second\nstep say two").0, 202);
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("two")), "{done:#}");
    assert_eq!(turns(&world), ["first", "second"]);
    crate::support::check_history(&world, &["--settled"]);
}

#[test]
fn an_interrupt_stops_the_turn_and_a_message_goes_on() {
    let world = World::new();
    let server = world.serve("managed", &[]);
    let id = server.submit(task(&world.ws(), "first", &["bash sleep 300", "say never"]));
    server.wait_tool(&id);
    let interrupt = |id: &str| server.http.ask("POST", &format!("/api/tasks/{id}/interrupt"), None);
    assert_eq!(interrupt(&id).0, 202);
    let waiting = until("the turn to stop", || {
        let waiting = server.task(&id)["waitingFor"].clone();
        (!waiting.is_null()).then_some(waiting)
    });
    assert_eq!(waiting["type"], "message");
    assert_eq!(server.task(&id)["status"], "running");
    assert_eq!(say(&server, &id, "second\nstep say instead").0, 202);
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("instead")), "{done:#}");
    assert_eq!((&done["waitingFor"], turns(&world).len()), (&Value::Null, 2));

    server.http.ask("POST", "/api/queue/pause", None);
    let pending = server.submit(task(&world.ws(), "pending", &["say later"]));
    let (status, deaf) = interrupt(&pending);
    assert_eq!((status, &deaf["error"]["code"]), (409, &json!("TASK_NOT_RUNNING")), "{deaf}");
    assert_eq!(say(&server, &pending, "more\nstep say more").0, 202, "a task that waits hears it later");
    server.http.ask("POST", "/api/queue/start", None);
    assert_eq!(server.wait_end(&pending)["result"], "more");
}

#[test]
fn an_interrupt_that_nobody_follows_ends_the_task_and_keeps_the_session() {
    let world = World::new();
    let mut server = world.serve("inline", &[]);
    let id = server.submit(task(&world.ws(), "first", &["bash sleep 300", "say never"]));
    server.wait_tool(&id);
    server.http.ask("POST", &format!("/api/tasks/{id}/interrupt"), None);
    until("the turn to stop", || (!server.task(&id)["waitingFor"].is_null()).then_some(()));
    // Somebody else needs the slot.
    server.process.signal("TERM");
    server.process.wait();
    let server = world.serve("inline", &[]);
    let ended = server.task(&id);
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("INTERRUPTED")), "{ended:#}");
    let mut on = task(&world.ws(), "second", &["say on"]);
    on["options"]["sdk"]["continueFromTaskId"] = json!(id);
    assert_eq!(server.wait_end(&server.submit(on))["result"], "on");
}

#[test]
fn many_messages_lose_none_and_hold_up_nothing() {
    let world = World::new();
    let server = world.serve("inline", &[("LEASE_MS", "3000")]);
    let wait = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let id = server.submit(task(&world.ws(), "first", &[&wait, "say one"]));
    server.wait_tool(&id);
    // More than an attempt takes at a time, and long ones.
    let texts: Vec<String> = (0..40).map(|n| format!("message {n}\nstep say {n}\n{}", "x".repeat(50_000))).collect();
    for text in &texts {
        assert_eq!(say(&server, &id, text).0, 202);
    }
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("39")), "{done:#}");
    assert_eq!((&done["attempt"], turns(&world).len()), (&json!(1), 41), "its lease was renewed all the while");
    let in_order: Vec<String> = (0..40).map(|n| format!("message {n}")).collect();
    assert_eq!(turns(&world)[1..], in_order);
}

fn open_questions(world: &World) {
    let keys = "team-a=a-key-of-team-a-here,team-b=a-key-of-team-b-here";
    let server = world.serve("inline", &[("API_KEYS", keys), ("QUEUE_CONCURRENCY", "4")]);
    let of = |key: &str| crate::support::http::Client::new(&server.http.url, key);
    let ask = |client: &crate::support::http::Client, name: &str| {
        let (status, answer) = client.ask(
            "POST",
            "/api/tasks",
            Some(asking(&world.ws(), name, &[&format!("bash touch {}", world.ws().join(name).display()), "say done"])),
        );
        assert_eq!(status, 202, "{answer}");
        answer["taskId"].as_str().expect("an id").to_owned()
    };
    let (a, b) = (of("a-key-of-team-a-here"), of("a-key-of-team-b-here"));
    let mut ids = Vec::new();
    for name in ["first", "second", "third"] {
        let id = ask(if name == "second" { &b } else { &a }, name);
        question(&server, &id);
        ids.push(id);
    }
    let all = server.get("/api/questions");
    let titles = |answer: &Value| -> Vec<String> {
        let of = answer["questions"].as_array().expect("questions").iter();
        of.map(|one| one["title"].as_str().expect("a title").to_owned()).collect()
    };
    assert_eq!((titles(&all), &all["total"]), (vec!["first".into(), "second".into(), "third".into()], &json!(3)));
    let one = &all["questions"][1];
    assert_eq!((&one["taskId"], &one["key"], &one["status"]), (&json!(ids[1]), &json!("team-b"), &json!("running")));
    assert_eq!(one["question"]["toolName"], "Bash");
    // Each team sees its own.
    let (_, of_b) = b.ask("GET", "/api/questions", None);
    assert_eq!((titles(&of_b), &of_b["total"]), (vec!["second".to_owned()], &json!(1)));
    // Page by page.
    let (mut path, mut seen) = ("/api/questions?limit=1".to_owned(), Vec::new());
    while let Some(cursor) = {
        let page = server.get(&path);
        seen.extend(titles(&page));
        page["nextCursor"].as_str().map(str::to_owned)
    } {
        path = format!("/api/questions?limit=1&cursor={cursor}");
    }
    assert_eq!(seen, ["first", "second", "third"]);
    for (query, field) in [("cursor=x", "cursor"), ("state=shut", "state"), ("limit=0", "limit")] {
        let (status, answer) = server.http.ask("GET", &format!("/api/questions?{query}"), None);
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)));
    }
    // What is answered is open no more, nor what belongs to a task that has ended.
    answer(&server, &ids[0], &all["questions"][0]["question"], json!({ "behavior": "allow" }));
    server.http.ask("DELETE", &format!("/api/tasks/{}", ids[2]), None);
    until("one question", || (server.get("/api/questions")["total"] == 1).then_some(()));
    // Lists by more than one thing.
    server.wait_end(&ids[0]);
    let total = |query: &str| server.get(&format!("/api/tasks?{query}"))["total"].clone();
    assert_eq!(total("status=completed,cancelled"), 2);
    assert_eq!(total("status=running&key=team-b"), 1);
    assert_eq!(total("key=team-a"), 2);
    assert_eq!(total(&format!("session={}", ids[1])), 1);
    assert_eq!(total("since=2026-01-01T00:00:00Z&until=2100-01-01T00:00:00Z"), 3);
    assert_eq!(total("until=2026-01-01T00:00:00Z"), 0);
    assert_eq!(total("errorClass=network,timeout"), 0);
    answer(&server, &ids[1], &all["questions"][1]["question"], json!({ "behavior": "deny" }));
    server.wait_end(&ids[1]);
}

#[test]
fn open_questions_of_all_tasks_are_listed() {
    open_questions(&World::new());
}

#[test]
fn open_questions_of_all_tasks_are_listed_on_postgres() {
    open_questions(&World::on_postgres());
}

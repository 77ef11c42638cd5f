//! Calls of tools that people always allow become rules, and need no answer then.

use serde_json::{Value, json};

use crate::support::{Server, World, check_history, task, until};

/// A task that asks before it uses a tool, and calls this command.
fn asks(world: &World, tag: &str, command: &str) -> Value {
    let mut body = task(&world.ws(), "asks", &[&format!("bash {command}"), "say done"]);
    body["options"]["sdk"] = json!({ "permissionMode": "default" });
    body["tags"] = json!([tag]);
    body
}

/// Runs a task, and answers its question.
fn answered(server: &Server, body: Value, behavior: &str) -> String {
    let id = server.submit(body);
    let question = until("a question", || {
        let open = server.get(&format!("/api/tasks/{id}/permissions"));
        open["permissions"].as_array().and_then(|all| all.first()).map(|one| one["requestId"].clone())
    });
    let request = question.as_str().expect("an id");
    let answer = json!({ "behavior": behavior });
    let (status, said) = server.http.ask("POST", &format!("/api/tasks/{id}/permissions/{request}"), Some(answer));
    assert_eq!(status, 200, "{said}");
    assert_eq!(server.wait_end(&id)["status"], "completed");
    id
}

fn what_is_always_allowed_becomes_a_rule(world: &World) {
    let server = world.serve("managed", &[]);
    for n in 0..3 {
        answered(&server, asks(world, "ci", "touch made"), "allow");
        let seen = server.get("/api/rules")["suggestions"].as_array().map(Vec::len);
        assert_eq!(seen, Some(usize::from(n == 2)), "after {} answers", n + 1);
    }
    let suggested = server.get("/api/rules")["suggestions"][0].clone();
    assert_eq!((&suggested["times"], &suggested["tag"]), (&json!(3), &json!("ci")), "{suggested:#}");
    let rule = suggested["rule"].as_str().expect("a rule");
    assert!(rule.starts_with("Bash(touch"), "{rule}");
    // One press.
    let new = json!({ "rule": rule, "tag": "ci" });
    let (status, added) = server.http.ask("POST", "/api/rules", Some(new.clone()));
    assert_eq!((status, &added["rule"], &added["createdBy"]), (201, &json!(rule), &json!("default")), "{added}");
    assert_eq!(server.http.ask("POST", "/api/rules", Some(new)).0, 200, "it is there already");
    assert_eq!(server.get("/api/rules")["suggestions"], json!([]), "what is a rule is not suggested");
    let id = server.submit(asks(world, "ci", "touch made"));
    assert_eq!(server.wait_end(&id)["status"], "completed");
    assert_eq!(server.get(&format!("/api/tasks/{id}/permissions"))["permissions"], json!([]), "nobody was asked");
    // Not for others, and not for other calls.
    answered(&server, asks(world, "other", "touch made"), "allow");
    answered(&server, asks(world, "ci", "rm made"), "deny");
    // Reversible.
    let path = format!("/api/rules/{}", added["ruleId"].as_str().expect("an id"));
    assert_eq!(server.http.ask("DELETE", &path, None).0, 204);
    let (status, answer) = server.http.ask("DELETE", &path, None);
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("RULE_NOT_FOUND")), "{answer}");
    answered(&server, asks(world, "ci", "touch made"), "deny");
    let noted = server.get("/api/audit")["entries"].to_string();
    assert!(noted.contains("addRule") && noted.contains("removeRule"), "{noted}");
    // Refused once, it is suggested no more where that was.
    assert_eq!(server.get("/api/rules")["suggestions"], json!([]));
    check_history(world, &["--settled"]);
}

#[test]
fn what_is_always_allowed() {
    what_is_always_allowed_becomes_a_rule(&World::new());
}

#[test]
fn the_same_on_postgres() {
    what_is_always_allowed_becomes_a_rule(&World::on_postgres());
}

#[test]
fn calls_of_one_sub_command_have_a_rule_in_common() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    for n in 1..=3 {
        answered(&server, asks(&world, "ci", &format!("git init here-{n}")), "allow");
    }
    let suggested = server.get("/api/rules")["suggestions"].clone();
    assert_eq!((suggested.as_array().map(Vec::len), &suggested[0]["rule"]), (Some(1), &json!("Bash(git init *)")));
    let rule = json!({ "rule": suggested[0]["rule"], "tag": "ci" });
    assert_eq!(server.http.ask("POST", "/api/rules", Some(rule)).0, 201);
    assert_eq!(server.get("/api/rules")["suggestions"], json!([]));
    // As the CLI understands it: another call of the same, and not what stands behind one.
    let id = server.submit(asks(&world, "ci", "git init here-4"));
    assert_eq!(server.wait_end(&id)["status"], "completed");
    assert_eq!(server.get(&format!("/api/tasks/{id}/permissions"))["permissions"], json!([]), "nobody was asked");
    answered(&server, asks(&world, "ci", "git init here-5 && touch behind"), "deny");
}

#[test]
fn a_rule_is_no_more_than_a_key_may_allow() {
    let world = World::new();
    let server = world.serve("standalone", &[("MAX_PERMISSION_MODE", "acceptEdits")]);
    for (rule, field) in [
        (json!({ "rule": "" }), "rule"),
        (json!({ "rule": "Bash(" }), "rule"),
        (json!({ "rule": "Bash()" }), "rule"),
        (json!({ "rule": "--dangerously-skip-permissions" }), "rule"),
        (json!({ "rule": "Write x" }), "rule"),
        (json!({ "rule": "AskUserQuestion" }), "rule"),
        (json!({ "rule": "Write", "tag": "" }), "tag"),
        (json!({ "rule": "Write", "tag": "a", "folder": "/b" }), "folder"),
    ] {
        let (status, answer) = server.http.ask("POST", "/api/rules", Some(rule.clone()));
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{rule} {answer}");
    }
    let (status, answer) = server.http.ask("POST", "/api/rules", Some(json!({ "rule": "Bash(ls *)" })));
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("PERMISSION_CEILING")), "{answer}");
    let (status, _) = server.http.ask("POST", "/api/rules", Some(json!({ "rule": "Write", "folder": "/w/" })));
    assert_eq!(status, 201);
    assert_eq!(server.get("/api/rules")["rules"][0]["folder"], "/w");
}

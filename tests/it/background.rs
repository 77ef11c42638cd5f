//! Work in the background is waited for, and questions to a person come in every mode.

use serde_json::{Value, json};

use crate::support::{Server, World, task, until};

/// A command that the model starts in the background.
fn in_background(command: &str) -> String {
    let input = json!({ "command": command, "description": "scripted", "run_in_background": true });
    format!("tool Bash {input}")
}

fn logs(server: &Server, id: &str) -> Vec<Value> {
    server.http.events(&format!("/api/tasks/{id}/events"), None).filter(|event| event["kind"] == "log").collect()
}

#[test]
fn what_runs_in_the_background_is_waited_for_and_the_last_result_counts() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let marker = world.ws().join("marker");
    let work = in_background(&format!("sleep 4; echo done > {}", marker.display()));
    let id = server.submit(task(&world.ws(), "waits", &[&work, "say begun", "say finished"]));
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("finished")), "{done:#}");
    assert_eq!(std::fs::read_to_string(&marker).expect("a marker"), "done\n");
    assert_eq!(done["backgroundEnded"], json!([]), "{done:#}");
}

#[test]
fn what_must_be_ended_in_the_background_is_never_silent() {
    let world = World::new();
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "2")]);
    let marker = world.ws().join("marker");
    let work = in_background(&format!("sleep 98807; echo done > {}", marker.display()));
    for (name, options) in
        [("ended", json!({ "background": "end" })), ("bounded", json!({ "background": "wait", "timeout": 6_000 }))]
    {
        let mut body = task(&world.ws(), name, &[&work, "say begun"]);
        body["options"].as_object_mut().expect("options").extend(options.as_object().expect("options").clone());
        let id = server.submit(body);
        let done = server.wait_end(&id);
        assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("begun")), "{name} {done:#}");
        assert_eq!(done["backgroundEnded"].as_array().map(Vec::len), Some(1), "{done:#}");
        assert!(logs(&server, &id).iter().any(|event| event["data"]["backgroundEnded"].is_array()), "an event");
        assert!(server.process.logs().contains("What ran in the background was ended"), "a warning");
        let listed = server.get("/api/tasks")["tasks"][0].clone();
        assert_eq!(listed["backgroundEnded"], done["backgroundEnded"], "{listed:#}");
    }
    assert!(crate::support::running("sleep 98807").is_empty() && !marker.exists());
    let (status, answer) = server.http.ask(
        "POST",
        "/api/tasks",
        Some(json!({ "instruction": "x", "options": { "background": "never" } })),
    );
    assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!("options.background")), "{answer}");
}

#[test]
fn a_question_to_a_person_comes_in_every_mode_and_other_tools_keep_their_rule() {
    let world = World::new();
    let server = world.serve("inline", &[("PERMISSION_PARK_MS", "300")]);
    let asks = json!({ "questions": [{
        "question": "Which colour?", "header": "Colour", "multiSelect": false,
        "options": [{ "label": "Red", "description": "r" }, { "label": "Blue", "description": "b" }],
    }]});
    let ask = format!("tool AskUserQuestion {asks}");
    for mode in [Value::Null, json!("acceptEdits"), json!("dontAsk"), json!("plan")] {
        let touched = world.ws().join(format!("touched-{}", mode.as_str().unwrap_or("none")));
        // Nothing that a mode allows by itself.
        let touch = format!("bash perl -e 'open(F, q(>{}))'", touched.display());
        let mut body = task(&world.ws(), "asks", &[&ask, &touch, "say done"]);
        body["options"]["sdk"] = match &mode {
            Value::Null => json!({}),
            mode => json!({ "permissionMode": mode }),
        };
        let id = server.submit(body);
        let asked =
            until("a question", || server.get(&format!("/api/tasks/{id}/permissions"))["permissions"].get(0).cloned());
        until("the slot to be free", || (server.task(&id)["status"] == "pending").then_some(()));
        let mut input = asked["input"].clone();
        input["answers"] = json!({ "Which colour?": "Blue" });
        let path = format!("/api/tasks/{id}/permissions/{}", asked["requestId"].as_str().expect("an id"));
        let yes = json!({ "behavior": "allow", "updatedInput": input });
        assert_eq!(server.http.ask("POST", &path, Some(yes)).0, 200);
        let done = server.wait_end(&id);
        assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("done")), "{mode} {done:#}");
        let heard = world.model.calls().last().expect("a call").body["messages"].to_string();
        assert!(heard.contains("Blue"), "{mode}: the model has the answer");
        assert!(!touched.exists(), "{mode}: nobody was asked for Bash");
        let all = server.get(&format!("/api/tasks/{id}/permissions?all=true"));
        assert_eq!(all["permissions"].as_array().map(Vec::len), Some(1), "{mode} {all:#}");
    }
    let mut body = task(&world.ws(), "quiet", &[&ask, "say done"]);
    body["options"]["questions"] = json!("off");
    let id = server.submit(body);
    assert_eq!(server.wait_end(&id)["result"], "done");
    assert_eq!(server.get(&format!("/api/tasks/{id}/permissions?all=true"))["permissions"], json!([]));
}

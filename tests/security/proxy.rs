//! Agent → account: the CLI holds a token of its attempt, and never the key.

use std::fs;

use serde_json::json;

use crate::support::http::Client;
use crate::support::{World, task};

/// The key of the test's account.
const KEY: &str = "sk-test-not-real";

#[test]
fn the_key_reaches_the_api_and_no_process_of_the_task() {
    for warm in ["0", "1"] {
        let world = World::new();
        let server = world.serve("inline", &[("WARM_STANDBY", warm)]);
        let look = "bash env > env.txt; cat /proc/[0-9]*/environ > all.txt 2>/dev/null; echo $ANTHROPIC_BASE_URL > url; echo $ANTHROPIC_API_KEY > token";
        for n in 0..2 {
            let id = server.submit(task(&world.ws(), &format!("look {n}"), &[look, "say done"]));
            let ended = server.wait_end(&id);
            assert_eq!(ended["status"], "completed", "{ended:#}");
            // What was counted on the way is what it has cost: two calls.
            assert_eq!(ended["costUsd"], json!(0.00035), "{ended:#}");
            let read =
                |file: &str| String::from_utf8_lossy(&fs::read(world.ws().join(file)).expect("a file")).into_owned();
            assert!(!read("env.txt").contains(KEY) && !read("all.txt").contains(KEY));
            let token = read("token").trim().to_owned();
            assert!(token.starts_with("sk-attempt-"), "{token}");
            // With the attempt its token is over.
            let proxy = Client::new(read("url").trim(), &token);
            let (status, answer) = proxy.ask("POST", "/v1/messages", Some(json!({ "model": "x", "messages": [] })));
            assert_eq!((status, &answer["error"]["type"]), (401, &json!("authentication_error")), "{answer}");
        }
        assert!(world.model.calls().iter().all(|call| call.key == KEY), "the API got the key");
    }
}

#[test]
fn the_proxy_passes_on_what_the_cli_needs_while_the_budget_lasts() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let ask = |path: &str, body: &str| {
        format!(
            "curl -s -o /dev/null -w '%{{http_code}} ' -H \"x-api-key: $ANTHROPIC_API_KEY\" -H 'content-type: application/json' {body} $ANTHROPIC_BASE_URL{path}"
        )
    };
    let message = "-d '{\"model\":\"claude-sonnet-4-5\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"step say hi\"}]}'";
    let commands = format!(
        "bash {{ {}; {}; {}; {}; }} > codes",
        ask("/v1/messages", message),
        ask("/v1/organizations", ""),
        ask("/v1/files", "-d x"),
        ask("/v1/messages/count_tokens", message),
    );
    let mut body = task(&world.ws(), "asks by itself", &[&commands, "say done"]);
    let id = server.submit(body.clone());
    assert_eq!(server.wait_end(&id)["status"], "completed");
    assert_eq!(fs::read_to_string(world.ws().join("codes")).expect("a file"), "200 404 404 200 ");
    // What the task asks on its own counts too: it can't spend more than it may.
    let greedy = format!("bash for n in $(seq 40); do {}; done > codes", ask("/v1/messages", message));
    body["instruction"] = task(&world.ws(), "greedy", &[&greedy, "say done"])["instruction"].clone();
    body["options"]["sdk"]["maxBudgetUsd"] = json!(0.002);
    let id = server.submit(body);
    let ended = server.wait_end(&id);
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("BUDGET_SPENT")), "{ended:#}");
    let codes = fs::read_to_string(world.ws().join("codes")).expect("a file");
    assert!(codes.starts_with("200 200 ") && codes.ends_with("400 400 "), "{codes}");
    assert!(ended["costUsd"].as_f64().is_some_and(|cost| (0.002..0.0025).contains(&cost)), "{ended:#}");
}

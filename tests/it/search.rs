//! Search in conversations: what models said, what tools were asked and answered, by whom it may be seen.

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, task, until};

/// The events that have these words, as soon as there are some.
fn hits(client: &Client, question: &str, many: usize) -> Vec<Value> {
    until(&format!("{many} × {question}"), || {
        let (status, answer) = client.ask("GET", &format!("/api/search?q={question}"), None);
        assert_eq!(status, 200, "{answer}");
        let hits = answer["hits"].as_array().expect("hits").clone();
        (hits.len() >= many).then_some(hits)
    })
}

fn done(server: &Server, body: Value) -> String {
    let id = server.submit(body);
    assert_eq!(server.wait_end(&id)["status"], "completed");
    id
}

fn is_found(world: &World) {
    let server = world.serve("inline", &[]);
    let first = done(&server, task(&world.ws(), "one", &["bash echo quicksilver-leases", "say The Flamingo is pink."]));
    let second = done(&server, task(&world.ws(), "two", &["say Flamingos, again."]));
    let found = hits(&server.http, "flamingo", 2);
    let ids: Vec<_> = found.iter().map(|hit| hit["taskId"].as_str().expect("an id")).collect();
    assert_eq!(ids, [second.as_str(), first.as_str()], "newest first: {found:#?}");
    assert_eq!((&found[1]["kind"], &found[1]["excerpt"]), (&json!("assistant"), &json!("The Flamingo is pink.")));
    assert_eq!(found[1]["title"], "one");
    // The call, and its answer.
    let kinds: Vec<_> = hits(&server.http, "quicksilver%20lease", 2).iter().map(|hit| hit["kind"].clone()).collect();
    assert_eq!(kinds, [json!("tool_result"), json!("tool_use")]);
    // The number leads to the event.
    let place = found[1]["seq"].as_i64().expect("a number") - 1;
    let page = server.get(&format!("/api/tasks/{first}/events/page?after={place}&limit=1"));
    assert!(page["events"][0]["data"].to_string().contains("The Flamingo is pink."), "{page}");
    // Page by page.
    let page = server.get("/api/search?q=flamingo&limit=1");
    let next = server.get(&format!("/api/search?q=flamingo&limit=1&cursor={}", page["nextCursor"]));
    assert_eq!((&next["hits"][0]["taskId"], page["terms"].clone()), (&json!(first), json!(["flamingo"])));
    assert_eq!(server.get(&format!("/api/search?q=flamingo&cursor={}", next["nextCursor"]))["hits"], json!([]));
    for (question, status) in [("", 422), ("%21%21", 422), ("a&limit=0", 422), ("a&cursor=x", 422), ("nothing", 200)] {
        assert_eq!(server.http.ask("GET", &format!("/api/search?q={question}"), None).0, status, "{question}");
    }
}

#[test]
fn what_was_said_and_done_is_found() {
    is_found(&World::new());
}

#[test]
fn the_same_on_postgres() {
    is_found(&World::on_postgres());
}

#[test]
fn a_key_finds_its_own() {
    let world = World::new();
    let settings =
        [("API_KEY", "the-operators-key-000"), ("API_KEYS", "one=the-key-of-one-00000,two=the-key-of-two-00000")];
    let server = world.serve("inline", &settings);
    let (one, two) =
        (Client::new(&server.http.url, "the-key-of-one-00000"), Client::new(&server.http.url, "the-key-of-two-00000"));
    for (client, said) in [(&one, "flamingo of one"), (&two, "flamingo of two")] {
        let (status, answer) =
            client.ask("POST", "/api/tasks", Some(task(&world.ws(), "x", &[&format!("say {said}")])));
        assert_eq!(status, 202, "{answer}");
        server.wait_end(answer["taskId"].as_str().expect("an id"));
    }
    assert_eq!(hits(&server.http, "flamingo", 2).len(), 2, "the operator finds all");
    for (client, said) in [(&one, "flamingo of one"), (&two, "flamingo of two")] {
        let found = hits(client, "flamingo", 1);
        assert!(found.len() == 1 && found[0]["excerpt"] == said, "{found:#?}");
    }
    // The word by which the index knows a key's events can't be asked for.
    let (_, answer) = two.ask("GET", "/api/search?q=%EE%80%806f6e65", None);
    assert_eq!(answer["hits"], json!([]), "{answer}");
}

#[test]
fn an_index_that_is_gone_or_broken_is_made_anew_and_one_may_do_without() {
    let world = World::new();
    let index = world.dir.join("data/cc.db-words");
    let mut server = world.serve("inline", &[]);
    done(&server, task(&world.ws(), "one", &["say flamingo"]));
    hits(&server.http, "flamingo", 1);
    for broken in [None, Some("this was an index once, and is none any more ".repeat(500))] {
        server.process.signal("TERM");
        server.process.wait();
        match broken {
            None => std::fs::remove_file(&index).expect("removed"),
            Some(text) => std::fs::write(&index, text).expect("written"),
        }
        server = world.serve("inline", &[]);
        hits(&server.http, "flamingo", 1);
    }
    server.process.signal("TERM");
    server.process.wait();
    server = world.serve("inline", &[("SEARCH_INDEX", "off")]);
    let (status, answer) = server.http.ask("GET", "/api/search?q=flamingo", None);
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("SEARCH_OFF")), "{answer}");
}

#[test]
fn what_was_removed_is_found_no_more() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    done(&server, task(&world.ws(), "one", &["say flamingo"]));
    hits(&server.http, "flamingo", 1);
    // The task of the newest event stays.
    done(&server, task(&world.ws(), "two", &["say heron"]));
    let pruned = world.command("prune", &[]).args(["--older-than", "0"]).output().expect("the program");
    assert!(pruned.status.success(), "{pruned:?}");
    assert_eq!(server.get("/api/search?q=flamingo")["hits"], json!([]));
}

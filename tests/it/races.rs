//! Races: several tasks do the same, and one wins.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::isolation::{git, repository};
use crate::support::{Server, World, check_history, task, until};

/// The repository in which contenders work.
fn folder(world: &World) -> PathBuf {
    world.ws().join("repo")
}

fn race(world: &World, steps: &[&str], race: Value) -> Value {
    let mut body = task(&folder(world), "race", steps);
    body["race"] = race;
    body
}

/// Submits a race. Returns the ids of its tasks.
fn start(server: &Server, body: Value) -> Vec<String> {
    let (status, receipt) = server.http.ask("POST", "/api/tasks", Some(body));
    assert_eq!(status, 202, "{receipt}");
    let ids: Vec<String> = serde_json::from_value(receipt["race"].clone()).expect("a race");
    assert_eq!(receipt["taskId"], json!(ids[0]));
    ids
}

fn view(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/tasks/{id}/race"))
}

/// The branches of contenders that are there.
fn branches(world: &World) -> Vec<String> {
    git(&folder(world), &["branch", "--format=%(refname:short)", "--list", "cc-anywhere/*"])
        .lines()
        .map(str::to_owned)
        .collect()
}

fn worktrees(world: &World) -> usize {
    git(&folder(world), &["worktree", "list"]).lines().count() - 1
}

/// Waits until there is a file in the folder of just one contender, which goes on then.
const THE_SECOND_IS_LET_GO: &str = "bash echo $PWD >b.txt; until [ -e go ]; do sleep 0.02; done";

fn the_first_that_is_verified_wins(world: &World) {
    repository(world);
    let server = world.serve("managed", &[("QUEUE_CONCURRENCY", "4")]);
    let mut body = race(world, &[THE_SECOND_IS_LET_GO, "say done"], json!({ "n": 3, "pick": "first_verified" }));
    body["verify"] = json!({ "command": "test -e b.txt" });
    body["options"]["sdk"]["maxBudgetUsd"] = json!(3.0);
    let ids = start(&server, body);
    assert_eq!(ids.len(), 3);
    let works_in = |id: &str| server.task(id)["workingDirectory"].as_str().expect("a folder").to_owned();
    until("all to work", || ids.iter().all(|id| fs::exists(works_in(id) + "/b.txt").expect("a look")).then_some(()));
    let open = view(&server, &ids[0]);
    assert_eq!((&open["state"], &open["winner"], &open["raceId"]), (&json!("open"), &Value::Null, &json!(ids[0])));
    // One budget for all of them.
    assert_eq!(server.task(&ids[2])["options"]["sdk"]["maxBudgetUsd"], json!(1.0));
    fs::write(works_in(&ids[1]) + "/go", "").expect("a file");
    let ended = server.wait_end(&ids[1]);
    assert_eq!((&ended["status"], &ended["verification"]["passed"]), (&json!("completed"), &json!(true)), "{ended:#}");
    for loser in [&ids[0], &ids[2]] {
        let ended = server.wait_end(loser);
        assert_eq!(
            (&ended["status"], &ended["error"]["code"]),
            (&json!("cancelled"), &json!("RACE_LOST")),
            "{ended:#}"
        );
    }
    let won = view(&server, &ids[2]);
    assert_eq!((&won["state"], &won["winner"]), (&json!("won"), &json!(ids[1])), "{won:#}");
    let second = &won["contenders"][1];
    assert_eq!((&second["won"], &second["verified"], &second["additions"]), (&json!(true), &json!(true), &json!(1)));
    // The losers are stopped and cleaned: no process, no worktree, no branch.
    until("the losers to end", || world.processes_with("-e go ]").is_empty().then_some(()));
    until("the losers to be cleaned", || (worktrees(world) <= 1 && branches(world).len() <= 1).then_some(()));
    assert_eq!(branches(world), [format!("cc-anywhere/{}", ids[1])]);
    let (status, answer) = server.http.ask("POST", &format!("/api/tasks/{}/race/pick", ids[0]), None);
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("RACE_DECIDED")), "{answer}");
    check_history(world, &["--settled"]);
}

#[test]
fn the_first_that_is_verified() {
    the_first_that_is_verified_wins(&World::new());
}

#[test]
fn the_same_on_postgres() {
    the_first_that_is_verified_wins(&World::on_postgres());
}

#[test]
fn the_cheapest_wins_when_all_have_ended() {
    let world = World::new();
    repository(&world);
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "1")]);
    let mut body = race(&world, &["say done"], json!({ "models": ["sonnet", "haiku"], "pick": "cheapest" }));
    // The first has more to do: its work does not pass at once.
    let mends = "test -e mended || { echo step bash touch mended; echo step say mended; exit 1; }";
    body["verify"] = json!({ "command": format!("case $(git branch --show-current) in lane-1) {mends} ;; esac") });
    body["options"]["worktree"] = json!({ "branch": "lane" });
    body["options"]["async"] = json!(false);
    let (status, winner) = server.http.ask("POST", "/api/tasks", Some(body));
    assert_eq!((status, &winner["status"]), (200, &json!("completed")), "{winner:#}");
    let id = winner["taskId"].as_str().expect("an id");
    let race = view(&server, id);
    let contenders = race["contenders"].as_array().expect("contenders");
    let models: Vec<_> = contenders.iter().map(|one| one["model"].as_str().expect("a model")).collect();
    assert_eq!(models, ["sonnet", "haiku"]);
    let cost = |one: &Value| one["costUsd"].as_f64().expect("a cost");
    assert!(cost(&contenders[0]) > cost(&contenders[1]), "{race:#}");
    assert_eq!((&contenders[0]["won"], &contenders[1]["won"]), (&json!(false), &json!(true)), "{race:#}");
    assert_eq!(contenders[1]["taskId"], json!(id), "the answer is the winner");
    check_history(&world, &["--settled"]);
}

/// A race with a judge whose contenders say this. Returns the ids, the judge's last, once it has ended.
fn judged(world: &World, server: &Server, name: &str, says: &str) -> Vec<String> {
    // What the contenders are told has no steps, so that the judge, who reads it too, takes those of their results.
    let says = format!("json {}", json!(says));
    world.model.script(name, &["bash echo $PWD >b.txt", &says]);
    let mut body = race(world, &[], json!({ "n": 2, "pick": "judge" }));
    body["instruction"] = json!(name);
    let ids = start(server, body);
    assert_eq!(ids.len(), 3, "with the judge");
    ids.iter().for_each(|id| drop(server.wait_end(id)));
    ids
}

#[test]
fn a_judge_is_shown_what_each_has_done_and_chooses() {
    let world = World::new();
    repository(&world);
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "4")]);
    let chooses =
        "It is done.\nstep tool StructuredOutput {\"winner\": \"c2\", \"why\": \"it is shorter\"}\nstep say chosen";
    let ids = judged(&world, &server, "Change it.", chooses);
    let told = world.model.calls().into_iter().find(|call| call.instruction.contains("Choose the best"));
    let told = told.expect("a judge").instruction;
    for part in ["--- c1: completed", "--- c2: completed", "It is done.", "+++ b/b.txt"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let decided = view(&server, &ids[0]);
    assert_eq!((&decided["state"], &decided["winner"]), (&json!("won"), &json!(ids[1])), "{decided:#}");
    assert_eq!((&decided["judgeTaskId"], &decided["judgeSays"]), (&json!(ids[2]), &json!("it is shorter")));

    // One that gives no answer leaves it to a person.
    let ids = judged(&world, &server, "Change it again.", "It is done.");
    let undecided = view(&server, &ids[0]);
    assert_eq!((&undecided["state"], &undecided["winner"]), (&json!("needsPick"), &Value::Null), "{undecided:#}");
    let (status, decided) = server.http.ask("POST", &format!("/api/tasks/{}/race/pick", ids[1]), None);
    assert_eq!((status, &decided["winner"]), (200, &json!(ids[1])), "{decided:#}");
    check_history(&world, &["--settled"]);
}

#[test]
fn a_person_chooses_and_what_can_t_win_is_refused() {
    let world = World::new();
    repository(&world);
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "4")]);
    let ids = start(&server, race(&world, &["bash echo x >b.txt", "say done"], json!({ "n": 2, "pick": "me" })));
    ids.iter().for_each(|id| drop(server.wait_end(id)));
    let race_view = view(&server, &ids[0]);
    assert_eq!(race_view["state"], "needsPick", "{race_view:#}");
    let (status, answer) = server.http.ask("POST", &format!("/api/tasks/{}/race/pick", ids[1]), None);
    assert_eq!((status, &answer["state"], &answer["winner"]), (200, &json!("won"), &json!(ids[1])), "{answer:#}");
    // None completes: nobody wins.
    let ids = start(&server, race(&world, &["error 400 no"], json!({ "n": 2, "pick": "cheapest" })));
    ids.iter().for_each(|id| drop(server.wait_end(id)));
    assert_eq!(view(&server, &ids[1])["state"], "lost");
    let alone = server.submit(task(&world.ws(), "alone", &["say done"]));
    let (status, answer) = server.http.ask("GET", &format!("/api/tasks/{alone}/race"), None);
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("NO_RACE")), "{answer}");
    // A retry of a contender is a task of its own.
    let (status, again) = server.http.ask("POST", &format!("/api/tasks/{}/retry", ids[0]), None);
    assert_eq!(status, 202, "{again}");
    assert!(server.task(again["taskId"].as_str().expect("an id"))["race"].is_null());
    server.wait_end(again["taskId"].as_str().expect("an id"));
    server.wait_end(&alone);
    check_history(&world, &["--settled"]);
}

#[test]
fn a_race_that_can_t_be_run_is_refused() {
    let world = World::new();
    repository(&world);
    let server = world.serve("standalone", &[]);
    let with = |more: Value| {
        let mut body = race(&world, &["say x"], json!({ "n": 2, "pick": "cheapest" }));
        for (path, value) in more.as_object().expect("an object") {
            *body.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value.clone();
        }
        body
    };
    for (more, field) in [
        (json!({ "/race": { "n": 1 } }), "race.n"),
        (json!({ "/race": { "n": 9 } }), "race.n"),
        (json!({ "/race": { "n": 2, "models": ["a", "b", "c"] } }), "race.models"),
        (json!({ "/race": { "n": 2 } }), "race.pick"),
        (json!({ "/race": { "n": 2, "pick": "best" } }), "race.pick"),
        (json!({ "/race": { "n": 2, "pick": "me" }, "/options": { "async": false } }), "options.async"),
        (json!({ "/options": { "useWorktree": false } }), "options.useWorktree"),
        (json!({ "/options": { "sdk": { "resumeSession": "6e0cbf5e-8f5d-4a9c-9d39-1f7b3a1a6c11" } } }), "race"),
    ] {
        let (status, answer) = server.http.ask("POST", "/api/tasks", Some(with(more)));
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
    }
    let batch = json!({ "tasks": [with(json!({}))] });
    let (status, answer) = server.http.ask("POST", "/api/tasks/batch", Some(batch));
    assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!("tasks[0].race")), "{answer}");
    assert_eq!(server.get("/api/tasks")["total"], 0, "nothing is stored");
    // The same request again is the same race, by either name.
    let mut body = with(json!({}));
    body["attempts"] = body.as_object_mut().expect("an object").remove("race").expect("a race");
    let send =
        || server.http.try_ask("POST", "/api/tasks", &[("idempotency-key", "k")], Some(&body)).expect("an answer");
    let (first, second) = (send(), send());
    assert_eq!((first.1["race"].as_array().map(Vec::len), &first.1["race"]), (Some(2), &second.1["race"]));
    assert_eq!(server.get("/api/tasks")["total"], 2);
}

//! Lists and pages, as a dashboard asks for them: events from either end, counts, words, conversations, many tasks changed
//! at once, figures, and what a server says of itself.

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, task, until};

fn numbers(page: &Value) -> Vec<i64> {
    page["events"].as_array().expect("events").iter().map(|event| event["seq"].as_i64().expect("a number")).collect()
}

fn pages_of_events(world: &World) {
    let server = world.serve("inline", &[]);
    let steps: Vec<String> = (0..6).map(|n| format!("bash echo {n}")).chain(["say done".to_owned()]).collect();
    let id = server.submit(task(&world.ws(), "pages", &steps.iter().map(String::as_str).collect::<Vec<_>>()));
    let done = server.wait_end(&id);
    let total = done["lastSeq"].as_i64().expect("a number");
    assert!(total > 15, "{done:#}");
    let page = |query: &str| server.get(&format!("/api/tasks/{id}/events/page?{query}"));

    let newest = page("limit=5");
    assert_eq!(numbers(&newest), (total - 4..=total).collect::<Vec<_>>());
    let ends = |page: &Value| [page["first"].clone(), page["last"].clone(), page["total"].clone()];
    assert_eq!(ends(&newest), [json!(total - 4), json!(total), json!(total)]);
    assert_eq!(newest["hasMore"], true);
    // Backwards to the first, and forwards to the last: nothing twice, nothing missing.
    let (mut before, mut seen) = (i64::MAX, Vec::new());
    loop {
        let page = page(&format!("limit=4&before={before}"));
        seen.splice(0..0, numbers(&page));
        before = page["first"].as_i64().expect("a number");
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(seen, (1..=total).collect::<Vec<_>>());
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = page(&format!("limit=4&after={after}"));
        seen.extend(numbers(&page));
        after = page["last"].as_i64().expect("a number");
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(seen, (1..=total).collect::<Vec<_>>());
    // By kind, from both ends.
    let kinds = |page: &Value| -> Vec<String> {
        let events = page["events"].as_array().expect("events").iter();
        events.map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect()
    };
    let calls = page("kind=tool_use,tool_result&after=0&limit=12");
    assert_eq!(kinds(&calls), ["tool_use", "tool_result"].repeat(6));
    assert_eq!(calls["hasMore"], false, "the others are of other kinds");
    let last_calls = page("kind=tool_use&limit=2");
    assert_eq!((kinds(&last_calls), &last_calls["hasMore"]), (vec!["tool_use".to_owned(); 2], &json!(true)));
    let none = page("kind=permission");
    assert_eq!((numbers(&none), &none["hasMore"]), (vec![], &json!(false)));
    assert_eq!(ends(&page(&format!("after={total}"))), [json!(total + 1), json!(total), json!(total)]);
    assert_eq!(numbers(&page("before=1")), Vec::<i64>::new());
    for (query, field) in [("kind=none", "kind"), ("after=1&before=2", "before"), ("before=x", "before")] {
        let (status, answer) = server.http.ask("GET", &format!("/api/tasks/{id}/events/page?{query}"), None);
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
    }
    assert_eq!(done["costSoFar"], done["costUsd"]);
    assert_eq!((&done["costEstimated"], &done["activity"]), (&json!(false), &Value::Null));
}

#[test]
fn events_are_read_from_either_end() {
    pages_of_events(&World::new());
}

#[test]
fn events_are_read_from_either_end_on_postgres() {
    pages_of_events(&World::on_postgres());
}

fn total(server: &Server, query: &str) -> i64 {
    server.get(&format!("/api/tasks?{query}"))["total"].as_i64().unwrap_or(-1)
}

fn words_and_counts(world: &World) {
    let keys = "team-a=a-key-of-team-a-here";
    let server = world.serve("inline", &[("API_KEYS", keys)]);
    let mine = Client::new(&server.http.url, "a-key-of-team-a-here");
    let done = server.submit(task(&world.ws(), "Mend the Übergang 100% of it", &["say the lease_was wrong"]));
    server.wait_end(&done);
    let later = |instruction: &str| json!({ "instruction": instruction, "runAt": "2125-01-01T00:00:00Z" });
    server.submit(later("Tidy the lease"));
    assert_eq!(mine.ask("POST", "/api/tasks", Some(later("Tidy it"))).0, 202);

    let list = server.get("/api/tasks?status=failed");
    assert_eq!((&list["total"], &list["counts"]["pending"]), (&json!(0), &json!(2)), "whichever status is asked for");
    assert_eq!(list["counts"], json!({ "pending": 2, "running": 0, "completed": 1, "failed": 0, "cancelled": 0 }));
    for (query, found) in [
        ("q=tidy", 2),
        ("q=TIDY%20lease", 1),
        ("q=lease", 2),
        ("q=%C3%BCbergang", 1),
        ("q=100%25", 1),
        ("q=0%25%20o", 1),
        ("q=lease_was", 1),
        ("q=leaseXwas", 0),
        ("q=instruction", 0),
        ("q=lease&status=pending", 1),
        ("q=", 3),
    ] {
        assert_eq!(total(&server, query), found, "{query}");
    }
    let of_lease = server.get("/api/tasks?q=lease&status=pending");
    assert_eq!((&of_lease["counts"]["completed"], &of_lease["counts"]["pending"]), (&json!(1), &json!(1)));
    let (_, own) = mine.ask("GET", "/api/tasks?q=tidy", None);
    assert_eq!((&own["total"], &own["counts"]["pending"]), (&json!(1), &json!(1)));
    let (status, answer) = server.http.ask("GET", "/api/tasks?q=a+a+a+a+a+a+a+a+a", None);
    assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!("q")));
}

#[test]
fn lists_know_words_and_counts() {
    words_and_counts(&World::new());
}

#[test]
fn lists_know_words_and_counts_on_postgres() {
    words_and_counts(&World::on_postgres());
}

fn running_task(world: &World) {
    let server = world.serve("inline", &[]);
    let wait = "bash while [ ! -e go ]; do sleep 0.05; done";
    let id = server.submit(task(&world.ws(), "works", &[wait, "say done"]));
    server.wait_tool(&id);
    let running = until("a cost", || Some(server.task(&id)).filter(|task| task["costSoFar"].is_number()));
    assert_eq!((&running["costUsd"], &running["costEstimated"]), (&Value::Null, &json!(true)));
    assert_eq!(running["activity"]["kind"], "tool_use");
    assert!(running["activity"]["line"].as_str().is_some_and(|line| line.starts_with("Bash ")), "{running:#}");
    let listed = server.get("/api/tasks?status=running");
    assert_eq!(listed["tasks"][0]["activity"], running["activity"]);
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let done = server.wait_end(&id);
    assert_eq!((&done["costSoFar"], &done["costEstimated"]), (&done["costUsd"], &json!(false)));
    assert!(done["costUsd"].is_number());
}

#[test]
fn a_running_task_says_what_it_does_and_costs() {
    running_task(&World::new());
}

#[test]
fn a_running_task_says_what_it_does_and_costs_on_postgres() {
    running_task(&World::on_postgres());
}

fn bulk(server: &Client, body: Value) -> (u16, Value) {
    server.ask("POST", "/api/tasks/bulk", Some(body))
}

fn many_at_once(world: &World) {
    let keys = "team-a=a-key-of-team-a-here";
    let settings = [("API_KEYS", keys), ("MAX_PENDING_TASKS", "100000")];
    let server = world.serve("standalone", &settings);
    let mine = Client::new(&server.http.url, "a-key-of-team-a-here");
    let one = |n: i64| json!({ "instruction": format!("task {n}"), "tags": [if n % 2 == 0 { "even" } else { "odd" }] });
    for from in [0, 600] {
        let tasks: Vec<Value> = (from..from + 600).map(one).collect();
        assert_eq!(server.http.ask("POST", "/api/tasks/batch", Some(json!({ "tasks": tasks }))).0, 202);
    }
    assert_eq!(mine.ask("POST", "/api/tasks", Some(one(2))).0, 202);
    let even = json!({ "tag": "even" });
    // Without a number that is expected nothing happens.
    let (status, counted) = bulk(&server.http, json!({ "filter": even, "action": "cancel" }));
    assert_eq!((status, &counted["matched"], &counted["done"]), (200, &json!(601), &json!(0)), "{counted}");
    let (status, refused) = bulk(&server.http, json!({ "filter": even, "action": "cancel", "expect": 500 }));
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("MORE_TASKS_THAN_EXPECTED")), "{refused}");
    assert_eq!(total(&server, "status=cancelled"), 0);
    // A key touches its own.
    let (_, own) = bulk(&mine, json!({ "filter": even, "action": "amend", "priority": 7, "expect": 1 }));
    assert_eq!((&own["matched"], &own["done"]), (&json!(1), &json!(1)), "{own}");
    let (_, done) = bulk(&server.http, json!({ "filter": even, "action": "cancel", "expect": 590 }));
    assert_eq!((&done["done"], &done["nextCursor"]), (&json!(601), &Value::Null), "{done}");
    assert_eq!((total(&server, "status=cancelled"), total(&server, "status=pending")), (601, 600));
    // Each ended task is run again once, however often it is asked.
    let retry = |expect: i64| json!({ "filter": { "tag": "even" }, "action": "retry", "expect": expect });
    let (_, done) = bulk(&server.http, retry(601));
    assert_eq!((&done["done"], &done["skipped"]), (&json!(601), &json!(0)), "{done}");
    let (_, again) = bulk(&server.http, retry(601));
    assert_eq!((&again["done"], &again["skipped"]), (&json!(0), &json!(601)), "{again}");
    assert_eq!(total(&server, "status=pending"), 1_201);
    for (body, field) in [
        (json!({ "filter": {}, "action": "amend" }), "action"),
        (json!({ "filter": {}, "action": "cancel", "priority": 1 }), "priority"),
        (json!({ "filter": { "status": ["odd"] }, "action": "cancel" }), "filter.status[0]"),
        (json!({ "filter": {}, "action": "amend", "priority": 101 }), "priority"),
        (json!({ "action": "cancel" }), "filter"),
    ] {
        let (status, answer) = bulk(&server.http, body);
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
    }
    let nothing = bulk(&server.http, json!({ "filter": { "status": ["completed"] }, "action": "cancel", "expect": 5 }));
    assert_eq!((nothing.0, &nothing.1["matched"]), (200, &json!(0)));
}

#[test]
fn many_tasks_are_changed_at_once() {
    many_at_once(&World::new());
}

#[test]
fn many_tasks_are_changed_at_once_on_postgres() {
    many_at_once(&World::on_postgres());
}

fn conversations(world: &World) {
    let keys = "team-a=a-key-of-team-a-here";
    let server = world.serve("inline", &[("API_KEYS", keys)]);
    let first = server.submit(task(&world.ws(), "begins", &["say one"]));
    server.wait_end(&first);
    let other = server.submit(task(&world.ws(), "other", &["say other"]));
    server.wait_end(&other);
    let mut last = first.clone();
    for n in 0..2 {
        let mut body = task(&world.ws(), &format!("goes on {n}"), &["say more"]);
        body["context"] = json!({});
        body["options"]["sdk"]["continueFromTaskId"] = json!(last);
        last = server.submit(body);
        let done = server.wait_end(&last);
        assert_eq!(done["status"], "completed", "{done:#}");
    }
    let page = server.get("/api/sessions");
    let sessions = page["sessions"].as_array().expect("sessions");
    assert_eq!(sessions.len(), 2, "{page:#}");
    let titles = |session: &Value| -> Vec<String> {
        let tasks = session["tasks"].as_array().expect("tasks").iter();
        tasks.map(|task| task["title"].as_str().expect("a title").to_owned()).collect()
    };
    assert_eq!(titles(&sessions[0]), ["begins", "goes on 0", "goes on 1"]);
    assert_eq!(titles(&sessions[1]), ["other"]);
    assert_eq!((&sessions[0]["taskCount"], &sessions[1]["taskCount"]), (&json!(3), &json!(1)));
    assert!(sessions[0]["costUsd"].as_f64() > sessions[1]["costUsd"].as_f64());
    let second = server.get("/api/sessions?limit=1");
    let cursor = second["nextCursor"].as_str().expect("more").to_owned();
    let rest = server.get(&format!("/api/sessions?limit=1&cursor={cursor}"));
    assert_eq!(titles(&rest["sessions"][0]), ["other"]);
    let mine = Client::new(&server.http.url, "a-key-of-team-a-here");
    assert_eq!(mine.ask("GET", "/api/sessions", None).1["sessions"], json!([]));
}

#[test]
fn conversations_are_listed_with_their_tasks() {
    conversations(&World::new());
}

#[test]
fn conversations_are_listed_with_their_tasks_on_postgres() {
    conversations(&World::on_postgres());
}

fn figures(world: &World) {
    let mut server = world.serve("inline", &[("QUEUE_CONCURRENCY", "1")]);
    let ids: Vec<String> = (0..3).map(|n| server.submit(task(&world.ws(), &format!("t{n}"), &["say x"]))).collect();
    ids.iter().for_each(|id| drop(server.wait_end(id)));
    server.submit(json!({ "instruction": "later", "runAt": "2125-01-01T00:00:00Z" }));
    let sum = |series: &Value, name: &str| -> f64 {
        series["series"][name].as_array().expect("values").iter().filter_map(Value::as_f64).sum()
    };
    let check = |server: &Server| {
        let series = server.get("/api/series?of=submitted,started,ended,failed,pending,cost");
        let points = series["at"].as_array().expect("times").len();
        assert!((360..=362).contains(&points), "{points}");
        assert_eq!((sum(&series, "submitted"), sum(&series, "started")), (4.0, 3.0), "{series}");
        assert_eq!((sum(&series, "ended"), sum(&series, "failed")), (3.0, 0.0));
        assert_eq!(series["series"]["pending"].as_array().and_then(|all| all.last()), Some(&json!(1.0)));
        assert_eq!(series["series"]["pending"][0], 0.0, "before the first task there was none");
        assert!(sum(&series, "cost") > 0.0);
        let hours = server.get("/api/series?of=ended&step=3600");
        assert!((6..=7).contains(&hours["at"].as_array().expect("times").len()), "{hours}");
    };
    check(&server);
    // A start knows what was before it.
    server = {
        drop(server);
        world.serve("inline", &[("QUEUE_CONCURRENCY", "1")])
    };
    check(&server);
    for (query, field) in [("step=61", "step"), ("of=none", "of"), ("from=yesterday", "from")] {
        let (status, answer) = server.http.ask("GET", &format!("/api/series?{query}"), None);
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)));
    }
}

#[test]
fn figures_of_the_last_hours_outlive_a_restart() {
    figures(&World::new());
}

#[test]
fn figures_of_the_last_hours_outlive_a_restart_on_postgres() {
    figures(&World::on_postgres());
}

#[test]
fn a_server_tells_its_settings_and_what_is_missing_but_no_secret() {
    let world = World::new();
    std::fs::write(world.ws().join("cc-anywhere.toml"), "max_pending_tasks = 77\n").expect("a file");
    let server = world.serve("inline", &[("WEBHOOK_SECRET", "a-secret-of-webhooks-1")]);
    let settings = server.get("/api/settings");
    let of = |name: &str| {
        let all = settings["settings"].as_array().expect("settings");
        all.iter().find(|setting| setting["name"] == name).cloned().unwrap_or_default()
    };
    for (name, value, origin) in [
        ("MAX_PENDING_TASKS", json!("77"), "file"),
        ("WORKER_MODE", json!("inline"), "flag"),
        ("LOG_LEVEL", json!("debug"), "environment"),
        ("WORKER_COUNT", json!("1"), "default"),
        ("WEBHOOK_SECRET", json!("set"), "environment"),
        ("ANTHROPIC_API_KEY", json!("set"), "environment"),
        ("DATABASE_URL", Value::Null, "default"),
    ] {
        let setting = of(name);
        assert_eq!((&setting["value"], &setting["origin"]), (&value, &json!(origin)), "{name}: {setting}");
    }
    let text = settings.to_string();
    assert!(!text.contains("a-secret-of-webhooks-1") && !text.contains("sk-test-not-real"));
    let report = server.get("/api/doctor");
    let names: Vec<_> =
        report["findings"].as_array().expect("findings").iter().map(|one| one["what"].clone()).collect();
    assert_eq!(names, ["Claude Code CLI", "credential", "data folder", "disk", "database", "walls"]);
    assert_eq!(report["ok"], true, "{report:#}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what is compressed is opened by another program")]
fn answers_are_compressed_for_those_who_accept_it() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let id = server.submit(task(&world.ws(), "x", &["say done"]));
    server.wait_end(&id);
    let (_, plain) = server.http.raw("/api/openapi.json");
    let asked = |path: &str, accepts: &str| {
        let request = ureq::http::Request::builder()
            .uri(format!("{}{path}", server.http.url))
            .header("x-api-key", &server.http.key)
            .header("accept-encoding", accepts);
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut answer = ureq::Agent::from(config).run(request.body(()).expect("a request")).expect("an answer");
        let encoding = answer.headers().get("content-encoding").map(|value| value.to_str().expect("text").to_owned());
        (encoding, answer.body_mut().with_config().read_to_vec().expect("a body"))
    };
    let (encoding, body) = asked("/api/openapi.json", "gzip");
    assert_eq!((encoding.as_deref(), body.starts_with(&[0x1f, 0x8b])), (Some("gzip"), true));
    assert!(body.len() * 4 < plain.len(), "{} of {}", body.len(), plain.len());
    let unpacked = std::process::Command::new("gzip")
        .arg("-dc")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut gzip| {
            let mut input = gzip.stdin.take().expect("a pipe");
            let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, &body));
            let output = gzip.wait_with_output();
            writer.join().expect("no panic").expect("written");
            output
        })
        .expect("gzip");
    assert_eq!(unpacked.stdout, plain);
    for (path, accepts) in
        [("/api/openapi.json", "identity"), ("/health", "gzip"), (&*format!("/api/tasks/{id}/events"), "gzip")]
    {
        assert_eq!(asked(path, accepts).0, None, "{path} {accepts}");
    }
}

//! A hostile store: whatever stands in a column, the server starts, everything is listed, and all but the one row
//! that it belongs to goes on.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{World, scripted_claude, until};

/// What is written into a column, as an expression of SQL over the column `{}`.
const STRANGE: [(&str, &str); 10] = [
    ("empty", "''"),
    ("null", "'null'"),
    ("a list", "'[]'"),
    ("no JSON", "'{no: json'"),
    (
        "an unknown field",
        "CASE WHEN json_valid({}) THEN json_set({}, '$.newField', json('{\"x\":1}')) ELSE 'x' || {} END",
    ),
    ("an unknown word", "'unheard'"),
    (
        "140 levels",
        "'{\"instruction\":\"x\",\"a\":' || replace(printf('%140s', ''), ' ', '[') || replace(printf('%140s', ''), ' ', ']') || '}'",
    ),
    ("half a letter", "'{\"instruction\":\"half \\ud83d\",\"data\":\"\\ud83d\"}'"),
    ("16 MB", "printf('%.*c', 16000000, 'x')"),
    ("a newer version", "'{\"version\":99,\"instruction\":\"@say one\",\"newField\":1}'"),
];

/// The data folder of a server that has done and holds something of every kind.
struct Template {
    world: World,
    /// The tasks that are changed where a column is one of tasks, each for one.
    victims: Vec<String>,
    /// The schedule that is changed.
    schedule: String,
    /// One that fires every second.
    ticks: String,
    /// A task that waits beside it.
    bystander: String,
}

/// Tasks that are changed at a time.
const VICTIMS: usize = 6;

const SETTINGS: [(&str, &str); 3] =
    [("QUEUE_CONCURRENCY", "4"), ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1"), ("API_KEY", "a-key-for-the-hostile-store")];

impl Template {
    fn make() -> Self {
        let world = World::new();
        let claude = scripted_claude();
        let server = world.serve("inline", &[&SETTINGS[..], &[("CLAUDE_PATH", &claude)]].concat());
        let post = |path: &str, body: Value, id: &str| {
            let (status, answer) = server.http.ask("POST", path, Some(body));
            assert!((200..300).contains(&status), "{path} {answer}");
            answer[id].as_str().unwrap_or_default().to_owned()
        };
        let body = |text: &str| {
            json!({
                "instruction": text, "tags": ["blue"], "concurrencyKey": text,
                "options": { "webhook": { "url": "http://127.0.0.1:9/" } },
            })
        };
        post("/api/webhooks", json!({ "url": "http://127.0.0.1:9/" }), "webhookId");
        let limit =
            json!({ "group": "tag", "name": "red", "concurrency": 3, "rate": { "starts": 9, "periodMs": 1_000 } });
        let (status, answer) = server.http.ask("PUT", "/api/queue/limits", Some(limit));
        assert_eq!(status, 200, "{answer}");
        let headers = [("content-type", "application/json"), ("idempotency-key", "one")];
        let (status, _, answer) = server.http.send("POST", "/api/tasks", &headers, Some(&body("done").to_string()));
        assert_eq!(status, 202, "{answer}");
        server.wait_end(answer["taskId"].as_str().expect("an id"));
        let plan = |cron: &str| json!({ "cron": cron, "missed": "skip", "task": { "instruction": "by the clock" } });
        let schedule = post("/api/schedules", plan("0 0 1 1 *"), "scheduleId");
        let ticks = post("/api/schedules", plan("* * * * * *"), "scheduleId");
        let running = post("/api/tasks", body("long and broken off"), "taskId");
        server.follow(&running, |event| event["kind"] == "assistant").expect("it runs");
        post("/api/queue/pause", json!({}), "");
        let victims = (0..VICTIMS).map(|n| post("/api/tasks", body(&format!("victim {n}")), "taskId")).collect();
        let bystander = post("/api/tasks", body("bystander"), "taskId");
        let mut server = server;
        server.process.signal("KILL");
        server.process.wait();
        let db = open(&world.dir.join("data"));
        let task = uuid::Uuid::parse_str(&running).expect("an id");
        fill_empty_tables(&db, task.as_bytes());
        drop(db);
        copy(&world.dir.join("data"), &world.dir.join("template"));
        Self { world, victims, schedule, ticks, bystander }
    }

    /// Some columns become strange, each in a table or a row of its own; then the server must do all that it did
    /// before.
    fn check(&self, cases: &[Case]) {
        let what = cases.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let data = self.world.dir.join("data");
        std::fs::remove_dir_all(&data).expect("removed");
        copy(&self.world.dir.join("template"), &data);
        let db = open(&data);
        let mut victims = self.victims.iter();
        for Case { table, column, strange: (_, value) } in cases {
            let one = match &**table {
                "tasks" => format!("WHERE id = x'{}'", victims.next().expect("a victim").replace('-', "")),
                "schedules" => format!("WHERE id = x'{}'", self.schedule.replace('-', "")),
                "history" => "WHERE seq = (SELECT MAX(seq) - 3 FROM history)".to_owned(),
                _ => String::new(),
            };
            let value = value.replace("{}", column);
            match db.execute(&format!("UPDATE {table} SET {column} = {value} {one}"), []) {
                Ok(changed) => assert!(changed > 0, "{what}: no row"),
                // The database itself refuses it: a unique column.
                Err(rusqlite::Error::SqliteFailure(..)) => {}
                Err(error) => panic!("{what}: {error}"),
            }
        }
        drop(db);
        eprintln!("{what}");
        let claude = scripted_claude();
        let mut server = self.world.serve("inline", &[&SETTINGS[..], &[("CLAUDE_PATH", &claude)]].concat());
        let fired =
            || server.get(&format!("/api/schedules/{}/runs", self.ticks))["runs"].as_array().map_or(0, Vec::len);
        let before = fired();
        let read = |path: &str| {
            let (status, answer) = server.http.ask("GET", path, None);
            assert_eq!(status, 200, "{what}: {path} {}", answer.to_string().chars().take(400).collect::<String>());
            answer
        };
        let listed = read("/api/tasks?limit=100");
        assert!(listed["tasks"].as_array().is_some_and(|tasks| tasks.len() >= 4), "{what}: {listed:#}");
        for path in ["/api/schedules", "/api/webhooks", "/api/queue/limits", "/api/queue/stats", "/api/usage"] {
            read(path);
        }
        for path in ["/api/tasks?limit=100", "/api/schedules", "/api/webhooks", "/api/queue/limits"] {
            let bytes = server.http.raw(path).1.len();
            assert!(bytes < 8 << 20, "{what}: {path} has {bytes} bytes");
        }
        // Those that were changed, and the oldest, which has rows in most tables.
        let changed = cases.iter().filter(|case| case.table == "tasks").count();
        let oldest = listed["tasks"].as_array().and_then(|tasks| tasks.last()).and_then(|task| task["taskId"].as_str());
        for id in self.victims.iter().take(changed).map(String::as_str).chain(oldest) {
            for path in ["", "/explain", "/permissions?all=true", "/logs", "/conversation", "/deliveries"] {
                let path = format!("/api/tasks/{id}{path}");
                let (status, answer) = server.http.ask("GET", &path, None);
                assert!(status < 500, "{what}: {path} {answer}");
            }
        }
        read(&format!("/api/schedules/{}", self.schedule));
        let page = [("accept", "application/json"), ("last-event-id", "0")];
        let (status, _, answer) = server.http.send("GET", "/api/events", &page, None);
        assert_eq!(status, 200, "{what}: {answer}");
        let (status, answer) = server.http.ask("POST", "/api/queue/start", None);
        assert_eq!(status, 200, "{what}: {answer}");
        let good = server.submit(json!({ "instruction": "good" }));
        assert_eq!(server.wait_end(&good)["status"], "completed", "{what}");
        let bystander = server.wait_end(&self.bystander);
        assert_eq!(bystander["status"], "completed", "{what}: {bystander:#}");
        for victim in &self.victims {
            let (status, answer) = server.http.ask("DELETE", &format!("/api/tasks/{victim}"), None);
            assert!(status < 500, "{what}: {answer}");
            until(&format!("{what}: the end of {victim}"), || {
                let status = server.task(victim)["status"].clone();
                ["completed", "failed", "cancelled"].iter().any(|end| status == *end).then_some(())
            });
        }
        until(&format!("{what}: a firing"), || (fired() > before).then_some(()));
        until(&format!("{what}: health"), || (server.http.ask("GET", "/health", None).0 == 200).then_some(()));
        assert_eq!(server.get("/health")["panics"], 0, "{what}: {}", server.process.logs());
        let (status, answer) = server.http.ask("DELETE", &format!("/api/schedules/{}", self.schedule), None);
        assert!(status < 500, "{what}: {answer}");
        let loud = |line: &&str| line.contains("level=warn") || line.contains("level=error");
        let lines = server.process.logs().lines().filter(loud).count();
        assert!(lines < 60, "{what}: {lines} lines: {}", server.process.logs());
        server.process.signal("TERM");
        assert_eq!(server.process.wait(), 0, "{what}");
    }
}

/// The database, as another program would change it.
fn open(data: &Path) -> Connection {
    let db = Connection::open(data.join("cc.db")).expect("the database");
    db.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").expect("set");
    db
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn strings(db: &Connection, text: &str) -> Vec<Column> {
    let mut found = db.prepare(text).expect("a statement");
    let rows = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

/// The name of a column, its type, and whether it must have a value.
type Column = (String, String, bool);

/// Tables of the server, each with its columns.
fn columns(db: &Connection) -> Vec<(String, Vec<Column>)> {
    let tables = strings(
        db,
        "SELECT name, '', 0 FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'seaql_migrations'",
    );
    let of =
        |table: &str| strings(db, &format!("SELECT name, upper(type), \"notnull\" FROM pragma_table_info('{table}')"));
    tables.into_iter().map(|(table, ..)| (table.clone(), of(&table))).collect()
}

fn is_text(kind: &str) -> bool {
    ["TEXT", "CHAR", "JSON"].iter().any(|word| kind.contains(word))
}

/// A row for every table that has none, so that every column is tried.
fn fill_empty_tables(db: &Connection, task: &[u8]) {
    for (table, columns) in columns(db) {
        let count: i64 = db.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).expect("a count");
        if count > 0 {
            continue;
        }
        let value = |(name, kind, _): &Column| match (&**name, &**kind) {
            ("task_id", _) => format!("x'{}'", task.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
            (_, kind) if is_text(kind) => "'x'".to_owned(),
            (_, kind) if kind.contains("BLOB") || kind.contains("UUID") => "x'01'".to_owned(),
            _ => "1".to_owned(),
        };
        let names: Vec<_> = columns.iter().map(|(name, ..)| name.as_str()).collect();
        let values: Vec<_> = columns.iter().map(value).collect();
        let text = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "));
        db.execute(&text, []).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

/// A column and what is written into it.
#[derive(Clone)]
struct Case {
    table: String,
    column: String,
    strange: (&'static str, &'static str),
}

impl fmt::Display for Case {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}.{}: {}", self.table, self.column, self.strange.0)
    }
}

/// Every column with every value, in batches that touch each table or row once.
fn batches(db: &Connection) -> Vec<Vec<Case>> {
    let mut batches = Vec::new();
    for strange in STRANGE {
        let mut columns: Vec<(String, Vec<String>)> = columns(db)
            .into_iter()
            .map(|(table, of)| (table, of.into_iter().filter(|(_, kind, _)| is_text(kind)).map(|of| of.0).collect()))
            .collect();
        loop {
            let mut batch = Vec::new();
            for (table, left) in &mut columns {
                // Some are read at every look: all at a time are slow, and that is all.
                if strange.0 == "16 MB" && batch.len() >= 3 {
                    break;
                }
                let most = if table == "tasks" { VICTIMS } else { 1 };
                let taken = left.drain(..most.min(left.len()));
                batch.extend(taken.map(|column| Case { table: table.clone(), column, strange }));
            }
            if batch.is_empty() {
                break;
            }
            batches.push(batch);
        }
    }
    batches
}

/// All batches, some at a time.
#[test]
fn slow_whatever_stands_in_a_column_costs_at_most_its_row() {
    let template = Template::make();
    let batches = batches(&open(&template.world.dir.join("template")));
    let tried: usize = batches.iter().map(Vec::len).sum();
    assert!(tried > 300, "{tried} columns and values");
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let is_well =
        |template: &Template, batch: &[Case]| catch_unwind(AssertUnwindSafe(|| template.check(batch))).is_ok();
    let work = |template: Template| {
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !is_well(&template, batch) {
                // Which of them it was.
                let alone = batch.iter().filter(|case| !is_well(&template, &[(*case).clone()]));
                let named: Vec<_> = alone.map(ToString::to_string).collect();
                wrong.lock().expect("a list").push(format!("{named:?} of {} together", batch.len()));
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..2).map(|_| scope.spawn(|| work(Template::make()))).collect();
        work(template);
        others.into_iter().for_each(|other| other.join().expect("the others as well"));
    });
    let wrong = wrong.into_inner().expect("a list");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

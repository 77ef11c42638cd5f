//! Every step of the schema, on a database of the version before with rows in every table: each value is the same
//! after going up, and after going down again.
//!
//! A new step brings a dump of the database before it, `tests/migrations/before-NNNN.sql`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use migration::{Migrator, MigratorTrait};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::support::World;

/// The rows of a table, each by its columns.
type Rows = Vec<BTreeMap<String, String>>;

/// Dumps, each with the number of the step that comes next.
fn dumps() -> Vec<(usize, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrations");
    let number = |file: &Path| file.file_stem()?.to_str()?.strip_prefix("before-")?.parse().ok();
    let files = fs::read_dir(folder).expect("dumps").flatten().map(|file| file.path());
    let mut dumps: Vec<_> = files.map(|file| (number(&file).expect("a number"), file)).collect();
    dumps.sort();
    dumps
}

/// Everything that stands in a database.
fn all(file: &Path) -> BTreeMap<String, Rows> {
    let db = Connection::open(file).expect("a database");
    let mut tables = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'seaql_migrations'")
        .expect("tables");
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).expect("tables").map(Result::unwrap).collect();
    let rows = |table: &String| {
        let mut found = db.prepare(&format!("SELECT * FROM {table}")).expect("a table");
        let names: Vec<String> = found.column_names().into_iter().map(str::to_owned).collect();
        let rows = found.query_map([], |row| {
            let value = |(at, name): (usize, &String)| Ok((name.clone(), format!("{:?}", row.get::<_, Value>(at)?)));
            names.iter().enumerate().map(value).collect::<rusqlite::Result<BTreeMap<_, _>>>()
        });
        let mut rows: Rows = rows.expect("rows").map(|row| row.expect("a row")).collect();
        rows.sort();
        rows
    };
    tables.iter().map(|table| (table.clone(), rows(table))).collect()
}

/// Columns that got another name, each with the one before.
const RENAMED: [(&str, &str); 3] =
    [("resume_session_id", "resumes"), ("pending_messages", "said"), ("finished_attempts", "ended")];

/// The same rows, with the columns that the first have.
fn as_before(after: &Rows, before: &Rows) -> Rows {
    let names: Vec<_> = before.iter().flat_map(BTreeMap::keys).collect();
    let old = |name: &String| match RENAMED.iter().find(|(new, _)| new == name) {
        Some((_, old)) if !names.contains(&name) => (*old).to_owned(),
        _ => name.clone(),
    };
    let row = |row: &BTreeMap<String, String>| {
        let row = row.iter().map(|(name, value)| (old(name), value.clone()));
        row.filter(|(name, _)| names.contains(&name)).collect()
    };
    let mut rows: Rows = after.iter().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn every_value_is_the_same_after_a_step_up_and_down() {
    let steps = Migrator::migrations().len();
    let dumps = dumps();
    assert!(dumps.iter().any(|(next, _)| *next == steps), "tests/migrations/before-{steps:04}.sql is missing");
    for (next, dump) in dumps {
        let world = World::new();
        let file = world.dir.join("data/cc.db");
        let db = Connection::open(&file).expect("a database");
        db.execute_batch(&fs::read_to_string(&dump).expect("a dump")).expect("a database of the version before");
        drop(db);
        let before = all(&file);
        let empty: Vec<_> = before.iter().filter(|(_, rows)| rows.is_empty()).map(|(table, _)| table).collect();
        assert!(empty.is_empty(), "{} has no rows in {empty:?}", dump.display());

        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let url = format!("sqlite:{}", file.display());
        let db = runtime.block_on(sea_orm::Database::connect(&url)).expect("a database");
        runtime.block_on(Migrator::up(&db, None)).expect("up");
        let after = all(&file);
        for (table, rows) in &before {
            assert_eq!(as_before(&after[table], rows), *rows, "{table} after {}", dump.display());
        }
        let down = u32::try_from(steps + 1 - next).expect("few");
        runtime.block_on(Migrator::down(&db, Some(down))).expect("down");
        assert_eq!(all(&file), before, "down again to {}", dump.display());
        runtime.block_on(db.close()).expect("closed");

        // And the server reads all of it.
        let server = world.serve("standalone", &[]);
        let listed = server.get("/api/tasks?limit=100");
        assert_eq!(listed["tasks"].as_array().map(Vec::len), Some(before["tasks"].len()), "{listed:#}");
        for task in listed["tasks"].as_array().into_iter().flatten() {
            let id = task["taskId"].as_str().expect("an id");
            assert_eq!(server.http.ask("GET", &format!("/api/tasks/{id}/logs"), None).0, 200);
            assert!(!task["instruction"].as_str().unwrap_or_default().is_empty(), "{task:#}");
        }
        assert_eq!(server.get("/api/schedules")["schedules"].as_array().map(Vec::len), Some(before["schedules"].len()));
    }
}

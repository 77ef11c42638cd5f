//! Tables that grow: reads and claims with few and with many rows.

use std::path::Path;
use std::time::Duration;

use cc_anywhere::no_op::NoOp;

use crate::server::{Server, request, scratch, text};
use crate::{Figures, block_on, load};

const FINISHED: [u32; 3] = [1_000, 100_000, 1_000_000];
const CLAIMS: usize = 400;
const PENDING: usize = 100_000;

/// `/health` and statistics, and claims, with a thousand to a million finished tasks; claims with a hundred
/// thousand pending ones.
pub fn growth(figures: &mut Figures) {
    let dir = scratch();
    let db = dir.join("data/cc-anywhere.db");
    let mut has = 0;
    let mut first = None;
    for rows in FINISHED {
        // It leaves the folder to the next one.
        let server = Server::start_in(dir.clone(), "standalone", &[]).keep();
        block_on(finished_rows(&db, rows - has));
        // It could not commit meanwhile, and says so until it has.
        server.wait_healthy();
        has = rows;
        for path in ["/health", "/api/queue/stats"] {
            let request = request("GET", path, "");
            let load = block_on(load::run(server.port, &request, 1, Duration::from_secs(1)));
            figures.add(&format!("GET {path} with {rows} finished tasks, p50"), load.p50, "ms");
        }
        drop(server);
        let p50 = claim(&db, CLAIMS);
        let first = *first.get_or_insert(p50);
        figures.add(&format!("a claim with {rows} finished tasks, p50"), p50, "ms");
        figures.add("  over one with a thousand", p50 / first, "");
    }
    let few = claim(&db, CLAIMS);
    let many = claim(&db, PENDING);
    figures.add(&format!("a claim with {PENDING} pending tasks, over one with {CLAIMS}, p50"), many / few, "");
    std::fs::remove_dir_all(dir).ok();
    dependencies(figures);
}

/// Tasks that wait for others: a chain, and one before many before one, beside as many that wait for none.
fn dependencies(figures: &mut Figures) {
    const TASKS: usize = 10_000;
    let shapes = ["that wait for none", "in a chain", "in a fan of 1, 5,000 and 1"];
    let mut first = None;
    for (shape, name) in shapes.into_iter().enumerate() {
        let dir = scratch();
        let db = dir.join("data/cc-anywhere.db");
        std::fs::create_dir_all(dir.join("data")).expect("a folder");
        let (count, claims, ends) = actix::System::new().block_on(async {
            let queue = NoOp::open(&text(&db)).await;
            let count = match shape {
                0 => {
                    queue.submit(TASKS).await;
                    TASKS
                }
                1 => {
                    queue.submit_chain(TASKS).await;
                    TASKS
                }
                _ => {
                    queue.submit_fan(TASKS / 2).await;
                    TASKS / 2 + 2
                }
            };
            let (claims, ends) = queue.drain_times(count).await;
            (count, claims, ends)
        });
        let ms = |times: &[Duration], at: f64| load::at(times, at);
        figures.add(&format!("{count} tasks {name}: a claim, p50"), ms(&claims, 0.5), "ms");
        figures.add("  the slowest claim", ms(&claims, 1.0), "ms");
        figures.add("  the slowest commit of ends", ms(&ends, 1.0), "ms");
        let total: Duration = claims.iter().chain(&ends).sum();
        let each = total.as_secs_f64() * 1e3 / count as f64;
        let first = *first.get_or_insert(each);
        figures.add("  time a task, over one that waits for none", each / first, "");
        std::fs::remove_dir_all(dir).ok();
    }
}

/// The median of claims, one at a time, out of so many pending tasks.
fn claim(db: &Path, pending: usize) -> f64 {
    actix::System::new().block_on(async {
        let queue = NoOp::open(&text(db)).await;
        queue.submit(pending).await;
        load::at(&queue.claim_times(CLAIMS).await, 0.5)
    })
}

async fn finished_rows(db: &Path, rows: u32) {
    let rows = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO tasks (id, status, spec, priority, created_at, completed_at, attempt, finished_attempts, crashes, max_attempts, epoch, last_event)
        SELECT randomblob(16), 'completed', '{{\"instruction\":\"x\"}}', 0, i, i, 1, 1, 0, 3, 1, 0 FROM n"
    );
    insert(db, &rows).await;
}

/// Inserts rows beside the server.
pub async fn insert(db: &Path, rows: &str) {
    use sea_orm::ConnectionTrait;
    let db = sea_orm::Database::connect(format!("sqlite:{}", db.display())).await.expect("the database");
    db.execute_unprepared(rows).await.expect("inserted");
    // What is in the log is read by everybody who looks.
    db.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await.expect("copied");
}

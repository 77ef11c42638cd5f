//! What a submit could cost at best: a bare handler that reads the same body, and one that stores it
//! with plain SQLite, one writer and group commit, as durably as we do.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A row on its way, and who waits for it.
type Row = (uuid::Uuid, String, oneshot::Sender<()>);

/// The ceiling of HTTP.
pub fn bare() {
    async fn submit(body: web::Json<Value>) -> HttpResponse {
        HttpResponse::Accepted().json(json!({ "taskId": uuid::Uuid::now_v7(), "size": body.0.to_string().len() }))
    }
    serve(|config| {
        config.route("/api/tasks", web::post().to(submit));
    });
}

/// The ceiling of HTTP and disk together.
pub fn limit() {
    async fn submit(body: web::Json<Value>, rows: web::Data<SyncSender<Row>>) -> HttpResponse {
        let (id, (done, stored)) = (uuid::Uuid::now_v7(), oneshot::channel());
        rows.send((id, body.0.to_string(), done)).expect("a writer");
        stored.await.expect("stored");
        HttpResponse::Accepted().json(json!({ "taskId": id, "status": "pending" }))
    }
    let folder = std::env::temp_dir().join(format!("cca-limit-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (sender, rows) = sync_channel(1_024);
    let file = folder.join("limit.db");
    std::thread::spawn(move || write(&file, &rows));
    let rows = web::Data::new(sender);
    serve(move |config| {
        config.app_data(rows.clone()).route("/api/tasks", web::post().to(submit));
    });
}

fn write(file: &std::path::Path, rows: &Receiver<Row>) {
    let db = rusqlite::Connection::open(file).expect("a database");
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        CREATE TABLE tasks (id BLOB PRIMARY KEY, status TEXT NOT NULL, spec TEXT NOT NULL, created_at INTEGER NOT NULL)",
    )
    .expect("a table");
    let mut insert = db.prepare("INSERT INTO tasks VALUES (?1, 'pending', ?2, ?3)").expect("a statement");
    while let Ok(first) = rows.recv() {
        let batch: Vec<Row> = std::iter::once(first).chain(rows.try_iter().take(999)).collect();
        db.execute_batch("BEGIN IMMEDIATE").expect("begun");
        for (id, spec, _) in &batch {
            insert.execute(rusqlite::params![id.as_bytes(), spec, 1]).expect("inserted");
        }
        db.execute_batch("COMMIT").expect("committed");
        for (_, _, done) in batch {
            done.send(()).ok();
        }
    }
}

fn serve(routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static) {
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(move || App::new().configure(routes.clone()));
        let server = server.workers(2).bind(("127.0.0.1", 0)).expect("a port");
        println!("{}", server.addrs()[0].port());
        server.run().await.expect("a server");
    });
}

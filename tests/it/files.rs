//! Files that clients send for their tasks, and those that tasks leave.

use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::http::Client;
use crate::support::{Server, World, check_history, until};

/// Bytes that repeat nowhere, so that a piece in the wrong place is seen.
fn content(bytes: usize) -> Vec<u8> {
    let blocks = (0..=(bytes / 32) as u64).flat_map(|n| Sha256::digest(n.to_le_bytes()));
    blocks.take(bytes).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(body)))
}

fn send(client: &Client, bytes: &[u8]) -> String {
    let (status, _, answer) = client.bytes("POST", "/api/files", &[], Some(bytes));
    let answer = json_of(&answer);
    assert!(matches!(status, 200 | 201), "{answer:#}");
    assert_eq!(answer["fileId"], json!(sha256(bytes)));
    answer["fileId"].as_str().expect("an id").to_owned()
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

/// A key of its own.
fn key(server: &Server, name: &str, more: &Value) -> Client {
    let mut body = json!({ "name": name, "scopes": ["read", "submit"] });
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let (status, answer) = server.http.ask("POST", "/api/keys", Some(body));
    assert_eq!(status, 201, "{answer}");
    Client::new(&server.http.url, answer["key"].as_str().expect("a secret"))
}

/// A task in a folder of its own that runs these commands of a shell.
fn asks(commands: &str, files: Value, artifacts: Value) -> Value {
    json!({
        "instruction": format!("Files\nstep bash {commands}\nstep say done"),
        "context": { "files": files },
        "artifacts": artifacts,
        "options": { "sdk": { "allowedTools": ["Bash"] } },
    })
}

fn logged(server: &Server, id: &str) -> String {
    server.get(&format!("/api/tasks/{id}/logs"))["logs"].to_string()
}

/// Contents that are kept on the disk.
fn kept(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.dir.join("data/cc.db-files")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn files_go_in_and_come_out(world: &World) {
    let server = world.serve("standalone", &[]);
    let _worker = world.worker(&[]);
    let bytes = content(700_001);
    let file = send(&server.http, &bytes);
    let commands = "mkdir -p out/deep && cp ../$(basename $PWD).files/data.bin out/deep/copy.bin && echo one > out/one.txt \
        && touch out/empty && ln -s /etc/passwd out/link && ln out/one.txt out/two && echo no > other.txt && mkfifo out/pipe";
    let id = server.submit(asks(commands, json!([{ "fileId": file, "name": "data.bin" }]), json!(["out/**"])));
    let done = server.wait_end(&id);
    assert_eq!(done["status"], "completed", "{done:#}");
    assert_eq!(done["context"]["files"], json!([{ "name": "data.bin", "fileId": file }]));
    let left = server.get(&format!("/api/tasks/{id}/artifacts"));
    let named = |left: &Value| {
        let all = left["artifacts"].as_array().expect("a list").clone();
        all.iter()
            .map(|one| (one["path"].as_str().expect("a path").to_owned(), one["bytes"].as_i64()))
            .collect::<Vec<_>>()
    };
    // The links, both names of the file with two, and the pipe are left out.
    assert_eq!(named(&left), [("out/deep/copy.bin".to_owned(), Some(700_001)), ("out/empty".to_owned(), Some(0))]);
    let said = logged(&server, &id);
    assert!(said.contains("2 files are kept") && said.contains("out/link (it is a link)"), "{said}");
    assert!(said.contains("3 left out") && said.contains("hard link"), "{said}");

    // Page by page.
    let first = server.get(&format!("/api/tasks/{id}/artifacts?limit=1"));
    assert_eq!(first["nextCursor"], "out/deep/copy.bin");
    let second = server.get(&format!("/api/tasks/{id}/artifacts?limit=1&cursor=out%2Fdeep%2Fcopy.bin"));
    assert_eq!(second["artifacts"][0]["path"], "out/empty");

    // Whole, in part, and not again.
    let copy = &left["artifacts"][0];
    assert_eq!(copy["sha256"], json!(file));
    let url = copy["url"].as_str().expect("an address");
    let (status, headers, whole) = server.http.bytes("GET", url, &[], None);
    assert_eq!((status, &whole), (200, &bytes));
    assert_eq!(headers["content-disposition"], "attachment; filename=\"copy.bin\"");
    assert_eq!(headers["content-length"], "700001");
    assert_eq!(
        (&headers["accept-ranges"], &headers["x-content-type-options"]),
        (&"bytes".parse().expect("a value"), &"nosniff".parse().expect("a value"))
    );
    let etag = headers["etag"].to_str().expect("text").to_owned();
    for (range, from, to) in
        [("bytes=262140-262150", 262_140, 262_151), ("bytes=-1", 700_000, 700_001), ("bytes=600000-", 600_000, 700_001)]
    {
        let (status, headers, part) = server.http.bytes("GET", url, &[("range", range), ("if-range", &etag)], None);
        assert_eq!((status, &part[..]), (206, &bytes[from..to]), "{range}");
        assert_eq!(headers["content-range"].to_str().expect("text"), format!("bytes {from}-{}/700001", to - 1));
    }
    let (status, _, answer) = server.http.bytes("GET", url, &[("range", "bytes=700001-")], None);
    assert_eq!((status, code(&json_of(&answer))), (416, "RANGE_NOT_SATISFIABLE"));
    let (status, _, whole) = server.http.bytes("GET", url, &[("range", "bytes=0-1"), ("if-range", "\"other\"")], None);
    assert_eq!((status, whole.len()), (200, 700_001), "a part of another content is of no use");
    assert_eq!(server.http.bytes("GET", url, &[("if-none-match", &etag)], None).0, 304);

    // All of them at once.
    let (status, headers, archive) = server.http.bytes("GET", &format!("/api/tasks/{id}/artifacts.zip"), &[], None);
    assert_eq!((status, &headers["content-type"]), (200, &"application/zip".parse().expect("a value")));
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).expect("an archive");
    let names: Vec<String> = archive.file_names().map(|name| name.expect("a name").into_owned()).collect();
    assert_eq!(names, ["out/deep/copy.bin", "out/empty"]);
    let mut copy = Vec::new();
    archive.by_name("out/deep/copy.bin").expect("a file").read_to_end(&mut copy).expect("its content");
    assert_eq!(copy, bytes);

    let (status, answer) = server.http.ask("GET", &format!("/api/tasks/{id}/artifacts/content?path=..%2Fcc.db"), None);
    assert_eq!((status, code(&answer)), (404, "ARTIFACT_NOT_FOUND"));
    check_history(world, &["--settled"]);
}

#[test]
fn files_go_in_and_artifacts_come_out() {
    files_go_in_and_come_out(&World::new());
}

#[test]
fn files_go_in_and_artifacts_come_out_on_postgres() {
    files_go_in_and_come_out(&World::on_postgres());
}

#[test]
fn a_lease_is_renewed_while_a_file_is_fetched() {
    let world = World::new();
    // Each piece takes half a second; the lease is over after three.
    let server = world.serve("inline", &[("LEASE_MS", "3000"), ("FAILPOINTS", "file-fetch=sleep(500)")]);
    let file = send(&server.http, &content(10 * (256 << 10)));
    let id = server.submit(asks("true", json!([{ "fileId": file }]), json!([])));
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["attempt"]), (&json!("completed"), &json!(1)), "{done:#}");
    check_history(&world, &["--settled"]);
}

fn part(client: &Client, id: &str, bytes: &[u8], first: usize, whole: usize) -> (u16, Value) {
    let range = format!("bytes {first}-{}/{whole}", first + bytes.len() - 1);
    let (status, _, answer) =
        client.bytes("PUT", &format!("/api/files/{id}"), &[("content-range", &range)], Some(bytes));
    (status, json_of(&answer))
}

/// Begins a request with these headers and this part of its body.
fn begin(client: &Client, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(client.url.trim_start_matches("http://")).expect("a connection");
    let head = format!("{head}\r\nHost: localhost\r\nX-API-Key: {}\r\n\r\n", client.key());
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body).expect("sent");
    stream
}

/// Sends what is missing of this much of a file, as a client does whose last request broke off.
fn go_on(client: &Client, id: &str, bytes: &[u8], upto: usize) -> (u16, Value) {
    until("the rest to be taken", || {
        let file = client.ask("GET", &format!("/api/files/{id}"), None).1;
        let received = usize::try_from(file["received"].as_u64().expect("a number")).expect("a number");
        let (status, answer) = part(client, id, &bytes[received..upto], received, bytes.len());
        // The request that broke off may not be at its end.
        (code(&answer) != "UPLOAD_OFFSET").then_some((status, answer))
    })
}

fn an_upload_goes_on(world: &World) {
    let server = world.serve("standalone", &[]);
    let http = &server.http;
    let bytes = content(1_000_000);
    let id = sha256(&bytes);
    assert_eq!(http.ask("GET", &format!("/api/files/{id}"), None).0, 404);
    let head =
        format!("PUT /api/files/{id} HTTP/1.1\r\nContent-Length: 1000000\r\nContent-Range: bytes 0-999999/1000000");
    let broken = begin(http, &head, &bytes[..400_000]);
    until("a part of it to be kept", || {
        let file = http.ask("GET", &format!("/api/files/{id}"), None).1;
        file["received"].as_u64().filter(|received| *received > 0)
    });
    drop(broken);
    let (status, answer) = http.ask("GET", &format!("/api/files/{id}/content"), None);
    assert_eq!((status, code(&answer)), (409, "FILE_INCOMPLETE"));
    let (status, answer) =
        server.http.ask("POST", "/api/tasks", Some(asks("true", json!([{ "fileId": id }]), json!([]))));
    assert_eq!((status, code(&answer)), (404, "FILE_NOT_FOUND"), "half of a file is none");
    // A part, and not from elsewhere, nor of another size; then the rest, from another process.
    let (status, answer) = go_on(http, &id, &bytes, 700_000);
    assert_eq!((status, &answer["received"], &answer["complete"]), (202, &json!(700_000), &json!(false)));
    let (status, answer) = part(http, &id, &bytes[..10], 0, 1_000_000);
    assert_eq!(
        (status, code(&answer), &answer["error"]["details"]["received"]),
        (409, "UPLOAD_OFFSET", &json!(700_000))
    );
    let (status, answer) = part(http, &id, &bytes[700_000..700_001], 700_000, 1_000_001);
    assert_eq!((status, code(&answer)), (409, "UPLOAD_SIZE"));
    drop(server);
    let server = world.serve("standalone", &[]);
    let http = &server.http;
    let (status, answer) = part(http, &id, &bytes[700_000..], 700_000, 1_000_000);
    assert_eq!((status, &answer["complete"]), (201, &json!(true)), "{answer:#}");
    assert_eq!(http.bytes("GET", &format!("/api/files/{id}/content"), &[], None).2, bytes);
    // Once more, by either way, it is the same file.
    assert_eq!(part(http, &id, &bytes, 0, 1_000_000).0, 200);
    send(http, &bytes);
    assert_eq!(http.ask("GET", "/api/files", None).1["files"].as_array().map(Vec::len), Some(1));
    // What is not what it was said to be is forgotten.
    let other = sha256(b"other");
    let (status, answer) = part(http, &other, b"these", 0, 5);
    assert_eq!((status, code(&answer)), (422, "DIGEST_DIFFERS"));
    assert_eq!(http.ask("GET", &format!("/api/files/{other}"), None).0, 404);
    let (status, _, answer) = http.bytes("PUT", &format!("/api/files/{other}"), &[], Some(b"other"));
    assert_eq!((status, &json_of(&answer)["bytes"]), (201, &json!(5)), "a whole one needs no range");
    for bad in ["x", "00", &"A".repeat(64), &"g".repeat(64)] {
        assert_eq!(part(http, bad, b"x", 0, 1).0, 422, "{bad}");
    }
    let (status, _, _) =
        http.bytes("PUT", &format!("/api/files/{other}"), &[("content-range", "bytes 5-1/9")], Some(b"x"));
    assert_eq!(status, 422);
    send(http, b"");
    check_history(world, &["--settled"]);
}

#[test]
fn an_upload_goes_on_where_it_broke_off() {
    an_upload_goes_on(&World::new());
}

#[test]
fn an_upload_goes_on_where_it_broke_off_on_postgres() {
    an_upload_goes_on(&World::on_postgres());
}

#[test]
fn a_file_that_turns_out_too_large_leaves_nothing() {
    let world = World::new();
    let server = world.serve("standalone", &[("MAX_FILE_BYTES", "600000")]);
    let chunked = [("transfer-encoding", "chunked")];
    let (status, _, answer) = server.http.bytes("POST", "/api/files", &chunked, Some(&content(900_000)));
    assert_eq!((status, code(&json_of(&answer))), (413, "FILE_TOO_LARGE"));
    until("its pieces to go", || kept(&world).is_empty().then_some(()));
}

#[test]
fn a_file_whose_last_byte_came_with_a_crash_is_completed() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let bytes = content(1_000);
    let id = sha256(&bytes);
    assert_eq!(part(&server.http, &id, &bytes[..900], 0, 1_000).0, 202);
    drop(server);
    // As if the process had died between the last byte and its note.
    let stored = kept(&world).remove(0);
    fs::write(&stored, &bytes).expect("written");
    let server = world.serve("standalone", &[]);
    let file = server.get(&format!("/api/files/{id}"));
    assert_eq!((&file["received"], &file["complete"]), (&json!(1_000), &json!(false)));
    let (status, answer) = part(&server.http, &id, &bytes[999..], 999, 1_000);
    assert_eq!((status, &answer["complete"]), (201, &json!(true)), "{answer:#}");
    assert_eq!(server.http.raw(&format!("/api/files/{id}/content")), (200, bytes));
}

#[test]
fn files_have_limits_and_belong_to_their_key() {
    let world = World::new();
    let settings = [("MAX_FILE_BYTES", "1000"), ("FILES_DISK_BYTES", "2500"), ("TASK_ARTIFACT_BYTES", "100")];
    let server = world.serve("inline", &settings);
    let (alice, bob) =
        (key(&server, "alice", &json!({})), key(&server, "bob", &json!({ "limits": { "maxStoredBytes": 900 } })));
    let (status, _, answer) = alice.bytes("POST", "/api/files", &[], Some(&content(1_001)));
    assert_eq!((status, code(&json_of(&answer))), (413, "FILE_TOO_LARGE"));
    let (status, _, answer) =
        alice.bytes("POST", "/api/files", &[("transfer-encoding", "chunked")], Some(&content(1_001)));
    assert_eq!((status, code(&json_of(&answer))), (413, "FILE_TOO_LARGE"), "whether its length is told or not");
    let id = send(&alice, &content(1_000));
    // What alice has is not there for bob, not even by its digest.
    for (method, path) in [
        ("GET", format!("/api/files/{id}")),
        ("GET", format!("/api/files/{id}/content")),
        ("DELETE", format!("/api/files/{id}")),
    ] {
        let (status, answer) = bob.ask(method, &path, None);
        assert_eq!((status, code(&answer)), (404, "FILE_NOT_FOUND"), "{method} {path}");
    }
    let (status, answer) = bob.ask("POST", "/api/tasks", Some(asks("true", json!([{ "fileId": id }]), json!([]))));
    assert_eq!((status, code(&answer)), (404, "FILE_NOT_FOUND"));
    assert_eq!(bob.ask("GET", "/api/files", None).1["files"], json!([]));
    let (status, _, answer) = bob.bytes("POST", "/api/files", &[], Some(&content(1_000)));
    assert_eq!((status, code(&json_of(&answer))), (429, "KEY_LIMIT"));
    send(&bob, &content(800));
    let (status, _, answer) = bob.bytes("POST", "/api/files", &[], Some(&content(200)));
    assert_eq!((status, code(&json_of(&answer))), (429, "KEY_LIMIT"));
    let (status, _, answer) = alice.bytes("POST", "/api/files", &[], Some(&content(900)));
    assert_eq!((status, code(&json_of(&answer))), (429, "FILES_FULL"));
    assert_eq!(kept(&world).len(), 2, "nothing is left of what was refused");
    // What a task leaves is bounded as well, and what a client names is checked.
    let id = server.submit(asks("head -c 60 /dev/zero > a && head -c 60 /dev/zero > b", json!([]), json!(["*"])));
    assert_eq!(server.wait_end(&id)["status"], "completed");
    let left = server.get(&format!("/api/tasks/{id}/artifacts"));
    assert_eq!((&left["artifacts"][0]["path"], left["artifacts"].as_array().map(Vec::len)), (&json!("a"), Some(1)));
    assert!(logged(&server, &id).contains("TASK_ARTIFACT_BYTES"));
    for bad in [json!(["../x"]), json!(["/etc/*"]), json!(["a//b"]), json!([""]), json!(["["]), json!(vec!["a"; 21])] {
        let (status, answer) = server.http.ask("POST", "/api/tasks", Some(asks("true", json!([]), bad.clone())));
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!("artifacts")), "{bad}");
    }
}

#[test]
fn a_file_stays_for_the_tasks_that_name_it_and_goes_when_nobody_has_used_it_for_long() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let (needed, idle, named) = (content(10), content(20), content(30));
    let [needed, idle, named] = [&needed, &idle, &named].map(|bytes| send(&server.http, bytes));
    let later = |file: &str| {
        let mut task = asks("true", json!([{ "fileId": file }]), json!([]));
        task["runAt"] = json!("2125-01-01T00:00:00Z");
        task
    };
    let id = server.submit(later(&needed));
    let (status, answer) = server.http.ask("DELETE", &format!("/api/files/{needed}"), None);
    assert_eq!((status, code(&answer), &answer["error"]["details"]["taskId"]), (409, "FILE_IN_USE", &json!(id)));
    let second = server.submit(later(&named));
    assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{second}"), None).0, 200);
    let (status, answer) = server.http.ask("DELETE", &format!("/api/files/{named}"), None);
    assert_eq!((status, &answer["bytes"]), (200, &json!(30)));
    assert_eq!(kept(&world).len(), 2, "its content is gone");
    let (status, answer) = server.http.ask("POST", &format!("/api/tasks/{second}/retry"), None);
    assert_eq!((status, code(&answer)), (404, "FILE_NOT_FOUND"), "{answer:#}");
    // A content that nothing names, of an upload that broke off; and one that has just begun.
    let folder = world.dir.join("data/cc.db-files");
    let lost = folder.join("0190c0de-0000-7000-8000-00000000000a");
    fs::write(&lost, "lost").expect("a file");
    drop(server);
    // Forty days later, by its clock.
    let server = world.serve("standalone", &[("FAILPOINTS", "wall-clock=return(3456000000)")]);
    until("what nobody has used to go", || {
        (server.http.ask("GET", &format!("/api/files/{idle}"), None).0 == 404).then_some(())
    });
    until("contents that nothing names to go", || (kept(&world).len() == 1 && !lost.exists()).then_some(()));
    assert_eq!(server.http.ask("GET", &format!("/api/files/{needed}"), None).0, 200, "a task that is pending needs it");
    drop(server);
    check_history(&world, &[]);
}

#[test]
fn the_client_sends_files_and_writes_what_tasks_leave() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let told = world.ws().join("told.txt");
    fs::write(&told, "what is known\n").expect("a file");
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let run = |args: &[&str]| {
        let ran = world.command(args[0], &[("PORT", &port)]).args(&args[1..]).output().expect("the program");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&ran.stderr));
        said.trim().to_owned()
    };
    let id = run(&["files", "send", told.to_str().expect("a path")]);
    assert_eq!(id, sha256(b"what is known\n"));
    assert_eq!(run(&["files", "get", &id]), "what is known");
    assert!(run(&["files"]).contains(&id[..8]));
    let steps = "Copy\nstep bash mkdir -p out/a && cp ../$(basename $PWD).files/told.txt out/a/copy.txt\nstep say done";
    let task = run(&["submit", steps, "--send", "told.txt", "--keep", "out/**", "--allow", "Bash"]);
    let task = task.split_whitespace().next().expect("an id").to_owned();
    assert_eq!(server.wait_end(&task)["status"], "completed");
    assert!(run(&["artifacts", &task]).contains("out/a/copy.txt"));
    let (to, archive) = (world.dir.join("to"), world.dir.join("all.zip"));
    run(&["artifacts", &task, "--to", to.to_str().expect("a path")]);
    assert_eq!(fs::read_to_string(to.join("out/a/copy.txt")).expect("a file"), "what is known\n");
    run(&["artifacts", &task, "--zip", archive.to_str().expect("a path")]);
    assert_eq!(zip::ZipArchive::new(fs::File::open(&archive).expect("a file")).expect("an archive").len(), 1);
    assert_eq!(run(&["files", "remove", &id]), "removed; 14 bytes");
}

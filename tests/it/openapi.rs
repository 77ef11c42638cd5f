//! The contract is true: every route is in it, every example works, and whatever is asked is answered as it says.

#![expect(clippy::disallowed_methods, reason = "the fuzzer is a program")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{LIMIT, Server, World, scripted_claude, task};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every route of the sources, as `GET /path`.
fn routes() -> BTreeSet<String> {
    let files = std::fs::read_dir(root().join("src/api/routes")).expect("the routes");
    let mut found = BTreeSet::new();
    for file in files.map(|file| file.expect("a file").path()) {
        let text: String = std::fs::read_to_string(&file).expect("a source").split_whitespace().collect();
        for chain in text.split("resource(\"").skip(1) {
            let (path, rest) = chain.split_once("\")").expect("a path");
            let end = rest.find(".service(").or(rest.find(';')).unwrap_or(rest.len());
            for method in ["get", "post", "put", "patch", "delete"] {
                if rest[..end.max(1)].contains(&format!(".{method}(")) {
                    found.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
    }
    found
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().expect("methods").clone();
        methods.into_iter().map(|(method, one)| (method.to_uppercase(), path.clone(), one)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn every_route_is_documented_and_the_page_asks_nobody() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let (status, headers, document) = server.http.send("GET", "/api/openapi.json", &[("x-api-key", "none")], None);
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    assert_eq!(headers["content-type"], "application/json");
    let documented: BTreeSet<String> =
        operations(&document).iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(documented, routes());
    let (status, headers, page) = server.http.send("GET", "/api/docs", &[("x-api-key", "none")], None);
    assert!(status == 200 && headers["content-security-policy"].to_str().is_ok_and(|rule| rule.contains("'none'")));
    let page = page.as_str().expect("a page");
    assert!(documented.iter().all(|one| page.contains(one.split(' ').nth(1).expect("a path"))));
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("@import"));
    let (status, headers, _) = server.http.send("DELETE", "/api/tasks", &[], None);
    assert_eq!((status, headers["allow"].to_str().expect("methods")), (405, "POST, GET"));
}

/// A task that has ended, one that waits, one that runs and asks, a schedule and a webhook, to put into paths.
struct Things {
    ended: String,
    waiting: String,
    schedule: String,
    webhook: String,
}

fn things(server: &Server, ended: String) -> Things {
    let made = |path: &str, body: Value, id: &str| {
        let (status, answer) = server.http.ask("POST", path, Some(body));
        assert!(matches!(status, 201 | 202), "{answer}");
        answer[id].as_str().expect("an id").to_owned()
    };
    let later = json!({ "instruction": "x", "runAt": "2125-01-01T00:00:00Z" });
    let plan = json!({ "cron": "0 0 1 1 *", "task": { "instruction": "x" } });
    Things {
        ended,
        waiting: made("/api/tasks", later, "taskId"),
        schedule: made("/api/schedules", plan, "scheduleId"),
        webhook: made("/api/webhooks", json!({ "url": "http://localhost:8080/" }), "webhookId"),
    }
}

/// A world with a task that was run, and a server that runs none.
fn quiet_server(world: &World) -> (Server, String) {
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude())]);
    let mut body = task(&world.ws(), "ended", &[]);
    body["context"] = json!({});
    let ended = server.submit(body);
    server.wait_end(&ended);
    drop(server);
    let key = world.key_of_secrets();
    (world.serve("standalone", &[("SECRETS_KEY_FILE", &key)]), ended)
}

/// What a server sends on a connection of its own until it closes that, as head and body.
fn whole_answer(server: &Server, method: &str, path: &str, more: &str) -> (String, String) {
    let address = server.http.url.strip_prefix("http://").expect("an address");
    let mut connection = TcpStream::connect(address).expect("connected");
    connection.set_read_timeout(Some(LIMIT)).expect("an option");
    let key = &server.http.key;
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\n{more}connection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("an end");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn who_asks_for_the_head_of_an_answer_gets_that_alone() {
    let world = World::new();
    let (server, ended) = quiet_server(&world);
    let (_, document) = server.http.ask("GET", "/api/openapi.json", None);
    let reads = operations(&document).into_iter().filter(|(method, ..)| method == "GET");
    let paths = reads.map(|(_, path, _)| path.replace("/tasks/{id}", &format!("/tasks/{ended}")));
    let (mut asked, pages) = (0, ["/", "/tasks", "/no/such/page"].map(str::to_owned));
    for path in paths.filter(|path| !path.contains('{')).chain(pages) {
        for more in ["", "accept-encoding: gzip\r\n", "x-api-key: wrong\r\n"] {
            let (head, body) = whole_answer(&server, "HEAD", &path, more);
            assert_eq!(body, "", "{path}");
            // It goes on for as long as somebody listens.
            if head.contains("text/event-stream") {
                continue;
            }
            let (wanted, _) = whole_answer(&server, "GET", &path, more);
            // How long it is may change from one moment to the next, as may its hour.
            let lines = |head: &str| -> Vec<String> {
                let fixed = |line: &&str| !line.starts_with("date:") && !line.starts_with("etag:");
                let shape =
                    |line: &str| line.split_once("content-length").map_or(line, |_| "content-length").to_owned();
                let mut lines: Vec<_> = head.lines().filter(fixed).map(shape).collect();
                lines.sort();
                lines
            };
            assert_eq!(lines(&head), lines(&wanted), "{path} {more}");
            asked += 1;
        }
    }
    assert!(asked > 60, "{asked}");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    assert!(whole_answer(&server, "HEAD", "/ws", upgrade).0.starts_with("http/1.1 405"));
    assert!(whole_answer(&server, "HEAD", "/api/queue/pause", "").0.starts_with("http/1.1 405"));
}

#[test]
fn every_example_of_the_contract_works() {
    let world = World::new();
    let (server, ended) = quiet_server(&world);
    let document = server.get("/api/openapi.json");
    let mut tried = 0;
    for (method, path, operation) in operations(&document) {
        let examples = operation["requestBody"]["content"]["application/json"]["examples"].clone();
        for example in examples.as_object().into_iter().flat_map(|examples| examples.values()) {
            let things = things(&server, ended.clone());
            let id = match path.split('/').nth(2) {
                Some("schedules") => &things.schedule,
                Some("webhooks") => &things.webhook,
                _ => &things.waiting,
            };
            // The key of the example of `createKey`, which comes before.
            let asked = path.replace("{id}", id).replace("{name}", "ci");
            let (status, answer) = server.http.ask(&method, &asked, Some(example["value"].clone()));
            // What needs a question or a worker of ours is tried elsewhere; here it must be refused as documented.
            let fits = match &*path {
                "/api/tasks/{id}/permissions/{request}" => {
                    status == 404 && answer["error"]["code"] == "PERMISSION_NOT_FOUND"
                }
                "/api/workers" => status == 404 && answer["error"]["code"] == "WORKER_MANAGER_UNAVAILABLE",
                _ => (200..300).contains(&status),
            };
            assert!(fits, "{method} {path} {example}: {status} {answer}");
            assert!(operation["responses"].get(status.to_string()).is_some(), "{method} {path}: {status}");
            tried += 1;
        }
    }
    assert!(tried >= 15, "{tried} examples");
}

#[test]
fn slow_whatever_is_asked_is_answered_as_the_contract_says() {
    let world = World::new();
    let (server, ended) = quiet_server(&world);
    let things = things(&server, ended);
    for (n, id) in [&things.ended, &things.waiting].into_iter().enumerate() {
        let config = format!(
            "[[operations]]\ninclude-path-regex = \"^/api/tasks/\"\nparameters = {{ id = \"{id}\" }}\n\
            [[operations]]\ninclude-path-regex = \"^/api/schedules/\"\nparameters = {{ id = \"{}\" }}\n\
            [[operations]]\ninclude-path-regex = \"^/api/webhooks/\"\nparameters = {{ id = \"{}\" }}\n",
            things.schedule, things.webhook
        );
        let file = world.dir.join("schemathesis.toml");
        std::fs::write(&file, config).expect("a file");
        fuzz(&world, &server, &file, n);
    }
    assert_eq!(server.get("/health/live")["status"], "alive");
}

fn fuzz(world: &World, server: &Server, config: &Path, seed: usize) {
    let program = root().join(".tools/venv/bin/schemathesis");
    assert!(program.exists(), "make tools installs the fuzzer");
    let mut command = Command::new(program);
    command.env_clear().env("HOME", world.dir.join("home")).env("PATH", "/usr/bin:/bin").current_dir(&world.dir);
    command.arg("--config-file").arg(config).arg("run").arg(format!("{}/api/openapi.json", server.http.url));
    command.args(["-H", &format!("X-API-Key: {}", server.http.key())]);
    // Streams have no end.
    for stream in ["/ws", "/api/events", "/api/tasks/{id}/events"] {
        command.args(["--exclude-path", stream]);
    }
    command.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]);
    command.args(["--checks", "response_schema_conformance,response_headers_conformance,unsupported_method"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", &seed.to_string()]);
    let ran = command.output().expect("the fuzzer");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}\n{}",
        server.process.logs().lines().rev().take(20).collect::<Vec<_>>().join("\n")
    );
    assert!(said.contains(" generated, "), "{said}");
}

/// Runs a program of the tools as [`run`] does.
fn tool(world: &World, dir: &Path, program: &str, args: &[&str]) -> String {
    let program = root().join(".tools").join(program);
    assert!(program.exists(), "make tools installs {}", program.display());
    run(world, dir, &program, args)
}

/// Runs a program to its end, with an environment of its own, and returns what it wrote; it must succeed.
fn run(world: &World, dir: &Path, program: &Path, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", world.dir.join("home")).env("PATH", std::env::var_os("PATH").expect("a PATH"));
    let ran = command.args(args).current_dir(dir).output().expect("it");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{args:?}: {said}");
    said
}

/// A folder with the contract as the server gives it, and this program of ours.
fn client_folder(world: &World, server: &Server, files: &[&str]) -> PathBuf {
    let dir = world.dir.join("client");
    std::fs::create_dir_all(&dir).expect("a folder");
    let contract = server.get("/api/openapi.json").to_string();
    std::fs::write(dir.join("openapi.json"), contract).expect("the contract");
    for file in files {
        std::fs::copy(root().join("tests/clients").join(file), dir.join(file)).expect("our program");
    }
    dir
}

#[test]
fn a_generated_typescript_client_makes_ten_calls() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let dir = client_folder(&world, &server, &["calls.ts", "tsconfig.json"]);
    std::os::unix::fs::symlink(root().join(".tools/node_modules"), dir.join("node_modules")).expect("a link");
    std::fs::write(dir.join("package.json"), r#"{"type": "module"}"#).expect("a file");
    let bin = |name: &str| format!("node_modules/.bin/{name}");
    tool(&world, &dir, &bin("openapi-typescript"), &["openapi.json", "-o", "schema.d.ts"]);
    tool(&world, &dir, &bin("tsc"), &["-p", "tsconfig.json"]);
    let called = run(&world, &dir, Path::new("node"), &["calls.js", &server.http.url, server.http.key()]);
    assert_eq!(called, "ok\n");
}

#[test]
fn a_generated_python_client_makes_ten_calls() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let dir = client_folder(&world, &server, &["calls.py"]);
    let args = ["generate", "--path", "openapi.json", "--meta", "none", "--output-path", "cc_anywhere_client"];
    let said = tool(&world, &dir, "venv/bin/openapi-python-client", &args);
    assert!(!said.contains("Unable") && !said.contains("ERROR"), "parts are missing: {said}");
    assert_eq!(tool(&world, &dir, "venv/bin/python", &["calls.py", &server.http.url, server.http.key()]), "ok\n");
}

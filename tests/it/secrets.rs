//! Secrets of keys: sealed where they are stored, given to tasks by name, and masked in all that is stored of these.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Server, World, check_history, until};

const TOKEN: &str = "token-of-another-service-4711";
const FILE: &str = "-----BEGIN KEY-----\nbWFueS1ieXRlcy1vZi1hLWtleQ==\n-----END KEY-----";

fn put(server: &Server, name: &str, value: &str) -> (u16, Value) {
    server.http.ask("PUT", &format!("/api/secrets/{name}"), Some(json!({ "value": value })))
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

/// A task with these secrets that runs commands of a shell.
fn asks(commands: &str, secrets: Value) -> Value {
    json!({
        "instruction": format!("Secrets\nstep bash {commands}\nstep say I saw {TOKEN}, and bWFueS1ieXRlcy1vZi1hLWtleQ=="),
        "secrets": secrets,
        "options": { "sdk": { "allowedTools": ["Bash"] } },
    })
}

/// True if any file below the folder has the text.
fn is_anywhere(folder: &Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| match path.is_dir() {
        true => is_anywhere(&path, text),
        false => has_text(&path, text),
    })
}

fn has_text(file: &Path, text: &str) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

fn secrets_are_given_and_masked(world: &World) {
    let key = world.key_of_secrets();
    let settings = [("SECRETS_KEY_FILE", &*key)];
    let server = world.serve("standalone", &settings);
    let _worker = world.worker(&settings);
    assert_eq!(put(&server, "token", "an older value of it").0, 201);
    assert_eq!(put(&server, "token", TOKEN).0, 200, "it has another value");
    assert_eq!(put(&server, "key.pem", FILE).0, 201);
    let all = server.get("/api/secrets");
    let names: Vec<&Value> = all["secrets"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["key.pem", "token"]);
    assert!(!all.to_string().contains(TOKEN));
    let wanted = json!([{ "name": "token", "env": "SERVICE_TOKEN" }, { "name": "key.pem", "env": "KEY_FILE", "file": "key.pem" }]);
    // What it was given is right, by its length and its digest; then it says all of it.
    let commands = "test ${#SERVICE_TOKEN} = 29 && test $(wc -l < $KEY_FILE) = 2 && test $(stat -c %a $KEY_FILE) = 600 && echo given \
        && echo $SERVICE_TOKEN && cat $KEY_FILE && echo $KEY_FILE > where";
    let says = format!("say I saw {TOKEN}, and bWFueS1ieXRlcy1vZi1hLWtleQ==");
    world.model.script("Use what you were given", &[&format!("bash {commands}"), &says]);
    let id = server.submit(json!({ "instruction": "Use what you were given", "secrets": wanted,
        "options": { "sdk": { "allowedTools": ["Bash"] } } }));
    let done = server.wait_end(&id);
    assert_eq!(done["status"], "completed", "{done:#}");
    assert_eq!(done["secrets"], wanted);
    assert_eq!(done["result"], "I saw [masked], and [masked]");
    let events = server.get(&format!("/api/tasks/{id}/events/page?limit=1000")).to_string();
    assert!(events.contains("given\\n[masked]\\n"), "{events}");
    let folder = done["workingDirectory"].as_str().map(Path::new).expect("a folder");
    let file = fs::read_to_string(folder.join("where")).expect("a path");
    assert!(file.trim().ends_with(&format!("{id}.secrets/key.pem")) && !Path::new(file.trim()).exists(), "{file}");
    // Nowhere is it to be read: neither in the database nor in the log.
    for text in [TOKEN, "bWFueS1ieXRlcy1vZi1hLWtleQ=="] {
        assert!(!events.contains(text) && !server.process.logs().contains(text));
        let stored = fs::read_dir(world.dir.join("data")).expect("a folder").flatten().map(|entry| entry.path());
        let has = |file: &PathBuf| file.is_file() && has_text(file, text);
        assert_eq!(stored.filter(has).collect::<Vec<_>>(), Vec::<PathBuf>::new());
    }
    // Without a secret nothing is masked, and nothing is given.
    let plain = server
        .submit(json!({ "instruction": "Plain\nstep bash echo has:${SERVICE_TOKEN:-none}\nstep say done",
        "options": { "sdk": { "allowedTools": ["Bash"] } } }));
    server.wait_end(&plain);
    assert!(server.get(&format!("/api/tasks/{plain}/events/page?limit=1000")).to_string().contains("has:none"));
    check_history(world, &["--settled"]);
}

#[test]
fn secrets_are_given_to_tasks_and_masked() {
    secrets_are_given_and_masked(&World::new());
}

#[test]
fn secrets_are_given_to_tasks_and_masked_on_postgres() {
    secrets_are_given_and_masked(&World::on_postgres());
}

#[test]
fn a_key_of_the_operator_is_replaced_while_values_stay() {
    let world = World::new();
    let file = world.key_of_secrets();
    let settings = [("SECRETS_KEY_FILE", &*file)];
    let server = world.serve("inline", &settings);
    assert_eq!(put(&server, "token", TOKEN).0, 201);
    drop(server);
    assert!(!is_anywhere(&world.dir.join("data"), TOKEN), "sealed on the disk");
    let old = fs::read_to_string(&file).expect("a key");
    let new = "c3".repeat(32);
    fs::write(&file, format!("# from today\n{new}\n{old}")).expect("two keys");
    let server = world.serve("inline", &settings);
    server.process.wait_log("Sealed secrets with the newest key");
    drop(server);
    fs::write(&file, format!("{new}\n")).expect("one key");
    let server = world.serve("inline", &settings);
    let id = server.submit(asks("test ${#TOKEN} = 29 && echo given", json!([{ "name": "token", "env": "TOKEN" }])));
    server.wait_end(&id);
    assert!(server.get(&format!("/api/tasks/{id}/events/page?limit=1000")).to_string().contains("given"));
    drop(server);
    // With another key it can't be opened; the task waits, and says why.
    fs::write(&file, "d4".repeat(32)).expect("another key");
    let server = world.serve("inline", &settings);
    let id = server.submit(asks("true", json!([{ "name": "token", "env": "TOKEN" }])));
    until("the reason to be told", || {
        server.process.logs().contains("the key that it was sealed with is not in SECRETS_KEY_FILE").then_some(())
    });
    until("the task to be given back", || (server.task(&id)["status"] == "pending").then_some(()));
    drop(server);
    for (text, mode, why) in
        [("short", 0o600, "line 1 is no key"), ("", 0o600, "has no key"), (&*new, 0o644, "chmod 600")]
    {
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
        let refused = world.command("serve", &settings).output().expect("the program");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
        assert!(!refused.status.success() && said.contains("SECRETS_KEY_FILE") && said.contains(why), "{said}");
    }
}

#[test]
fn what_is_no_secret_is_refused_and_changes_are_noted() {
    let world = World::new();
    let without = world.serve("inline", &[]);
    let (status, answer) = put(&without, "token", TOKEN);
    assert_eq!((status, code(&answer)), (503, "SECRETS_OFF"));
    let (status, answer) =
        without.http.ask("POST", "/api/tasks", Some(asks("true", json!([{ "name": "token", "env": "TOKEN" }]))));
    assert_eq!((status, code(&answer)), (503, "SECRETS_OFF"));
    drop(without);
    let server = world.serve("inline", &[("SECRETS_KEY_FILE", &*world.key_of_secrets())]);
    for (name, value, field) in
        [("a b", TOKEN, "name"), (".x", TOKEN, "name"), ("token", "short", "value"), ("token", "          x", "value")]
    {
        let (status, answer) = put(&server, &name.replace(' ', "%20"), value);
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{name} {value}");
        assert!(!answer.to_string().contains(TOKEN), "{answer}");
    }
    for bad in [
        json!([{ "name": "token", "env": "PATH" }]),
        json!([{ "name": "token", "env": "NODE_OPTIONS" }]),
        json!([{ "name": "token" }]),
        json!([{ "name": "token", "env": "A", "file": "../a" }]),
    ] {
        let (status, answer) = server.http.ask("POST", "/api/tasks", Some(asks("true", bad.clone())));
        assert_eq!(status, 422, "{bad}: {answer}");
    }
    let (status, answer) =
        server.http.ask("POST", "/api/tasks", Some(asks("true", json!([{ "name": "token", "env": "TOKEN" }]))));
    assert_eq!((status, code(&answer)), (404, "SECRET_NOT_FOUND"));
    assert_eq!(put(&server, "token", TOKEN).0, 201);
    // One that goes while a task waits: the task fails, and says so.
    let mut later = asks("true", json!([{ "name": "token", "env": "TOKEN" }]));
    later["runAt"] = json!("2125-01-01T00:00:00Z");
    let id = server.submit(later);
    assert_eq!(server.http.ask("DELETE", "/api/secrets/token", None).0, 204);
    assert_eq!(server.http.ask("DELETE", "/api/secrets/token", None).0, 404);
    assert_eq!(server.http.ask("PATCH", &format!("/api/tasks/{id}"), Some(json!({ "runAt": null }))).0, 200);
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["error"]["code"]), (&json!("failed"), &json!("SECRET")), "{done:#}");
    let audit = server.get("/api/audit").to_string();
    assert!(audit.contains("putSecret") && audit.contains("removeSecret") && !audit.contains(TOKEN), "{audit}");
}

#[test]
fn files_of_secrets_go_with_a_worker_that_dies() {
    let world = World::new();
    let key = world.key_of_secrets();
    let settings = [("SECRETS_KEY_FILE", &*key), ("WORKER_COUNT", "1")];
    let server = world.serve("managed", &settings);
    assert_eq!(put(&server, "key.pem", FILE).0, 201);
    let id = server
        .submit(asks("touch begun && sleep 300", json!([{ "name": "key.pem", "env": "KEY_FILE", "file": "key.pem" }])));
    let folder = world.dir.join(format!("data/work/{id}.secrets"));
    let begun = world.dir.join(format!("data/work/{id}/begun"));
    until("the task to have begun", || begun.exists().then_some(()));
    assert!(folder.join("key.pem").exists());
    let pid = server.get("/api/workers")["workers"][0]["pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok())
        .expect("a pid");
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("a pid"), rustix::process::Signal::KILL)
        .expect("killed");
    assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{id}"), None).0, 200);
    // The next worker looks at what was left.
    until("its files to go", || (!folder.exists()).then_some(()));
    drop(server);
    check_history(&world, &["--settled"]);
}

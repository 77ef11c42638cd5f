//! Task → task: nothing that one task leaves in its home is read by the next one of another key, and nothing that the
//! CLI obeys by the next one of the same.

#![expect(clippy::disallowed_methods, reason = "a repository is made by git, as its owner does")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, task};

fn key(server: &Server, name: &str) -> Client {
    let (status, answer) =
        server.http.ask("POST", "/api/keys", Some(json!({ "name": name, "scopes": ["read", "submit"] })));
    assert_eq!(status, 201, "{answer}");
    Client::new(&server.http.url, answer["key"].as_str().expect("a secret"))
}

fn run(server: &Server, client: &Client, body: Value) -> Value {
    let (status, answer) = client.ask("POST", "/api/tasks", Some(body));
    assert_eq!(status, 202, "{answer}");
    server.wait_end(answer["taskId"].as_str().expect("an id"))
}

/// What a task leaves for others: start files of shells, settings of git, of the CLI, and a file of its own.
const POISON: &str = "echo 'touch '$PWD'/ran' | tee ~/.bashrc ~/.profile ~/.bash_profile ~/.zshrc > /dev/null; \
    printf '[core]\\n fsmonitor = touch '$PWD'/ran\\n' > ~/.gitconfig; \
    echo '{\"hooks\":{\"SessionStart\":[{\"hooks\":[{\"type\":\"command\",\"command\":\"touch '$PWD'/ran\"}]}]},\"env\":{\"ANTHROPIC_BASE_URL\":\"http://127.0.0.1:9\"}}' > $CLAUDE_CONFIG_DIR/settings.json; \
    mkdir -p $CLAUDE_CONFIG_DIR/skills/x && echo poison > $CLAUDE_CONFIG_DIR/CLAUDE.md; \
    echo mine > ~/kept; ln -s /etc $CLAUDE_CONFIG_DIR/agents";

#[test]
fn a_home_is_its_keys_own_and_its_settings_are_put_back() {
    let world = World::new();
    let template = world.dir.join("template");
    fs::create_dir_all(template.join(".config")).expect("a folder");
    fs::write(template.join(".gitconfig"), "[user]\n\tname = Of the template\n").expect("a file");
    let server = world.serve("inline", &[("AGENT_HOME_TEMPLATE", template.to_str().expect("a path"))]);
    let (a, b) = (key(&server, "a"), key(&server, "b"));
    let done = run(&server, &a, task(&world.ws(), "poison", &[&format!("bash {POISON}"), "say done"]));
    assert_eq!(done["status"], "completed", "{done:#}");
    let look = "bash echo $HOME > home; ls -A ~ > files; git config --global user.name > name; cat ~/kept > kept 2>/dev/null; ls -A $CLAUDE_CONFIG_DIR >> files";
    for (client, kept) in [(&a, "mine\n"), (&b, "")] {
        let done = run(&server, client, task(&world.ws(), "look", &[look, "say done"]));
        assert_eq!(done["status"], "completed", "{done:#}");
        let said = |file: &str| fs::read_to_string(world.ws().join(file)).unwrap_or_default();
        assert_eq!((said("kept").as_str(), said("name").as_str()), (kept, "Of the template\n"));
        for left in [".bashrc", ".profile", ".zshrc", "settings.json", "CLAUDE.md", "skills", "agents"] {
            assert!(!said("files").lines().any(|file| file == left), "{left}: {}", said("files"));
        }
        assert!(said("home").starts_with(&format!("{}/homes/", world.dir.join("data").display())));
    }
    assert!(!world.ws().join("ran").exists());
    for file in [".bashrc", ".gitconfig", "settings.json"] {
        let line = server.process.wait_log("A task has left settings for the next; put back");
        assert!(server.process.logs().contains(file), "{file}: {line}");
    }
}

#[test]
fn a_task_can_have_a_home_to_itself_and_sessions_go_on_all_the_same() {
    let world = World::new();
    let server = world.serve("inline", &[("AGENT_HOME", "task")]);
    let home = |name: &str| PathBuf::from(fs::read_to_string(world.ws().join(name)).expect("a file").trim());
    let one = server.submit(task(&world.ws(), "one", &["bash echo $HOME > one; echo x > ~/left", "say one"]));
    assert_eq!(server.wait_end(&one)["status"], "completed");
    let mut body = task(&world.ws(), "two", &["bash echo $HOME > two; ls ~ > files", "say two"]);
    body["options"]["sdk"]["continueFromTaskId"] = json!(one);
    let two = server.submit(body);
    let ended = server.wait_end(&two);
    assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!("two")), "{ended:#}");
    assert_ne!(home("one"), home("two"));
    assert!(!fs::read_to_string(world.ws().join("files")).expect("a file").contains("left"));
    // The model saw what was said before.
    let asked = world.model.calls();
    let second = asked.iter().find(|call| call.instruction.contains("two")).expect("a call");
    assert!(second.body["messages"].to_string().contains("step say one"), "{:#}", second.body);
    // With a task its home goes. The newest one stays.
    let newest = server.submit(task(&world.ws(), "three", &["say three"]));
    server.wait_end(&newest);
    drop(server);
    let pruned = world.command("prune", &[]).args(["--older-than", "0"]).output().expect("the program");
    assert!(pruned.status.success(), "{pruned:?}");
    assert!(!home("one").exists() && !home("two").exists(), "{pruned:?}");
}

#[test]
fn a_session_of_another_key_is_not_reached_through_its_home() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let (a, b) = (key(&server, "a"), key(&server, "b"));
    let done = run(&server, &a, task(&world.ws(), "of a", &["say done"]));
    let session = done["sdkSessionId"].as_str().expect("a session").to_owned();
    let mut body = task(&world.ws(), "of b", &["say done"]);
    body["options"]["sdk"]["resumeSession"] = json!(session);
    let (status, answer) = b.ask("POST", "/api/tasks", Some(body));
    assert_eq!(status, 422, "{answer}");
    // And a file that b puts where a session of a would be is no session of b's.
    let plant = format!(
        "bash mkdir -p $CLAUDE_CONFIG_DIR/projects/x && ln -s {}/api-key $CLAUDE_CONFIG_DIR/projects/x/{session}.jsonl",
        world.dir.join("data").display()
    );
    assert_eq!(run(&server, &b, task(&world.ws(), "plants", &[&plant, "say done"]))["status"], "completed");
    let mut again = task(&world.ws(), "of a again", &["say again"]);
    again["options"]["sdk"]["resumeSession"] = json!(session);
    assert_eq!(run(&server, &a, again)["status"], "completed");
}

/// Git in a folder, as its owner runs it.
fn git(folder: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=A", "-c", "user.email=a@localhost"];
    let ran = Command::new("git").current_dir(folder).args(identity).args(args).output().expect("git");
    assert!(ran.status.success(), "{args:?}: {ran:?}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// A repository with one commit.
fn repository(folder: &Path, subject: &str) {
    fs::create_dir(folder).expect("a folder");
    git(folder, &["init", "--quiet", "-b", "main"]);
    fs::write(folder.join(format!("{subject}.txt")), format!("text of {subject}\n")).expect("a file");
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "-m", subject]);
}

/// Everything that the model was told for the tasks with this word in their instruction.
fn told(world: &World, word: &str) -> String {
    let calls = world.model.calls();
    calls.iter().filter(|call| call.instruction.contains(word)).map(|call| call.body.to_string()).collect()
}

/// A folder can name another repository as its own, and that may be another key's.
#[test]
fn a_repository_of_another_key_is_not_seen_through_a_folder_that_names_it() {
    let world = World::new();
    let (theirs, ours) = (world.ws().join("theirs"), world.ws().join("ours"));
    repository(&theirs, "confidential");
    repository(&ours, "public");
    let server = world.serve("inline", &[("LOG_LEVEL", "debug")]);
    let rights = json!({ "name": "b", "scopes": ["read", "submit"], "roots": [ours] });
    let (status, answer) = server.http.ask("POST", "/api/keys", Some(rights));
    assert_eq!(status, 201, "{answer}");
    let b = Client::new(&server.http.url, answer["key"].as_str().expect("a secret"));
    // Named at the submit, and named only when the task starts.
    server.http.ask("POST", "/api/queue/pause", Some(json!({})));
    let mut in_worktree = task(&ours, "swapped", &["bash ls -a", "say done"]);
    in_worktree["options"]["useWorktree"] = json!(true);
    let (status, swapped) = b.ask("POST", "/api/tasks", Some(in_worktree.clone()));
    assert_eq!(status, 202, "{swapped}");
    fs::rename(ours.join(".git"), ours.join("git-before")).expect("renamed");
    fs::write(ours.join(".git"), format!("gitdir: {}/.git\n", theirs.display())).expect("a file");
    let (status, refused) = b.ask("POST", "/api/tasks", Some(in_worktree));
    assert_eq!((status, &refused["error"]["details"]["field"]), (403, &json!("options.useWorktree")), "{refused}");
    server.http.ask("POST", "/api/queue/start", Some(json!({})));
    let ended = server.wait_end(swapped["taskId"].as_str().expect("an id"));
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("WORKTREE")), "{ended:#}");
    let looked = run(&server, &b, task(&ours, "looked", &["bash git log; git status; ls -a", "say done"]));
    assert_eq!(looked["status"], "completed", "{looked:#}");
    let told = told(&world, "looked");
    assert!(!told.contains("confidential"), "{told}");
}

/// What ends a task reads its worktree, whose `.git` the task has written by then.
#[test]
fn a_worktree_that_becomes_one_of_another_repository_tells_nothing_of_it() {
    let world = World::new();
    let (theirs, ours) = (world.ws().join("theirs"), world.ws().join("ours"));
    repository(&theirs, "confidential");
    repository(&ours, "public");
    let before = git(&theirs, &["rev-parse", "HEAD"]);
    let server = world.serve("inline", &[]);
    let redirect = format!("bash echo 'gitdir: {}/.git' > .git; echo x > new", theirs.display());
    let mut body = task(&ours, "redirects", &[&redirect, "say done"]);
    body["options"]["worktree"] = json!({ "autoCommit": true });
    let (_, answer) = server.http.ask("POST", "/api/tasks", Some(body));
    let id = answer["taskId"].as_str().expect("an id");
    server.wait_end(id);
    let (_, patch) = server.http.raw(&format!("/api/tasks/{id}/changes.patch"));
    let patch = String::from_utf8_lossy(&patch);
    assert!(!patch.contains("confidential"), "{patch}");
    assert!(!server.task(id).to_string().contains("confidential"));
    assert_eq!(git(&theirs, &["rev-parse", "HEAD"]), before);
    assert_eq!(git(&theirs, &["status", "--porcelain"]), "");
}

/// A worktree that a person has made: its history stands elsewhere, and both name each other.
#[test]
fn a_task_works_in_a_worktree_of_a_person() {
    let world = World::new();
    let (ours, beside) = (world.ws().join("ours"), world.ws().join("beside"));
    repository(&ours, "public");
    git(&ours, &["config", "user.name", "A"]);
    git(&ours, &["config", "user.email", "a@localhost"]);
    git(&ours, &["worktree", "add", "--quiet", "-b", "other", beside.to_str().expect("a path")]);
    let server = world.serve("inline", &[]);
    let commands = "bash echo x > new && git add new && git commit -q -m second; git config user.name B && echo settings > written; echo x > $(git rev-parse --git-common-dir)/hooks/pre-commit && echo hooks >> written; true";
    let done = server.wait_end(&server.submit(task(&beside, "beside", &[commands, "say done"])));
    assert_eq!(done["status"], "completed", "{done:#}");
    assert!(told(&world, "beside").contains("Branch: other"), "{}", told(&world, "beside"));
    assert_eq!(git(&ours, &["log", "--format=%s", "other"]), "second\npublic\n");
    assert!(!beside.join("written").exists(), "{:?}", fs::read_to_string(beside.join("written")));
    // Below its top as well.
    let below = beside.join("below");
    fs::create_dir(&below).expect("a folder");
    let commands = "bash echo x > new && git add new && git commit -q -m third";
    let done = server.wait_end(&server.submit(task(&below, "below", &[commands, "say done"])));
    assert_eq!(done["status"], "completed", "{done:#}");
    assert_eq!(git(&ours, &["log", "--format=%s", "other"]), "third\nsecond\npublic\n");
}

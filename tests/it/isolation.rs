//! A worktree for each task, and the files that come with an instruction.

#![expect(clippy::disallowed_methods, reason = "repositories are made by git, as their owners do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Server, World, task, until};

pub fn git(folder: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=Ann", "-c", "user.email=ann@localhost", "-c", "init.defaultBranch=main"];
    let ran = Command::new("git").current_dir(folder).args(identity).args(args).output().expect("git");
    assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

/// A repository with a commit.
pub fn repository(world: &World) -> PathBuf {
    let folder = world.ws().join("repo");
    fs::create_dir_all(folder.join("sub")).expect("a folder");
    fs::write(folder.join("README"), "hello\n").expect("a file");
    fs::write(folder.join("sub/code"), "one\n").expect("a file");
    git(&folder, &["init", "--quiet"]);
    git(&folder, &["add", "--all"]);
    git(&folder, &["commit", "--quiet", "-m", "first"]);
    folder
}

fn in_worktree(folder: &Path, name: &str, steps: &[&str], worktree: Value) -> Value {
    let mut body = task(folder, name, steps);
    body["options"]["worktree"] = worktree;
    body
}

fn refused(server: &Server, body: Value) -> (u16, Value) {
    let (status, answer) = server.http.ask("POST", "/api/tasks", Some(body));
    (status, answer["error"]["details"]["field"].clone())
}

#[test]
fn a_task_works_on_a_branch_of_its_own_and_says_what_it_changed() {
    let world = World::new();
    let repo = repository(&world);
    let server = world.serve("managed", &[]);
    let steps = ["bash echo two >> code && echo new > ../new.txt && git rm -q ../README", "say done"];
    let options = json!({ "autoCommit": true, "commitMessage": "What was asked for", "branch": "work/one" });
    let id = server.submit(in_worktree(&repo.join("sub"), "change it", &steps, options.clone()));
    let done = server.wait_end(&id);
    assert_eq!(done["status"], "completed", "{done:#}");
    assert!(done["workingDirectory"].as_str().is_some_and(|folder| folder.ends_with(&format!("worktrees/{id}/sub"))));
    assert_eq!(fs::read_to_string(repo.join("sub/code")).expect("a file"), "one\n", "the folder itself is untouched");
    let changes = &done["changes"];
    assert_eq!((&changes["branch"], &changes["committed"]), (&json!("work/one"), &json!(true)), "{changes:#}");
    assert_eq!(changes["commits"][0]["subject"], "What was asked for");
    let files: Vec<_> =
        changes["files"].as_array().expect("files").iter().map(|file| (&file["path"], &file["status"])).collect();
    assert_eq!(
        files,
        [
            (&json!("README"), &json!("deleted")),
            (&json!("new.txt"), &json!("added")),
            (&json!("sub/code"), &json!("modified")),
        ]
    );
    // The patch makes the same of the base.
    let patch = world.dir.join("one.patch");
    let (status, text) = server.http.raw(&format!("/api/tasks/{id}/changes.patch"));
    assert_eq!(status, 200);
    fs::write(&patch, text).expect("written");
    git(&repo, &["apply", patch.to_str().expect("a path")]);
    git(&repo, &["add", "--all"]);
    assert_eq!(git(&repo, &["write-tree"]), git(&repo, &["rev-parse", "work/one^{tree}"]));
    // Everything is on the branch: the worktree goes, the branch stays.
    let worktree = world.dir.join("data/worktrees").join(&id);
    until("the worktree to be cleaned up", || (!worktree.exists()).then_some(()));
    git(&repo, &["rev-parse", "--verify", "work/one"]);
    assert_eq!(
        refused(&server, in_worktree(&repo, "again", &["say x"], options)),
        (422, json!("options.worktree.branch"))
    );
}

#[test]
fn what_is_nowhere_else_is_never_deleted_and_what_is_empty_is() {
    let world = World::new();
    let repo = repository(&world);
    let server = world.serve("inline", &[]);
    let worktree = |id: &str| world.dir.join("data/worktrees").join(id);
    let branches = || git(&repo, &["branch", "--format=%(refname:short)"]);

    let nothing = server.submit(in_worktree(&repo, "nothing", &["say done"], json!({})));
    assert_eq!(server.wait_end(&nothing)["changes"]["files"], json!([]));
    until("the worktree to go", || (!worktree(&nothing).exists()).then_some(()));
    until("the branch to go", || (branches() == "main").then_some(()));

    let open = server.submit(in_worktree(&repo, "open", &["bash echo x > left", "say done"], json!({})));
    let done = server.wait_end(&open);
    assert_eq!((&done["changes"]["committed"], &done["changes"]["files"][0]["path"]), (&json!(false), &json!("left")));
    assert!(worktree(&open).join("left").exists(), "it is committed nowhere");

    let mut kept = in_worktree(&repo, "kept", &["say done"], json!({ "keep": true, "baseBranch": "main" }));
    kept["options"]["useWorktree"] = json!(true);
    let kept = server.submit(kept);
    server.wait_end(&kept);
    assert!(worktree(&kept).exists());
    // Its session goes on in it.
    let mut on = json!({ "instruction": "on\nstep bash echo y > more\nstep say on" });
    on["options"] = json!({ "sdk": { "continueFromTaskId": kept, "allowedTools": ["Bash"] } });
    let on = server.wait_end(&server.submit(on));
    assert_eq!((&on["status"], &on["result"]), (&json!("completed"), &json!("on")), "{on:#}");
    assert!(worktree(&kept).join("more").exists());
}

#[test]
fn a_second_attempt_goes_on_in_the_worktree_of_the_first() {
    let world = World::new();
    let repo = repository(&world);
    let server = world.serve("managed", &[]);
    let wait = format!("bash echo first >> code; while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let id =
        server.submit(in_worktree(&repo.join("sub"), "twice", &[&wait, "say done"], json!({ "autoCommit": true })));
    server.wait_tool(&id);
    let code = world.dir.join("data/worktrees").join(&id).join("sub/code");
    until("the change", || fs::read_to_string(&code).ok().filter(|text| text.contains("first")));
    crate::support::signal(server.worker_pid("worker-0"), "KILL");
    // What the first attempt had begun must not end before it does.
    server.follow(&id, |event| event["data"]["attempt"] == 2).expect("a second attempt");
    fs::write(world.ws().join("go"), "").expect("a file");
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["attempt"]), (&json!("completed"), &json!(2)), "{done:#}");
    assert_eq!(done["changes"]["additions"], 2, "both attempts are in it: {done:#}");
    crate::support::check_history(&world, &["--settled"]);
}

#[test]
fn repositories_that_would_run_something_are_refused() {
    let world = World::new();
    let repo = repository(&world);
    let mark = world.dir.join("ran");
    fs::write(repo.join(".gitattributes"), "* filter=evil diff=evil\n").expect("a file");
    git(&repo, &["add", "--all"]);
    git(&repo, &["commit", "--quiet", "-m", "second"]);
    let server = world.serve("inline", &[]);
    let touch = format!("touch {}", mark.display());
    git(&repo, &["config", "filter.evil.smudge", &touch]);
    let body = || in_worktree(&repo, "evil", &["bash echo x > left", "say done"], json!({ "autoCommit": true }));
    assert_eq!(refused(&server, body()), (422, json!("options.useWorktree")));
    git(&repo, &["config", "--unset", "filter.evil.smudge"]);
    for key in [
        "core.fsmonitor",
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "core.pager",
        "gpg.program",
        "core.sshCommand",
    ] {
        git(&repo, &["config", key, &touch]);
    }
    git(&repo, &["config", "commit.gpgSign", "true"]);
    for hook in ["post-checkout", "pre-commit", "post-commit", "reference-transaction"] {
        let hook = repo.join(".git/hooks").join(hook);
        fs::write(&hook, format!("#!/bin/sh\n{touch}\n")).expect("a hook");
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    let done = server.wait_end(&server.submit(body()));
    assert_eq!((&done["status"], &done["changes"]["committed"]), (&json!("completed"), &json!(true)), "{done:#}");
    assert!(!mark.exists(), "nothing of the repository was run");

    assert_eq!(
        refused(&server, in_worktree(&world.ws(), "none", &["say x"], json!({}))),
        (422, json!("options.useWorktree"))
    );
    let unknown = in_worktree(&repo, "x", &["say x"], json!({ "baseBranch": "nowhere" }));
    assert_eq!(refused(&server, unknown), (422, json!("options.worktree.baseBranch")));
    let option = in_worktree(&repo, "x", &["say x"], json!({ "branch": "--force" }));
    assert_eq!(refused(&server, option), (422, json!("options.worktree.branch")));
    // A branch and a folder of branches can't have one name.
    git(&repo, &["branch", "hotfix/x"]);
    git(&repo, &["branch", "feature"]);
    for branch in ["hotfix", "hotfix/x", "feature/y", "feature"] {
        let clash = in_worktree(&repo, "x", &["say x"], json!({ "branch": branch }));
        assert_eq!(refused(&server, clash), (422, json!("options.worktree.branch")), "{branch}");
    }
    let nowhere = json!({ "instruction": "x", "options": { "useWorktree": true } });
    assert_eq!(refused(&server, nowhere), (422, json!("context.workingDirectory")));
    // The whole repository would be in the worktree, and only a part of it is ours.
    let part = world.serve(
        "inline",
        &[
            ("WORKSPACE_ROOTS", repo.join("sub").to_str().expect("a path")),
            ("DB_PATH", world.dir.join("part/cc.db").to_str().expect("a path")),
            ("API_KEY", "a-key-of-sixteen-or-more"),
        ],
    );
    assert_eq!(refused(&part, in_worktree(&repo.join("sub"), "x", &["say x"], json!({}))).0, 403);
}

#[test]
fn files_reach_the_model() {
    let world = World::new();
    let ws = world.ws();
    fs::write(ws.join("a b.txt"), "CONTENT-OF-A").expect("a file");
    fs::write(ws.join("ä(1).txt"), "CONTENT-OF-B").expect("a file");
    fs::write(world.dir.join("outside.txt"), "SECRET").expect("a file");
    std::os::unix::fs::symlink(world.dir.join("outside.txt"), ws.join("link")).expect("a link");
    let server = world.serve("inline", &[]);
    let with = |files: Value| {
        let mut body = task(&ws, "files", &["say done"]);
        body["context"]["files"] = files;
        body
    };
    let absolute = ws.join("ä(1).txt").display().to_string();
    let id = server.submit(with(
        json!(["a b.txt", absolute, { "name": "notes.txt", "content": "Q09OVEVOVC1PRi1D", "encoding": "base64" }]),
    ));
    let done = server.wait_end(&id);
    assert_eq!(done["status"], "completed", "{done:#}");
    assert_eq!(done["context"]["files"][2], json!({ "name": "notes.txt", "bytes": 12 }));
    let heard = world.model.calls().last().expect("a call").body["messages"].to_string();
    for content in ["CONTENT-OF-A", "CONTENT-OF-B", "CONTENT-OF-C"] {
        assert!(heard.contains(content), "{content} in {heard}");
    }
    for (file, status) in [
        (json!("/etc/hostname"), 403),
        (json!("link"), 403),
        (json!("../outside.txt"), 403),
        (json!("nothing"), 422),
        (json!("a#b"), 422),
        (json!({ "name": "../x", "content": "" }), 422),
        (json!({ "name": "x", "content": "§", "encoding": "base64" }), 422),
    ] {
        assert_eq!(refused(&server, with(json!([file]))).0, status, "{file}");
    }
    let own = json!({ "instruction": "x", "context": { "files": ["relative"] } });
    assert_eq!(refused(&server, own), (422, json!("context.files")));
}

#[test]
fn worktrees_are_listed_and_removed_and_nothing_goes_unsaid() {
    let world = World::new();
    let repo = repository(&world);
    let keys = ("API_KEYS", "ann=anns-key-of-sixteen");
    let server = world.serve("inline", &[keys]);
    let ann = crate::support::http::Client::new(&server.http.url, "anns-key-of-sixteen");
    let go = world.ws().join("go");
    let hold = format!("bash while ! test -e {}; do sleep 0.05; done", go.display());
    let steps = ["bash echo x > left && echo y > \"with space\"", &hold, "say done"];
    let id = server.submit(in_worktree(&repo, "open", &steps, json!({})));
    let commit =
        "bash echo z > made && git add made && git -c user.name=Ann -c user.email=ann@localhost commit -qm made";
    let kept = server.submit(in_worktree(&repo, "kept", &[commit, "say done"], json!({ "keep": true })));
    server.wait_end(&kept);
    server.wait_tool(&id);
    let find = |id: &str| {
        let all = server.get("/api/worktrees");
        all["worktrees"].as_array().expect("worktrees").iter().find(|one| one["taskId"] == id).cloned()
    };
    let remove = |id: &str, more: &str| server.http.ask("DELETE", &format!("/api/worktrees/{id}{more}"), None);
    assert_eq!(find(&id).expect("it is listed")["state"], "in_use");
    let (status, answer) = remove(&id, "?discard=true");
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("WORKTREE_IN_USE")), "{answer}");
    fs::write(&go, "").expect("a file");
    server.wait_end(&id);
    let open = until("the end of its use", || find(&id).filter(|one| one["state"] == "uncommitted"));
    assert_eq!((&open["uncommitted"], &open["commits"]), (&json!(["left", "with space"]), &json!(0)), "{open:#}");
    assert!(open["bytes"].as_i64() > Some(0) && open["status"] == "completed", "{open:#}");
    // Others see nothing of it.
    assert_eq!(ann.ask("GET", "/api/worktrees", None).1["worktrees"], json!([]));
    assert_eq!(ann.ask("DELETE", &format!("/api/worktrees/{id}"), None).0, 404);
    let (status, answer) = remove(&id, "");
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("WORKTREE_HAS_WORK")), "{answer}");
    assert_eq!(answer["error"]["details"]["uncommitted"], json!(["left", "with space"]));
    assert!(world.dir.join("data/worktrees").join(&id).join("left").exists());
    let (status, gone) = remove(&id, "?discard=true");
    assert_eq!((status, &gone["discarded"], &gone["branchRemoved"]), (200, &json!(2), &json!(true)), "{gone}");
    assert!(!world.dir.join("data/worktrees").join(&id).exists() && find(&id).is_none());
    assert_eq!(remove(&id, "").0, 404);
    // What is committed stays on its branch.
    let one = find(&kept).expect("it is kept");
    assert_eq!((&one["state"], &one["commits"]), (&json!("kept"), &json!(1)), "{one:#}");
    let (status, gone) = remove(&kept, "");
    assert_eq!((status, &gone["branchRemoved"]), (200, &json!(false)), "{gone}");
    git(&repo, &["rev-parse", "--verify", gone["branch"].as_str().expect("a branch")]);
    assert_eq!(server.get("/api/worktrees")["worktrees"], json!([]));
    for (path, field) in [("/api/worktrees?limit=0", "limit"), ("/api/worktrees?cursor=x", "cursor")] {
        let (status, answer) = server.http.ask("GET", path, None);
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)));
    }
}

#[test]
fn no_worktree_is_made_where_all_have_the_room_that_they_may() {
    let world = World::new();
    let repo = repository(&world);
    let server = world.serve("inline", &[("WORKTREE_DISK_BYTES", "1")]);
    let first = server.submit(in_worktree(&repo, "first", &["say done"], json!({ "keep": true })));
    assert_eq!(server.wait_end(&first)["status"], "completed", "there was none yet");
    let kept = server.submit(in_worktree(&repo, "kept", &["say done"], json!({ "keep": true })));
    let reason = until("the reason", || {
        let page = server.get(&format!("/api/tasks/{kept}/events/page"));
        let events = page["events"].as_array().expect("events").clone();
        events.iter().find_map(|event| event["data"]["reason"].as_str().map(str::to_owned))
    });
    assert!(reason.contains("WORKTREE_DISK_BYTES"), "{reason}");
    assert_eq!(server.task(&kept)["status"], "pending");
    assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{kept}"), None).0, 200);
}

#[test]
fn worktrees_of_one_repository_are_made_side_by_side() {
    let world = World::new();
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "8")]);
    let folder = repository(&world);
    let claude = json!({ "useWorktree": true });
    let ids: Vec<String> = (0..16)
        .map(|n| {
            let mut body = task(&folder, &format!("side-by-side-{n}"), &["say done"]);
            body["options"] = claude.clone();
            server.submit(body)
        })
        .collect();
    for id in ids {
        let ended = server.wait_end(&id);
        assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(1)), "{ended:#}");
    }
}

//! Tasks that name their repository by address: a worker clones it, works on a branch, and gives back a patch or pushes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::isolation::git;
use crate::postgres::ends_well;
use crate::support::{Server, World, check_history, task, until};

/// A repository that is pushed to, with two branches, and its address.
fn origin(world: &World, name: &str) -> (PathBuf, String) {
    let (seed, bare) = (world.dir.join("seed"), world.dir.join("origins").join(name));
    fs::create_dir_all(seed.join("sub")).expect("a folder");
    fs::write(seed.join("README"), "hello\n").expect("a file");
    git(&seed, &["init", "--quiet"]);
    git(&seed, &["add", "--all"]);
    git(&seed, &["commit", "--quiet", "-m", "first"]);
    git(&seed, &["checkout", "--quiet", "-b", "side"]);
    fs::write(seed.join("side"), "side\n").expect("a file");
    git(&seed, &["add", "--all"]);
    git(&seed, &["commit", "--quiet", "-m", "second"]);
    git(&seed, &["tag", "v1"]);
    git(&seed, &["checkout", "--quiet", "main"]);
    fs::create_dir_all(bare.parent().expect("a folder")).expect("a folder");
    git(&seed, &["clone", "--quiet", "--bare", ".", bare.to_str().expect("a path")]);
    fs::remove_dir_all(&seed).expect("removed");
    let url = format!("file://{}", bare.display());
    (bare, url)
}

fn on(repository: Value, steps: &[&str], worktree: Value) -> Value {
    let mut body = task(Path::new("/"), "on a repository", steps);
    body["context"] = json!({ "repository": repository });
    body["options"]["worktree"] = worktree;
    body
}

fn refused(server: &Server, body: Value) -> (u16, Value) {
    let (status, answer) = server.http.ask("POST", "/api/tasks", Some(body));
    (status, answer["error"]["details"]["field"].clone())
}

/// The settings of a worker on a machine of its own: another data folder, and no folder of the client's.
fn machine(world: &World, name: &str, urls: &str) -> Vec<(&'static str, String)> {
    let folder = world.dir.join(name);
    fs::create_dir_all(folder.join("ws")).expect("a folder");
    vec![
        ("WORKER_ID", name.to_owned()),
        ("DB_PATH", folder.join("cc.db").display().to_string()),
        ("WORKSPACE_ROOTS", folder.join("ws").display().to_string()),
        ("REPOSITORY_URLS", urls.to_owned()),
    ]
}

fn refs(bare: &Path) -> String {
    git(bare, &["for-each-ref", "--format=%(refname:short)", "refs/heads"])
}

#[test]
fn a_task_works_on_a_repository_by_its_address_and_pushes_a_branch() {
    let world = World::on_postgres();
    let (bare, url) = origin(&world, "one.git");
    let urls = format!("https://example.org/team/,file://{}/", world.dir.join("origins").display());
    let server = world.serve("standalone", &[("REPOSITORY_URLS", &urls)]);
    let own = machine(&world, "far", &urls);
    let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let worker = world.worker(&own);

    // Nothing but a patch comes back.
    let steps = ["bash ls side && echo more >> README && echo new > made", "say done"];
    let id = server.submit(on(json!({ "url": url, "revision": "v1" }), &steps, json!({})));
    ends_well(&server, &id);
    let done = server.task(&id);
    assert_eq!(done["context"]["repository"], json!({ "url": url, "revision": "v1" }));
    assert_eq!(done["changes"]["files"].as_array().expect("files").len(), 2, "{done:#}");
    let (status, patch) = server.http.raw(&format!("/api/tasks/{id}/changes.patch"));
    assert!(status == 200 && String::from_utf8_lossy(patch.as_ref()).contains("+more"));
    assert_eq!(refs(&bare), "main\nside");

    // A branch is pushed.
    let steps = ["bash test ! -e side && echo pushed > made", "say done"];
    let options = json!({ "push": true, "branch": "work/one", "commitMessage": "What was asked for" });
    let id = server.submit(on(json!({ "url": url }), &steps, options.clone()));
    ends_well(&server, &id);
    let done = server.task(&id);
    assert_eq!(done["changes"]["pushed"], true, "{done:#}");
    assert_eq!(git(&bare, &["show", "work/one:made"]), "pushed");
    assert_eq!(git(&bare, &["log", "-1", "--format=%s", "work/one"]), "What was asked for");
    let worktrees = world.dir.join("far/worktrees");
    until("the worktree to go", || (!worktrees.join(&id).exists()).then_some(()));
    // It is there already: the next one needs another name, and sees what was pushed.
    let again = server.submit(on(json!({ "url": url }), &["say x"], options));
    let failed = server.wait_end(&again);
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("REPOSITORY")), "{failed:#}");
    let next = server.submit(on(json!({ "url": url, "revision": "work/one" }), &["bash cat made", "say x"], json!({})));
    ends_well(&server, &next);

    // What is nowhere else stays where it is.
    let hook = bare.join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\necho no entry >&2\nexit 1\n").expect("a hook");
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let id = server.submit(on(json!({ "url": url }), &["bash echo kept > made", "say x"], json!({ "push": true })));
    ends_well(&server, &id);
    let changes = &server.task(&id)["changes"];
    assert_eq!(changes["pushed"], false);
    assert!(changes["pushError"].as_str().is_some_and(|why| why.contains("no entry")), "{changes:#}");
    // Also behind the clean-up of its worker.
    until("the look at it", || {
        worker.logs().contains(&format!("A worktree stays; see GET /api/worktrees taskId={id}")).then_some(())
    });
    assert!(worktrees.join(&id).join("made").exists());
    check_history(&world, &["--settled"]);
}

#[test]
fn a_repository_that_is_not_named_or_not_there_is_refused_with_the_reason() {
    let world = World::new();
    let (_, url) = origin(&world, "one.git");
    let allowed = format!("file://{}/", world.dir.join("origins").display());
    let server = world.serve("inline", &[("REPOSITORY_URLS", &allowed)]);
    let at = |url: &str| on(json!({ "url": url }), &["say x"], json!({}));
    for bad in ["http://example.org/a", "ext::sh -c id", "https://u:p@example.org/a", &format!("{url}/../../x"), ""] {
        assert_eq!(refused(&server, at(bad)), (422, json!("context.repository.url")), "{bad}");
    }
    assert_eq!(refused(&server, at("https://example.org/a")), (403, json!("context.repository.url")));
    assert_eq!(refused(&server, at(&format!("file://{}", world.dir.display()))).0, 403);
    let mut both = at(&url);
    both["context"]["workingDirectory"] = json!(world.ws());
    assert_eq!(refused(&server, both), (422, json!("context.workingDirectory")));
    let odd = on(json!({ "url": url, "revision": "--upload-pack=x" }), &["say x"], json!({}));
    assert_eq!(refused(&server, odd), (422, json!("context.repository.revision")));
    let gone = format!("{allowed}gone.git");
    for (url, revision) in [(&*url, "nowhere"), (&*gone, "main")] {
        let id = server.submit(on(json!({ "url": url, "revision": revision }), &["say x"], json!({})));
        let failed = server.wait_end(&id);
        assert_eq!((&failed["error"]["code"], &failed["attempt"]), (&json!("REPOSITORY"), &json!(1)), "{failed:#}");
    }
}

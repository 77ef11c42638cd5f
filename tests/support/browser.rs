//! A real browser, driven by the scripts of `tests/web`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::World;
use super::http::Client;

/// The folder of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A link that signs a browser in.
fn link(world: &World, server: &Client) -> String {
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    let settings = [("PORT", &*port), ("API_KEY", &*server.key)];
    let output = world.command("open", &settings).arg("--print").output().expect("a link");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Runs a script of `tests/web`; what it asks to be done is done.
pub fn browse(world: &World, server: &Client, script: &str, settings: &[(&str, &str)], mut act: impl FnMut(&str)) {
    let (tools, link) = (root().join(".tools/node_modules"), link(world, server));
    let folder = world.dir.join("web");
    std::fs::create_dir_all(&folder).expect("a folder");
    // Modules are looked for beside the script.
    for file in std::fs::read_dir(root().join("tests/web")).expect("scripts").flatten() {
        std::fs::copy(file.path(), folder.join(file.file_name())).expect("a copy");
    }
    std::os::unix::fs::symlink(tools, folder.join("node_modules")).ok();
    let mut node = Command::new("node")
        .args([folder.join("run.mjs").as_os_str(), script.as_ref()])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", &folder)
        .env("CHROMIUM", "/usr/bin/chromium")
        .envs([("URL", &*server.url), ("KEY", &*server.key), ("LINK", &link)])
        .env("WS", world.ws())
        .envs(settings.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let mut input = node.stdin.take().expect("a pipe");
    for line in BufReader::new(node.stdout.take().expect("a pipe")).lines().map_while(Result::ok) {
        match line.strip_prefix("do ") {
            Some(what) => {
                act(what);
                input.write_all(b"\n").expect("told");
            }
            None => eprintln!("{script}: {line}"),
        }
    }
    assert!(node.wait().expect("an end").success(), "{script} failed; see above");
}

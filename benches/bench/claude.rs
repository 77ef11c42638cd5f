//! Whole tasks with the real CLI and a model that answers at once, over the CLI alone.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::Server;
use crate::{Figures, load, model};

const CLAUDE_RUNS: usize = 7;
/// Time after which a CLI has read all that it reads.
pub const READY: Duration = Duration::from_secs(2);

/// See the module.
pub fn claude(figures: &mut Figures) {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/node_modules/.bin/claude");
    let model = model::Model::start(0);
    let settings = [("CLAUDE_PATH", cli.to_str().expect("a path")), ("ANTHROPIC_BASE_URL", model.url.as_str())];
    let cold = Server::start("inline", &settings);
    let warm = Server::start("inline", &[settings[0], settings[1], ("WARM_STANDBY", "1")]);
    // The first one is cold everywhere.
    whole_task(&warm);
    let (mut times, mut colds, mut warms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..CLAUDE_RUNS {
        // Until the next process is ready, so that its start disturbs nobody.
        std::thread::sleep(READY);
        colds.push(whole_task(&cold));
        let began = Instant::now();
        bare_claude(&cli, &cold.dir, &model.url);
        times.push(began.elapsed());
        warms.push(whole_task(&warm));
    }
    let middle = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        load::at(times, 0.5)
    };
    let (direct, cold, warm) = (middle(&mut times), middle(&mut colds), middle(&mut warms));
    figures.add("the CLI alone, p50", direct, "ms");
    figures.add("a Claude task, cold, p50", cold, "ms");
    figures.add("a Claude task, warm, p50", warm, "ms");
    figures.add("a Claude task over the CLI alone, cold", cold / direct, "");
    figures.add("a Claude task over the CLI alone, warm", warm / direct, "");
}

/// Runs a task to its end; returns the time that it took.
pub fn whole_task(server: &Server) -> Duration {
    let began = Instant::now();
    let body = json!({
        "instruction": "step say ok", "context": { "workingDirectory": server.dir.join("ws") }, "options": { "async": false },
    });
    assert_eq!(server.ask("POST", "/api/tasks", Some(body))["status"], "completed");
    began.elapsed()
}

fn bare_claude(cli: &Path, dir: &Path, model: &str) {
    let mut child = Command::new(cli)
        .args(["-p", "--input-format=stream-json", "--output-format=stream-json", "--verbose"])
        .args(["--setting-sources=", "--strict-mcp-config"])
        .current_dir(dir)
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("ANTHROPIC_API_KEY", "none"), ("ANTHROPIC_BASE_URL", model)])
        .envs([("DISABLE_AUTOUPDATER", "1"), ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")])
        .env("HOME", dir.join("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the CLI");
    let content = json!([{ "type": "text", "text": "step say ok" }, { "type": "text", "text": "Do the task above." }]);
    let message = json!({ "role": "user", "content": content });
    let frame = json!({ "type": "user", "message": message, "parent_tool_use_id": null, "session_id": "" });
    writeln!(child.stdin.take().expect("its input"), "{frame}").expect("sent");
    assert!(child.wait().expect("an end").success());
}

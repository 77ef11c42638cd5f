//! Whole tasks with the real CLI and a model that answers at once, over the CLI alone.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::Server;
use crate::{Figures, load, model};

const ROUNDS: usize = 25;
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
    let (mut alone, mut colds, mut warms) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Until the next process is ready, so that its start disturbs nobody.
        std::thread::sleep(READY);
        // Each is first as often as second.
        if round % 2 == 0 {
            colds.push(whole_task(&cold));
            alone.push(bare_claude(&cli, &cold.dir, &model.url));
        } else {
            alone.push(bare_claude(&cli, &cold.dir, &model.url));
            colds.push(whole_task(&cold));
        }
        warms.push(whole_task(&warm));
    }
    let over = |times: &[Duration]| {
        let pairs = times.iter().zip(&alone).map(|(time, alone)| time.as_secs_f64() / alone.as_secs_f64());
        let mut over: Vec<f64> = pairs.collect();
        over.sort_by(f64::total_cmp);
        over
    };
    for (name, times) in [("cold", &colds), ("warm", &warms)] {
        let over = over(times);
        for (part, of) in [("p25", ROUNDS / 4), ("p50", ROUNDS / 2), ("p75", ROUNDS * 3 / 4)] {
            figures.add(&format!("a Claude task over the CLI alone, {name}, {part}"), over[of], "");
        }
    }
    for (name, times) in
        [("the CLI alone", &mut alone), ("a Claude task, cold", &mut colds), ("a Claude task, warm", &mut warms)]
    {
        times.sort_unstable();
        figures.add(&format!("{name}, p50"), load::at(times, 0.5), "ms");
    }
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

/// The same by the CLI alone.
fn bare_claude(cli: &Path, dir: &Path, model: &str) -> Duration {
    let began = Instant::now();
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
    began.elapsed()
}

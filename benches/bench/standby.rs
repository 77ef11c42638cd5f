//! Processes that wait for a mix of tasks, of three folders and two models: how many tasks find one, and what each takes.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{Server, children, memory};
use crate::{Figures, load, model};

const FOLDERS: [&str; 3] = ["one", "two", "three"];
const MODELS: [&str; 2] = ["claude-sonnet-4-5", "claude-haiku-4-5"];
/// Parts of each model in each folder.
const PARTS: [[usize; 2]; 3] = [[10, 4], [3, 1], [1, 1]];
const TASKS: usize = 60;
/// Of them, those that only teach.
const LEARNT: usize = 10;
const PLACES: [&str; 5] = ["0", "1", "2", "4", "6"];
/// Time between two tasks: a process is there again.
const PAUSE: Duration = Duration::from_millis(1_200);

/// See the module.
pub fn standby(figures: &mut Figures) {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/node_modules/.bin/claude");
    let model = model::Model::start(0);
    let kinds: Vec<(usize, usize)> = (0..FOLDERS.len())
        .flat_map(|folder| (0..MODELS.len()).map(move |model| (folder, model)))
        .flat_map(|(folder, model)| std::iter::repeat_n((folder, model), PARTS[folder][model]))
        .collect();
    for places in PLACES {
        let settings = [
            ("CLAUDE_PATH", cli.to_str().expect("a path")),
            ("ANTHROPIC_BASE_URL", model.url.as_str()),
            ("WARM_STANDBY", places),
        ];
        let server = Server::start("inline", &settings);
        FOLDERS
            .iter()
            .for_each(|folder| std::fs::create_dir_all(server.dir.join("ws").join(folder)).expect("a folder"));
        // The same tasks for each number of places.
        let mut seed = 7_u64;
        let (mut hits, mut times) = (0, Vec::new());
        for number in 0..TASKS {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (folder, model) = kinds[(seed >> 33) as usize % kinds.len()];
            let began = Instant::now();
            let task = server.ask(
                "POST",
                "/api/tasks",
                Some(json!({
                    "instruction": "step say ok",
                    "context": { "workingDirectory": server.dir.join("ws").join(FOLDERS[folder]) },
                    "options": { "async": false, "sdk": { "model": MODELS[model] } },
                })),
            );
            assert_eq!(task["status"], "completed", "{task}");
            if number >= LEARNT {
                times.push(began.elapsed());
                // A process that waited has a session of its own.
                hits += usize::from(task["sdkSessionId"] != task["taskId"]);
            }
            std::thread::sleep(PAUSE);
        }
        let mean = times.iter().sum::<Duration>().as_secs_f64() * 1_000.0 / times.len() as f64;
        times.sort_unstable();
        let name = format!("a mix of tasks, WARM_STANDBY={places}");
        figures.add(&format!("{name}, found a process"), hits as f64 * 100.0 / times.len() as f64, "%");
        figures.add(&format!("{name}, mean time of a task"), mean, "ms");
        figures.add(&format!("{name}, p50"), load::at(&times, 0.5), "ms");
        let waiting = waiting(server.child.id());
        figures.add(&format!("{name}, processes that wait"), waiting.len() as f64, "");
        if !waiting.is_empty() {
            let each = waiting.iter().sum::<f64>() / waiting.len() as f64;
            figures.add(&format!("{name}, memory of each"), each, "MB");
        }
    }
}

/// Memory of each process of the CLI below this one.
fn waiting(pid: u32) -> Vec<f64> {
    let mut found = Vec::new();
    for child in children(pid) {
        let command = std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        match command.contains("stream-json") && !command.contains("agent-shim") {
            true => found.push(memory(child)),
            false => found.extend(waiting(child)),
        }
    }
    found
}

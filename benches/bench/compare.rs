//! `make bench-compare`: this version beside the one of another revision, in turns; ratios with intervals.
//!
//! Each figure is taken in pairs, one of each version right behind the other, so that what the machine does besides falls on
//! both. What is said of a figure follows from the ratios of its pairs alone.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::dispatch::started_after;
use crate::server::{PROGRAM, Server, request};
use crate::{Figures, block_on, load, load_average};

/// Pairs of each figure.
const PAIRS: usize = 12;
/// Quantile 0.975 of Student's distribution for `PAIRS - 1` degrees of freedom.
const STUDENT: f64 = 2.201;
/// Of one side of a pair of submits.
const TIME: Duration = Duration::from_millis(1_500);
const CLIENTS: [usize; 3] = [1, 8, 64];
/// Tasks of one side of a pair.
const DISPATCHES: usize = 15;
const WITH_PROCESSES: usize = 150;
/// What the start has needed is over by then.
const SETTLE: Duration = Duration::from_secs(5);
/// A server at rest is looked at for this long.
const REST: Duration = Duration::from_secs(3);

/// True if more of it is better.
#[derive(Clone, Copy, PartialEq)]
enum Better {
    More,
    Less,
}

/// The result for `make`: a failure where a figure is worse by more than noise.
pub fn compare() -> ExitCode {
    let Ok(base) = std::env::var("BASE_PROGRAM") else {
        eprintln!("BASE_PROGRAM names the program to compare with: use make bench-compare BASE=a-revision");
        return ExitCode::FAILURE;
    };
    println!("{PAIRS} pairs of each, load average {}", load_average());
    let mut all = Comparison::default();
    // The other version first.
    let two = |mode: &str, settings: &[(&str, &str)]| {
        [&*base, PROGRAM].map(|program| Server::start_of(program, mode, settings))
    };
    let idle = two("managed", &[]);
    idle.iter().for_each(Server::wait_healthy);
    std::thread::sleep(SETTLE);
    all.take("memory of serve, idle, MB", Better::Less, 1, |side| idle[side].memory());
    all.take("processor of serve at rest, ms a second", Better::Less, 4, |side| at_rest(&idle[side]));
    drop(idle);
    let servers = two("standalone", &[]);
    let body = json!({ "instruction": "Mend the build.", "tags": ["bench"] }).to_string();
    let submit = request("POST", "/api/tasks", &body);
    for clients in CLIENTS {
        let run = |side: usize| block_on(load::run(servers[side].port, &submit, clients, TIME)).rate;
        all.take(&format!("submits a second, {clients} clients"), Better::More, PAIRS, run);
    }
    drop(servers);
    let stand_in = std::env::current_exe().expect("ourselves").display().to_string();
    for mode in ["inline", "managed"] {
        let servers = two(mode, &[("CLAUDE_PATH", &stand_in), ("QUEUE_CONCURRENCY", "10")]);
        servers.iter().for_each(Server::wait_healthy);
        all.take(&format!("submit to started CLI, {mode}, ms"), Better::Less, PAIRS, |side| dispatches(&servers[side]));
        let rate = |side: usize| servers[side].rate_of_tasks(WITH_PROCESSES);
        all.take(&format!("tasks with a process each, {mode}, a second"), Better::More, PAIRS, rate);
    }
    all.end()
}

/// The middle time from a submit to the started CLI, in milliseconds.
fn dispatches(server: &Server) -> f64 {
    let mut times: Vec<Duration> = (0..DISPATCHES).map(|_| started_after(server)).collect();
    times.sort_unstable();
    load::at(&times, 0.5)
}

/// Milliseconds of the processor that a server takes in a second when nothing is asked.
fn at_rest(server: &Server) -> f64 {
    let before = server.processor_ms();
    std::thread::sleep(REST);
    (server.processor_ms() - before) / REST.as_secs_f64()
}

/// What was measured of both.
#[derive(Default)]
struct Comparison {
    figures: Figures,
    worse: Vec<String>,
}

impl Comparison {
    /// Takes pairs of a figure. `measure` is told which side is meant: 0 is the other version.
    fn take(&mut self, name: &str, better: Better, pairs: usize, measure: impl Fn(usize) -> f64) {
        let mut taken = Vec::with_capacity(pairs);
        for pair in 0..pairs {
            // Who is first changes, so that it helps neither.
            let first = pair % 2;
            let one = measure(first);
            let other = measure(1 - first);
            taken.push(if first == 0 { [one, other] } else { [other, one] });
        }
        let Interval { ratio, low, high } = Interval::of(&taken);
        let is_worse = match better {
            Better::More => high < 1.0,
            Better::Less => low > 1.0,
        };
        let mean = |side: usize| taken.iter().map(|pair| pair[side]).sum::<f64>() / pairs as f64;
        let mark = if is_worse { "  worse" } else { "" };
        println!("{name:<50} {:>10.2} before {:>10.2} now: {ratio:.3} ({low:.3} to {high:.3}){mark}", mean(0), mean(1));
        self.figures.note(name, json!({ "before": mean(0), "now": mean(1), "ratio": ratio, "interval": [low, high] }));
        if is_worse {
            self.worse.push(name.to_owned());
        }
    }

    fn end(self) -> ExitCode {
        self.figures.save_as("bench-compare.json");
        if self.worse.is_empty() {
            println!("Nothing is worse by more than noise.");
            return ExitCode::SUCCESS;
        }
        println!("Worse by more than noise: {}", self.worse.join("; "));
        ExitCode::FAILURE
    }
}

/// The ratio of pairs, and where it is with a confidence of 95%.
struct Interval {
    ratio: f64,
    low: f64,
    high: f64,
}

impl Interval {
    /// By the logarithms of the ratios; without several pairs anything is possible.
    fn of(pairs: &[[f64; 2]]) -> Self {
        let logs: Vec<f64> = pairs.iter().map(|[before, now]| (now.max(1e-9) / before.max(1e-9)).ln()).collect();
        let n = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let ratio = mean.exp();
        if logs.len() < PAIRS {
            return Self { ratio, low: 0.0, high: f64::INFINITY };
        }
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let reach = STUDENT * (variance / n).sqrt();
        Self { ratio, low: (mean - reach).exp(), high: (mean + reach).exp() }
    }
}

//! `make bench`: how fast the service is, in figures taken side by side in one run. Machines
//! differ and are busy with other things: compare the ratios.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures")]

mod claude;
mod compare;
mod curves;
mod dispatch;
mod drain;
mod events;
mod growth;
mod limit;
mod load;
mod memory;
#[path = "../../tests/support/model.rs"]
#[expect(dead_code, reason = "the tests look at what was asked")]
mod model;
mod peers;
mod postgres;
mod scale;
mod server;
mod stand_in;
mod standby;
mod submits;
mod walls;

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: sys::BySize = sys::BySize;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        // Started by ourselves: servers to compare with, executors, and the stand-in of the CLI.
        Some("bare") => limit::bare(),
        Some("limit") => limit::limit(),
        Some("executor") => scale::executor(&args[2]),
        Some("-p") => stand_in::run(),
        // By hand: `load PORT CLIENTS SECONDS` on a server with the benchmark's key.
        Some("load") => load::by_hand(&args[2..]),
        Some("compare") => return compare::compare(),
        _ => measure(&args),
    }
    ExitCode::SUCCESS
}

fn measure(args: &[String]) {
    let mut figures = Figures::default();
    for (name, part) in PARTS {
        // Parts that are named run alone; `--bench` comes from cargo.
        let mut named = args.iter().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
        if named.peek().is_none() || named.any(|arg| arg == name) {
            println!("{name}, load average {}", load_average());
            part(&mut figures);
        }
    }
    figures.save_as("bench.json");
}

/// Measures something, and adds its figures.
type Part = fn(&mut Figures);

/// What `make bench` measures, in this order. One alone: `make bench PARTS=submits`.
const PARTS: [(&str, Part); 16] = [
    ("submits", submits::submits),
    ("dispatch", dispatch::dispatch),
    ("drain", drain::drain),
    ("whole", drain::whole),
    ("growth", growth::growth),
    ("memory", memory::of_processes),
    ("events", events::events),
    ("scale", scale::scale),
    ("curves", curves::curves),
    ("claude", claude::claude),
    ("walls", walls::walls),
    ("standby", standby::standby),
    ("postgres", postgres::postgres),
    ("executors", postgres::executors),
    ("hour", postgres::hour),
    ("fleet", postgres::fleet),
];

fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

/// What was measured, printed as it comes.
#[derive(Default)]
struct Figures(serde_json::Map<String, Value>);

impl Figures {
    fn add(&mut self, name: &str, value: f64, unit: &str) {
        println!("{name:<62} {value:>12.2} {unit}");
        let figure = json!({ "value": value, "unit": unit, "loadAverage": load_average() });
        self.0.insert(name.trim().to_owned(), figure);
    }

    /// Takes note of a figure that was printed.
    fn note(&mut self, name: &str, figure: Value) {
        self.0.insert(name.to_owned(), figure);
    }

    fn save_as(self, file: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(file);
        std::fs::write(&path, json!({ "figures": self.0 }).to_string()).expect("written");
        println!("also in {}", path.display());
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

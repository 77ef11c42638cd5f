//! A CLI that needs no time of its own: it notes when it was started, and answers at once; told to, it
//! prints frames that say when they were printed.

use std::io::{BufRead, Write};
use std::time::Duration;

use serde_json::json;

/// Nanoseconds of a clock that all processes share.
pub fn now() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// What an instruction says for it to print `frames` frames, one each `every` milliseconds, from `begin` on.
pub fn instruction(begin: i128, frames: u32, every: u64) -> String {
    format!("stream {begin} {frames} {every} .")
}

/// Runs it.
pub fn run() {
    std::fs::write("started", now().to_string()).expect("written");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("an instruction");
    let mut out = std::io::stdout().lock();
    let text = |text: String| json!({ "type": "assistant", "message": { "model": "none", "content": [{ "type": "text", "text": text }] } });
    if let Some(order) = line.split("stream ").nth(1) {
        let numbers: Vec<i128> = order.split(' ').map_while(|number| number.parse().ok()).collect();
        let every = Duration::from_millis(u64::try_from(numbers[2]).expect("a time"));
        std::thread::sleep(Duration::from_nanos(u64::try_from(numbers[0] - now()).unwrap_or(0)));
        for _ in 0..numbers[1] {
            writeln!(out, "{}", text(format!("t={} .", now()))).expect("written");
            out.flush().expect("written");
            std::thread::sleep(every);
        }
    }
    let result = json!({ "type": "result", "subtype": "success", "is_error": false, "num_turns": 1, "result": "ok" });
    writeln!(out, "{}\n{result}", text("ok".to_owned())).expect("written");
}

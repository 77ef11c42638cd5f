//! The tests' stand-in of the Messages API as a program of its own, to try the server without
//! an account: `cargo run --example scripted_model`, then start the server with
//! `ANTHROPIC_BASE_URL=http://127.0.0.1:5099 ANTHROPIC_API_KEY=none`.

#[path = "../tests/support/model.rs"]
#[expect(dead_code, reason = "the tests look at what was asked")]
mod model;

fn main() {
    println!("listening on {}", model::Model::start(5099).url);
    loop {
        std::thread::park();
    }
}

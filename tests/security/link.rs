//! Another process of this machine → the supervisor: its socket is for the workers that it has started.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{LIMIT, World};

#[test]
fn the_link_is_private_and_wants_a_token() {
    let world = World::new();
    let _server = world.serve("managed", &[]);
    let run = world.dir.join("data/run");
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&run), 0o700);
    assert_eq!(mode(&run.join("link.sock")), 0o600);
    assert_eq!(mode(&run.join("workers/worker-0.json")), 0o600);
    let record: Value =
        serde_json::from_slice(&fs::read(run.join("workers/worker-0.json")).expect("a file")).expect("json");
    // One that was guessed, and the right one in the hands of a process that is no worker.
    for token in [&json!("guessed"), &record["token"]] {
        let hello = json!({
            "type": "hello", "version": 1, "worker": "worker-0", "holder": record["holder"], "pid": 1, "token": token,
        });
        let hello = hello.to_string();
        let mut stream = UnixStream::connect(run.join("link.sock")).expect("a socket");
        stream.write_all(&u32::try_from(hello.len()).expect("short").to_be_bytes()).expect("written");
        stream.write_all(hello.as_bytes()).expect("written");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        assert_eq!(stream.read(&mut [0; 64]).expect("an end of stream"), 0, "{token}: turned away without a word");
    }
}

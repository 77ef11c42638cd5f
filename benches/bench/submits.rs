//! Submits a second, durably acknowledged, of everything that is here, in turns.

use std::time::Duration;

use serde_json::json;

use crate::load::Load;
use crate::server::{Peer, Server, request};
use crate::{Figures, block_on, load, peers};

const CLIENTS: [usize; 3] = [1, 8, 64];
const ROUNDS: u32 = 3;
/// Of one round.
const TIME: Duration = Duration::from_secs(2);

/// See the module.
pub fn submits(figures: &mut Figures) {
    let (bare, limit) = (Peer::start("bare"), Peer::start("limit"));
    let server = Server::start("standalone", &[]);
    figures.add("memory of serve, idle", server.memory(), "MB");
    let peers = peers::servers("serve", "");
    let mut sides = vec![("the limit", limit.port), ("cc-anywhere", server.port), ("bare handler", bare.port)];
    sides.extend(peers.iter().map(|(name, peer, _)| (*name, peer.port)));
    let body = json!({ "instruction": "Mend the build.", "tags": ["bench"] }).to_string();
    let request = request("POST", "/api/tasks", &body);
    for clients in CLIENTS {
        let mut loads: Vec<Vec<Load>> = sides.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            // In turns: the disk is not the same from one second to the next.
            for (side, loads) in sides.iter().zip(&mut loads) {
                loads.push(block_on(load::run(side.1, &request, clients, TIME)));
            }
        }
        let rate = |loads: &[Load]| loads.iter().map(|load| load.rate).sum::<f64>() / f64::from(ROUNDS);
        let ours = rate(&loads[1]);
        for ((name, _), loads) in sides.iter().zip(&loads) {
            figures.add(&format!("submits, {clients} clients, {name}"), rate(loads), "/s");
            if *name != "cc-anywhere" {
                figures.add(&format!("  cc-anywhere over {name}, {clients} clients"), ours / rate(loads), "");
            }
        }
        let worst = |part: fn(&Load) -> f64| loads[1].iter().map(part).fold(0.0, f64::max);
        figures.add(&format!("  p50 of the worst round, {clients} clients"), worst(|load| load.p50), "ms");
        figures.add(&format!("  p99 of the worst round, {clients} clients"), worst(|load| load.p99), "ms");
    }
    figures.add("memory of serve, after the submits", server.memory(), "MB");
}

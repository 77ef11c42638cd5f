//! A load generator: each client is a connection that sends a request, reads the answer, and
//! sends the next.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a run of the load came to.
pub struct Load {
    /// Answers a second.
    pub rate: f64,
    /// Milliseconds, the middle one.
    pub p50: f64,
    /// Milliseconds, one in a hundred took longer.
    pub p99: f64,
}

/// Sends the same request over so many connections for so long.
pub async fn run(port: u16, request: &[u8], clients: usize, time: Duration) -> Load {
    let until = Instant::now() + time;
    let each: Vec<_> = (0..clients).map(|_| tokio::spawn(client(port, request.to_vec(), until))).collect();
    let mut times = Vec::new();
    for client in each {
        times.extend(client.await.expect("a client"));
    }
    times.sort_unstable();
    Load { rate: times.len() as f64 / time.as_secs_f64(), p50: at(&times, 0.5), p99: at(&times, 0.99) }
}

/// Puts load on a server that somebody has started.
pub fn by_hand(args: &[String]) {
    let number = |at: usize| args[at].parse::<u16>().expect("a number");
    let body = serde_json::json!({ "instruction": "Mend the build.", "tags": ["bench"] }).to_string();
    let request = crate::server::request("POST", "/api/tasks", &body);
    let load = crate::block_on(run(number(0), &request, number(1).into(), Duration::from_secs(number(2).into())));
    println!("{:.0}/s, p50 {:.2} ms, p99 {:.2} ms", load.rate, load.p50, load.p99);
}

/// The time at this part of the sorted list, in milliseconds.
pub fn at(sorted: &[Duration], part: f64) -> f64 {
    let index = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}

async fn client(port: u16, request: Vec<u8>, until: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    let mut times = Vec::new();
    let mut buffer = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        stream.write_all(&request).await.expect("sent");
        answer(&mut stream, &mut buffer).await;
        times.push(began.elapsed());
    }
    times
}

/// Reads one answer: head, then as many bytes as it says.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert!(stream.read_buf(buffer).await.expect("an answer") > 0, "the server closed");
        let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
        assert!(text.starts_with("http/1.1 20"), "{}", String::from_utf8_lossy(buffer));
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|length| length.trim().parse().ok())
            .expect("a length");
        if buffer.len() >= head + 4 + length {
            return;
        }
    }
}

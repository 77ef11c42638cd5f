//! Promises about workers: what they may take, and what they are told.

use super::{HOLDER, begin, claim_from, insert, task};
use crate::store::Store;
use crate::store::rows::{TaskRow, WorkerRow};
use crate::store::views::Poll;
use domain::{Labels, WorkerInstanceId};

pub async fn a_lane_is_for_those_who_meet_it(store: &dyn Store) {
    let of = |lane: &str, priority, id| TaskRow { lane: lane.to_owned(), priority, ..task(id) };
    insert(store, &[of("", 0, 1), of("gpu", 5, 2), of("", 9, 3), of("disk,gpu", 9, 4), of("gpu", 9, 5), of("x", 1, 6)])
        .await;
    let lanes = |lanes: &[&str]| lanes.iter().map(|lane| (*lane).to_owned()).collect::<Vec<_>>();
    let mut tx = begin(store).await;
    let now = tx.clock().wall;
    let allowance = tx.allowance(HOLDER, "c", now).await.expect("a read").expect("one");
    assert_eq!(allowance.lanes, lanes(&["disk,gpu", "gpu", "x"]));
    assert_eq!(tx.lanes().await.expect("a read"), allowance.lanes);
    let mut ready: Vec<u128> = Vec::new();
    for task in tx.ready(1, false, &lanes(&["", "gpu"])).await.expect("a read") {
        ready.push(task.id.uuid().as_u128());
    }
    ready.sort_unstable();
    assert_eq!(ready, [3, 5], "the first of each lane");
    drop(tx);
    let labels = |text: &str| Labels::from_text(text);
    for (text, work) in [("", true), ("gpu=a100", true)] {
        let poll = Poll { holder: HOLDER, credential: "c", heard: &[], labels: &labels(text) };
        assert_eq!(store.poll(&poll).await.expect("polled").work, work);
    }
    // By priority, then age, from all lanes together.
    assert_eq!(claim_from(store, HOLDER, 2, &lanes(&["", "gpu"])).await, [3, 5]);
    assert_eq!(claim_from(store, HOLDER, 9, &lanes(&["", "gpu"])).await, [2, 1]);
    assert_eq!(claim_from(store, HOLDER, 9, &lanes(&["", "gpu"])).await, [] as [u128; 0]);
    for (text, work) in [("", false), ("gpu=a100", false), ("x=1", true), ("disk,gpu", true)] {
        let poll = Poll { holder: HOLDER, credential: "c", heard: &[], labels: &labels(text) };
        assert_eq!(store.poll(&poll).await.expect("polled").work, work, "{text}");
    }
}

pub async fn a_worker_is_told_to_end(store: &dyn Store) {
    let worker = WorkerRow {
        holder: HOLDER,
        name: "w".to_owned(),
        host: "h".to_owned(),
        process: serde_json::to_string(&crate::process::Identity::current()).expect("an identity"),
        started_at: 1,
        beat_at: 1,
        running: 0,
        concurrency: 1,
        labels: "gpu".to_owned(),
        version: "1".to_owned(),
        drain: false,
    };
    let mut tx = begin(store).await;
    tx.put_worker(&worker).await.expect("stored");
    tx.commit().await.expect("committed");
    let poll = Poll { holder: HOLDER, credential: "c", heard: &[], labels: &Labels::default() };
    assert!(!store.poll(&poll).await.expect("polled").drain);
    let mut tx = begin(store).await;
    assert!(tx.drain_worker(HOLDER).await.expect("a statement"));
    assert!(!tx.drain_worker(WorkerInstanceId::from_u128(77)).await.expect("a statement"));
    // Its next heartbeat takes nothing back.
    tx.put_worker(&WorkerRow { beat_at: 2, ..worker }).await.expect("stored");
    tx.commit().await.expect("committed");
    assert!(store.poll(&poll).await.expect("polled").drain);
    let known = store.reader().workers().await.expect("a read");
    assert_eq!((known[0].drain, known[0].labels.text(), &*known[0].version), (true, "gpu".to_owned(), "1"));
}

//! Promises of every engine, as tests: [`exercise`] runs all of them over one engine.

mod backlog;
mod batches;
mod children;
mod dependencies;
mod files;
mod keys;
mod outside;
mod races;
mod rules;
mod secrets;
mod words;
mod workers;

use std::sync::Arc;

use futures_util::future::join_all;

use super::rows::{AttemptRow, ClaimRow, EventRow, IdempotencyKeyRow, ReadyRow, TaskBefore, TaskRow, TranscriptRow};
use super::views::{Filter, ListTasks, Poll, ReadEvents, ReadUsage};
use super::{Store, StoreError, Tx};
use domain::{
    Epoch, EventKind, Group, GroupKind, Labels, LeaseKey, SUSPECT, SessionId, Share, Spent, Status, TaskId, Timestamp,
    Tokens, Usd, WorkerInstanceId,
};

/// Opens one database, again and again: each store is a process of its own.
pub trait Open {
    /// A further store on the same database.
    async fn open(&self) -> Arc<dyn Store>;
}

const HOLDER: WorkerInstanceId = WorkerInstanceId::from_u128(1);

/// Runs the suite; each part on a database of its own.
pub async fn exercise<O: Open>(fresh: impl Fn() -> O) {
    what_is_not_committed_has_not_happened(&*fresh().open().await).await;
    a_savepoint_is_gone_back_to(&*fresh().open().await).await;
    batches::what_a_transaction_writes_is_stored_however_much_it_is(&*fresh().open().await).await;
    tasks_are_claimed_by_priority_then_age(&*fresh().open().await).await;
    a_suspect_is_counted(&*fresh().open().await).await;
    shares_are_known_and_take_turns(&*fresh().open().await).await;
    workers::a_lane_is_for_those_who_meet_it(&*fresh().open().await).await;
    workers::a_worker_is_told_to_end(&*fresh().open().await).await;
    each_task_is_claimed_by_one_of_many(&fresh()).await;
    another_epoch_changes_nothing(&*fresh().open().await).await;
    what_is_held_back_is_let_go_in_order(&*fresh().open().await).await;
    events_and_commits_are_numbered_in_order(&fresh()).await;
    no_event_is_seen_before_a_smaller_one(&fresh()).await;
    what_a_transaction_reads_stays_true_until_its_commit(&fresh()).await;
    sessions_and_keys_are_known(&*fresh().open().await).await;
    transcripts_are_stored_once(&*fresh().open().await).await;
    outside::limits_are_kept(&*fresh().open().await).await;
    backlog::what_waits_is_counted_by_its_cause(&*fresh().open().await).await;
    outside::deliveries_are_claimed_by_host(&*fresh().open().await).await;
    outside::a_firing_stays_with_its_timetable(&*fresh().open().await).await;
    dependencies::dependents_are_told_and_let_go(&*fresh().open().await).await;
    dependencies::a_retry_stands_for_its_task(&*fresh().open().await).await;
    dependencies::a_graph_is_read_from_any_of_its_tasks(&*fresh().open().await).await;
    files::contents_are_kept_piece_by_piece(&*fresh().open().await).await;
    files::a_file_is_one_keys_and_stays_while_it_is_needed(&*fresh().open().await).await;
    files::what_a_task_leaves_is_replaced_and_goes_with_it(&*fresh().open().await).await;
    children::a_family_shares_its_budget(&*fresh().open().await).await;
    races::a_race_is_found_by_each_of_its_tasks_and_decided_once(&*fresh().open().await).await;
    rules::rules_are_a_keys_own(&*fresh().open().await).await;
    rules::the_newest_answers_are_read(&*fresh().open().await).await;
    rules::those_that_change_a_file_are_found_while_they_run(&*fresh().open().await).await;
    secrets::a_secret_is_one_keys_and_keeps_its_beginning(&*fresh().open().await).await;
    money_adds_up(&*fresh().open().await).await;
    words::words_are_found_newest_first(&*fresh().open().await).await;
    words::words_are_taken_in_once(&fresh()).await;
    old_tasks_go_with_all_they_had(&*fresh().open().await).await;
    keys::keys_are_kept_by_name(&*fresh().open().await).await;
    keys::a_key_has_its_own(&*fresh().open().await).await;
    keys::the_audit_log_goes_back_page_by_page(&*fresh().open().await).await;
    commits_of_other_processes_are_seen(&fresh()).await;
    a_commit_without_a_change_is_news_to_nobody(&fresh()).await;
    what_is_closed_takes_nothing(&*fresh().open().await).await;
}

pub fn task(id: u128) -> TaskRow {
    let spec = serde_json::from_str(r#"{"instruction":"x","tags":["a"]}"#).expect("a request");
    let row = TaskRow::pending(TaskId::from_u128(id), &spec, "default".to_owned(), Timestamp(1));
    TaskRow { working_directory: Some("/w".to_owned()), ..row.expect("a row") }
}

async fn begin(store: &dyn Store) -> Box<dyn Tx + '_> {
    store.begin().await.expect("begun")
}

/// Stores tasks in one transaction.
pub async fn insert(store: &dyn Store, tasks: &[TaskRow]) {
    let mut tx = begin(store).await;
    for task in tasks {
        tx.insert_task(task, &["a".to_owned()]).await.expect("inserted");
    }
    tx.commit().await.expect("committed");
}

/// Claims in one transaction. Returns the ids in the order of a worker.
async fn claim(store: &dyn Store, holder: WorkerInstanceId, limit: u32) -> Vec<u128> {
    claim_from(store, holder, limit, &[String::new()]).await
}

/// Claims the first of one share by priority, then age.
async fn claim_from(store: &dyn Store, holder: WorkerInstanceId, limit: u32, lanes: &[String]) -> Vec<u128> {
    let mut tx = begin(store).await;
    let clock = tx.clock();
    let mut ready = tx.ready(limit, false, lanes).await.expect("a read");
    ready.sort_by_key(|task| (-task.priority, task.id));
    let tasks: Vec<TaskId> = ready.iter().take(limit as usize).map(|task| task.id).collect();
    let expires = clock.lease.plus_ms(60_000);
    let claim = ClaimRow { holder, worker: "w", expires, now: clock.wall, tasks: &tasks };
    let mut rows: Vec<TaskRow> =
        tx.claim(&claim).await.expect("claimed").into_iter().map(|row| row.expect("a row")).collect();
    assert_eq!(tx.claim(&claim).await.expect("nothing").len(), 0, "once");
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    for row in &rows {
        assert_eq!(tx.task(row.id).await.expect("a read").expect("it").row, *row, "as it is stored");
    }
    drop(tx);
    rows.sort_by_key(|row| (-row.priority, row.id));
    rows.iter().map(|row| row.id.uuid().as_u128()).collect()
}

async fn what_is_not_committed_has_not_happened(store: &dyn Store) {
    let mut tx = begin(store).await;
    tx.insert_task(&task(1), &[]).await.expect("inserted");
    assert!(tx.task(TaskId::from_u128(1)).await.expect("a read").is_some(), "it sees what it wrote");
    drop(tx);
    assert!(store.reader().task(TaskId::from_u128(1)).await.expect("a read").is_none());
    insert(store, &[task(1)]).await;
    assert!(store.reader().task(TaskId::from_u128(1)).await.expect("a read").is_some());
    // One that fails leaves the store as it was, and usable.
    let mut tx = begin(store).await;
    tx.insert_task(&task(2), &[]).await.expect("inserted");
    let inserted = tx.insert_task(&task(1), &[]).await;
    let stored = if inserted.is_ok() { tx.commit().await.map(|_| ()) } else { inserted };
    assert!(stored.is_err(), "the id is there already; an engine may find out at the commit");
    assert_eq!(store.reader().stats(None).await.expect("counts").counts.iter().sum::<i64>(), 1);
}

async fn a_savepoint_is_gone_back_to(store: &dyn Store) {
    let mut tx = begin(store).await;
    tx.insert_task(&task(1), &[]).await.expect("inserted");
    for (id, undo) in [(2, true), (3, false)] {
        tx.savepoint().await.expect("marked");
        tx.insert_task(&task(id), &[]).await.expect("inserted");
        tx.end_savepoint(undo).await.expect("ended");
    }
    tx.commit().await.expect("committed");
    let list = ListTasks { filter: Filter::default(), limit: 10, ..ListTasks::default() };
    let page = store.reader().tasks(list).await.expect("a list");
    let ids: Vec<u128> = page.tasks.iter().map(|task| task.id.uuid().as_u128()).collect();
    assert_eq!((ids, page.total), (vec![3, 1], 2));
}

async fn tasks_are_claimed_by_priority_then_age(store: &dyn Store) {
    let soon = Some(i64::MAX);
    let rows = [
        task(1),
        TaskRow { priority: 5, ..task(2) },
        TaskRow { due_at: soon, priority: 9, ..task(3) },
        TaskRow { priority: 5, ..task(4) },
        TaskRow { status: Status::Cancelled.into(), priority: 9, ..task(5) },
    ];
    insert(store, &rows).await;
    assert_eq!(claim(store, HOLDER, 2).await, [2, 4]);
    assert_eq!(claim(store, HOLDER, 9).await, [1]);
    assert_eq!(claim(store, HOLDER, 9).await, [] as [u128; 0]);
    let mut tx = begin(store).await;
    let row = tx.task(TaskId::from_u128(2)).await.expect("a read").expect("it").row;
    assert_eq!((row.status.name(), row.epoch, row.attempt, row.last_event), ("running", Epoch::of(1), 1, 1));
    for (now, any_due) in [(Timestamp(1), false), (Timestamp(i64::MAX), true)] {
        assert_eq!(tx.allowance(HOLDER, "", now).await.expect("a read").expect("an allowance").any_due, any_due);
    }
    assert_eq!(tx.promote_due(Timestamp(i64::MAX)).await.expect("promoted"), [TaskId::from_u128(3)]);
    tx.commit().await.expect("committed");
    assert_eq!(claim(store, HOLDER, 9).await, [3]);
    let polled = store
        .poll(&Poll { holder: HOLDER, credential: "c", heard: &[], labels: &Labels::default() })
        .await
        .expect("polled");
    assert_eq!((polled.leases.len(), polled.work), (4, false));
}

async fn a_suspect_is_counted(store: &dyn Store) {
    let suspect = |id| TaskRow { crashes: SUSPECT, ..task(id) };
    insert(store, &[task(1), suspect(2), task(3), suspect(4)]).await;
    let mut tx = begin(store).await;
    let mut crashes: Vec<i32> =
        tx.ready(9, false, &[String::new()]).await.expect("a read").iter().map(|task| task.crashes).collect();
    crashes.sort_unstable();
    assert_eq!(crashes, [0, 0, SUSPECT, SUSPECT]);
    drop(tx);
    assert_eq!(claim(store, HOLDER, 2).await, [1, 2]);
    let mut tx = begin(store).await;
    let now = tx.clock().wall;
    let allowance = tx.allowance(HOLDER, "c", now).await.expect("a read").expect("one");
    assert_eq!((allowance.running, allowance.own_crashes), (2, SUSPECT));
}

async fn shares_are_known_and_take_turns(store: &dyn Store) {
    let of = |id, share: &str, priority| TaskRow { share: share.to_owned(), priority, ..task(id) };
    insert(store, &[of(1, "a", 0), of(2, "a", 0), of(3, "a", 5), of(4, "b", 0), task(5), of(6, "unknown", 0)]).await;
    let mut tx = begin(store).await;
    for (name, weight) in [("a", 1), ("b", 1), ("b", 3), ("idle", 1)] {
        tx.put_share(name, weight).await.expect("written");
    }
    let shares = tx.shares().await.expect("a read");
    assert_eq!((shares.get("a"), shares.get("b")), (Some(&1), Some(&3)));
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    let first = |rows: &[ReadyRow]| {
        let mut ids: Vec<u128> = rows.iter().map(|task| task.id.uuid().as_u128()).collect();
        ids.sort_unstable();
        ids
    };
    let ready = tx.ready(2, false, &[String::new()]).await.expect("a read");
    assert_eq!(first(&ready), [1, 3, 4, 5, 6], "the first two of each share, known or not");
    let b = ready.iter().find(|task| task.share == "b").expect("one");
    assert_eq!(b.turns, Share { weight: 3, pass: 0 });
    let share = |weight, pass| Share { weight, pass };
    let turns = [("b".to_owned(), share(9, 70)), (String::new(), share(1, 50))];
    tx.put_turns(40, &turns).await.expect("written");
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    let now = tx.clock().wall;
    assert_eq!(tx.allowance(HOLDER, "c", now).await.expect("a read").expect("one").turn, 40);
    let ready = tx.ready(9, false, &[String::new()]).await.expect("a read");
    let turns = |name: &str| ready.iter().find(|task| task.share == name).expect("one").turns;
    assert_eq!((turns("b"), turns("")), (share(3, 70), share(1, 50)), "the weight is who put it in");
    // What is held is let go share by share; all of it, whether the share is known or not.
    tx.hold(TaskId::from_u128(6), "paused:queue:", Timestamp(i64::MAX)).await.expect("held");
    assert_eq!(tx.release_holds("paused:queue:", None).await.expect("let go"), [TaskId::from_u128(6)]);
    for id in 1..=5 {
        tx.hold(TaskId::from_u128(id), "rate:queue:", Timestamp(i64::MAX)).await.expect("held");
    }
    let mut released = tx.release_holds("rate:queue:", Some(1)).await.expect("let go");
    released.sort_unstable();
    assert_eq!(released, [3, 4, 5].map(TaskId::from_u128));
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    for number in 0..250 {
        tx.put_share(&format!("idle {number}"), 1).await.expect("written");
    }
    tx.release_holds("rate:queue:", None).await.expect("let go");
    tx.tidy_shares().await.expect("tidied");
    let mut names: Vec<String> =
        tx.shares().await.expect("a read").into_keys().filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b"]);
    tx.commit().await.expect("committed");
}

async fn each_task_is_claimed_by_one_of_many(open: &impl Open) {
    let stores = join_all((0..4).map(|_| open.open())).await;
    insert(&*stores[0], &(1..=40).map(task).collect::<Vec<_>>()).await;
    let claims = stores.iter().zip(1_u128..).map(|(store, holder)| async move {
        let mut mine = Vec::new();
        loop {
            let some = claim(&**store, WorkerInstanceId::from_u128(holder), 3).await;
            if some.is_empty() {
                return mine;
            }
            mine.extend(some);
            tokio::task::yield_now().await;
        }
    });
    let mut all: Vec<u128> = join_all(claims).await.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=40).collect::<Vec<_>>());
}

async fn another_epoch_changes_nothing(store: &dyn Store) {
    insert(store, &[task(1)]).await;
    let mut tx = begin(store).await;
    let changed = TaskRow { status: Status::Cancelled.into(), epoch: Epoch::of(5), completed_at: Some(7), ..task(1) };
    assert!(
        !tx.update_task(&changed, TaskBefore { status: Status::Pending, epoch: Epoch::of(4) })
            .await
            .expect("a statement")
    );
    assert!(
        tx.update_task(&changed, TaskBefore { status: Status::Pending, epoch: Epoch::FIRST })
            .await
            .expect("a statement")
    );
    let row = tx.task(changed.id).await.expect("a read").expect("it").row;
    assert_eq!((row.status.name(), row.epoch, row.completed_at), ("cancelled", Epoch::of(5), Some(7)));
}

async fn what_is_held_back_is_let_go_in_order(store: &dyn Store) {
    insert(store, &[task(1), TaskRow { priority: 1, ..task(2) }, task(3), task(4)]).await;
    let mut tx = begin(store).await;
    for id in [1, 2, 3] {
        tx.hold(TaskId::from_u128(id), "directory:/w", Timestamp(i64::MAX)).await.expect("held");
    }
    assert!(tx.task(TaskId::from_u128(4)).await.expect("a read").expect("it").any_held);
    let next = tx.ready(9, true, &[String::new()]).await.expect("a read");
    assert_eq!(next.iter().map(|task| task.id.uuid().as_u128()).collect::<Vec<_>>(), [4]);
    assert!(next[0].groups.contains(&Group::new(GroupKind::Tag, "a")));
    let two = tx.release_holds("directory:/w", Some(2)).await.expect("let go");
    assert_eq!(two.iter().max(), Some(&TaskId::from_u128(2)), "the first by priority, then age");
    assert_eq!(tx.release_holds("directory:/w", None).await.expect("let go"), [TaskId::from_u128(3)]);
    assert_eq!(tx.ready(9, false, &[String::new()]).await.expect("a read").len(), 4);
}

async fn events_and_commits_are_numbered_in_order(open: &impl Open) {
    let stores = [open.open().await, open.open().await];
    insert(&*stores[0], &[TaskRow { last_event: 20, ..task(1) }]).await;
    for seq in 1..=20 {
        let mut tx = begin(&*stores[usize::try_from(seq % 2).expect("0 or 1")]).await;
        let (task_id, kind, data) = (TaskId::from_u128(1), EventKind::Log.into(), r#"{"message":"x"}"#.to_owned());
        tx.insert_event(&EventRow { task_id, seq, at: 1, kind, data }).await.expect("inserted");
        tx.append_history(r#"[{"did":"pause","paused":true}]"#).await.expect("inserted");
        tx.commit().await.expect("committed");
    }
    let reader = stores[0].reader();
    let all = reader.latest_events(0, 100, u64::MAX).await.expect("events").events;
    assert_eq!(all.iter().map(|event| event.event.seq).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert!(all.is_sorted_by(|a, b| a.n < b.n));
    assert_eq!(reader.newest_event().await.expect("a number"), all[19].n);
    let commits: Vec<i64> = reader.history(0).await.expect("a read").iter().map(|entry| entry.commit).collect();
    assert!(commits.len() == 20 && commits.is_sorted_by(|a, b| a < b));
    let read = ReadEvents { task: TaskId::from_u128(1), after: 15, limit: 100, bytes: 1 << 20 };
    let few = stores[1].few_events(&read).await.expect("events").expect("few");
    assert_eq!((few.events.len(), few.more), (5, false));
    let page = reader.events(ReadEvents { after: 0, bytes: 20, ..read }).await.expect("events");
    assert_eq!((page.events.len(), page.more), (2, true), "as many as reach this size");
}

/// Writers side by side, and a follower that goes on from the newest number that it has seen.
async fn no_event_is_seen_before_a_smaller_one(open: &impl Open) {
    const EACH: i64 = 30;
    let stores = join_all((0..3).map(|_| open.open())).await;
    let write = |store: Arc<dyn Store>, id| async move {
        for seq in 1..=EACH {
            let mut tx = begin(&*store).await;
            let (task_id, kind) = (TaskId::from_u128(id), EventKind::Log.into());
            tx.insert_event(&EventRow { task_id, seq, at: 1, kind, data: "{}".to_owned() }).await.expect("inserted");
            // Others may begin, and end, before this one does.
            tokio::task::yield_now().await;
            tx.commit().await.expect("committed");
        }
    };
    let writers = stores.iter().zip(1_u128..).map(|(store, id)| write(Arc::clone(store), id));
    let reader = stores[0].reader();
    let follow = async {
        let (mut seen, mut last) = (Vec::new(), 0);
        while seen.len() < 3 * usize::try_from(EACH).expect("small") {
            let page = reader.latest_events(last, 7, u64::MAX).await.expect("events").events;
            last = page.last().map_or(last, |event| event.n);
            seen.extend(page.into_iter().map(|event| event.n));
            tokio::task::yield_now().await;
        }
        seen
    };
    let limited = tokio::time::timeout(std::time::Duration::from_secs(30), follow);
    let (seen, _) = futures_util::join!(limited, join_all(writers));
    assert!(seen.expect("every event is seen").is_sorted_by(|a, b| a < b));
}

/// One transaction is open, with what it wrote sent to the database, while another one tries to overtake it.
async fn what_a_transaction_reads_stays_true_until_its_commit(open: &impl Open) {
    /// Time that the other one has to overtake. One that has to wait says nothing of it.
    const CHANCE: std::time::Duration = std::time::Duration::from_millis(300);
    let (first, second) = (open.open().await, open.open().await);
    let event = |id| EventRow {
        task_id: TaskId::from_u128(id),
        seq: 1,
        at: 1,
        kind: EventKind::Log.into(),
        data: "{}".to_owned(),
    };
    let mut tx = begin(&*first).await;
    assert_eq!(tx.pending().await.expect("a count"), 0);
    tx.insert_task(&task(1), &[]).await.expect("inserted");
    tx.insert_event(&event(1)).await.expect("inserted");
    assert!(tx.task(TaskId::from_u128(1)).await.expect("a read").is_some());
    let overtake = async {
        let mut tx = begin(&*second).await;
        let pending = tx.pending().await.expect("a count");
        tx.insert_event(&event(2)).await.expect("inserted");
        tx.commit().await.expect("committed");
        pending
    };
    let mut overtake = std::pin::pin!(overtake);
    let overtaken = tokio::time::timeout(CHANCE, overtake.as_mut()).await.ok();
    let reader = first.reader();
    let seen = reader.latest_events(0, 9, u64::MAX).await.expect("events").events;
    tx.commit().await.expect("committed");
    let pending = match overtaken {
        Some(pending) => pending,
        None => overtake.await,
    };
    assert_eq!(pending, 1, "it was begun after the commit of the first");
    let last = seen.last().map_or(0, |event| event.n);
    let rest = reader.latest_events(last, 9, u64::MAX).await.expect("events").events;
    assert_eq!(seen.len() + rest.len(), 2, "a follower misses none");
}

async fn sessions_and_keys_are_known(store: &dyn Store) {
    let session = SessionId::from_u128(9);
    let resumes = Some(session.to_string());
    insert(store, &[task(1), TaskRow { resume_session_id: resumes.clone(), session_id: resumes, ..task(2) }]).await;
    let mut tx = begin(store).await;
    assert_eq!(tx.session_user(session).await.expect("a read"), Some(TaskId::from_u128(2)));
    assert_eq!(tx.session_user(TaskId::from_u128(1).own_session()).await.expect("a read"), Some(TaskId::from_u128(1)));
    assert_eq!(tx.session_user(SessionId::from_u128(7)).await.expect("a read"), None);
    let (key, fingerprint) = ("k".to_owned(), "f".to_owned());
    let row = IdempotencyKeyRow { key, fingerprint, task_id: TaskId::from_u128(1), created_at: 1 };
    tx.insert_idempotency_key(&row).await.expect("inserted");
    assert_eq!(tx.idempotency_key("k").await.expect("a read"), Some(row));
    assert_eq!(tx.idempotency_key("other").await.expect("a read"), None);
    assert_eq!(tx.pending().await.expect("a count"), 2);
}

async fn transcripts_are_stored_once(store: &dyn Store) {
    insert(store, &[task(1)]).await;
    let (session, other) = (SessionId::from_u128(9), SessionId::from_u128(8));
    let part = |session, epoch, part, entries| TranscriptRow {
        session,
        key: LeaseKey { task: TaskId::from_u128(1), epoch: Epoch::of(epoch) },
        part,
        entries,
    };
    let mut tx = begin(store).await;
    for row in [
        part(session, 1, 1, "a\n"),
        part(session, 1, 2, "b\n"),
        part(session, 1, 2, "again\n"),
        part(other, 1, 3, "x\n"),
    ] {
        tx.insert_transcript(&row).await.expect("inserted");
    }
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    tx.insert_transcript(&part(session, 2, 1, "c\n")).await.expect("inserted");
    tx.commit().await.expect("committed");
    assert_eq!(store.reader().transcript(session).await.expect("a read"), "a\nb\nc\n");
    assert_eq!(store.reader().transcript(SessionId::from_u128(7)).await.expect("a read"), "");
    let mut tx = begin(store).await;
    tx.remove_task(TaskId::from_u128(1)).await.expect("removed");
    tx.commit().await.expect("committed");
    assert_eq!(store.reader().transcript(session).await.expect("a read"), "", "it goes with its tasks");
}

async fn money_adds_up(store: &dyn Store) {
    // What is reserved is reserved while the task runs.
    insert(store, &[TaskRow { status: Status::Running.into(), holder: Some(HOLDER), ..task(1) }]).await;
    let (id, key) = (TaskId::from_u128(1), LeaseKey { task: TaskId::from_u128(1), epoch: Epoch::of(1) });
    let mut tx = begin(store).await;
    let attempt = AttemptRow {
        task_id: id,
        number: 1,
        epoch: Epoch::of(1),
        worker: None,
        started_at: 1,
        ended_at: None,
        outcome: None,
        error_class: None,
        error_code: None,
        error_message: None,
        session_id: None,
        cost_usd: None,
        key_name: "default".to_owned(),
        reserved_usd: Some(Usd::of(2.0)),
        input_tokens: 0,
        output_tokens: 0,
        cache_read_tokens: 0,
        cache_write_tokens: 0,
        cost_set_aside: false,
    };
    tx.insert_attempt(&attempt).await.expect("inserted");
    let tokens = Tokens { input: 1, output: 2, cache_read: 3, cache_write: 4 };
    let spent = Spent { cost_usd: Some(Usd::of(0.5)), tokens, ..Spent::NONE };
    assert!(tx.set_attempt_cost(key, spent, true).await.expect("a statement"));
    assert!(!tx.set_attempt_cost(key, spent, true).await.expect("a statement"), "it counts once");
    for _ in 0..2 {
        tx.add_spending("2026-01-31", id, Usd::of(0.5), tokens).await.expect("added");
    }
    tx.sum_cost(id).await.expect("added");
    assert_eq!(tx.used_budgets("2026-01-31").await.expect("a read"), [("default".to_owned(), Usd::of(3.0))]);
    tx.commit().await.expect("committed");
    let (from, to) = ("2026-01-01".to_owned(), "2026-12-31".to_owned());
    let usage = store.reader().usage(ReadUsage { from, to, key: None }).await.expect("usage");
    assert_eq!((usage.days.len(), usage.days[0].cost_usd, usage.days[0].tokens.output), (1, Usd::of(1.0), 4));
    let task = store.reader().task(id).await.expect("a read").expect("it");
    assert_eq!(task.attempted.cost_usd, Some(Usd::of(0.5)));
}

async fn old_tasks_go_with_all_they_had(store: &dyn Store) {
    let ended = |id| TaskRow { status: Status::Completed.into(), completed_at: Some(5), last_event: 1, ..task(id) };
    let later = TaskRow { continued_from: Some(TaskId::from_u128(2)), ..task(3) };
    insert(store, &[ended(1), ended(2), later]).await;
    let mut tx = begin(store).await;
    for id in [1, 3] {
        let (task_id, kind) = (TaskId::from_u128(id), EventKind::Log.into());
        tx.insert_event(&EventRow { task_id, seq: 1, at: 1, kind, data: "{}".to_owned() }).await.expect("inserted");
    }
    let old = tx.old_tasks(Timestamp(1_000), 9).await.expect("a read");
    assert_eq!(old, [TaskId::from_u128(1)], "another task goes on with the second");
    tx.remove_task(old[0]).await.expect("removed");
    assert!(tx.task(old[0]).await.expect("a read").is_none());
    tx.commit().await.expect("committed");
    assert_eq!(store.reader().latest_events(0, 9, 1 << 20).await.expect("events").events.len(), 1);
    assert!(store.has_ended(old[0]).await.expect("a read"), "what is not there has ended");
}

async fn commits_of_other_processes_are_seen(open: &impl Open) {
    let (mine, other) = (open.open().await, open.open().await);
    mine.changed_elsewhere().await.expect("a first look");
    insert(&*mine, &[task(1)]).await;
    assert!(!mine.changed_elsewhere().await.expect("a look"), "its own don't count");
    insert(&*other, &[task(2)]).await;
    assert!(mine.changed_elsewhere().await.expect("a look"));
    assert!(!mine.changed_elsewhere().await.expect("a look"), "once");
}

async fn a_commit_without_a_change_is_news_to_nobody(open: &impl Open) {
    let (mine, other) = (open.open().await, open.open().await);
    mine.changed_elsewhere().await.expect("a first look");
    let tx = other.begin().await.expect("a transaction");
    assert!(!tx.commit().await.expect("committed"));
    assert!(!mine.changed_elsewhere().await.expect("a look"));
    let mut tx = other.begin().await.expect("a transaction");
    tx.insert_task(&task(1), &[]).await.expect("inserted");
    assert!(tx.commit().await.expect("committed"));
    assert!(mine.changed_elsewhere().await.expect("a look"));
}

async fn what_is_closed_takes_nothing(store: &dyn Store) {
    insert(store, &[task(1)]).await;
    store.close().await;
    assert!(matches!(store.begin().await.err(), Some(StoreError::Closed)));
    assert!(matches!(store.reader().stats(None).await, Err(StoreError::Closed)));
}

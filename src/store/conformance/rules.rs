//! Rules of keys, the answers that they are learnt from, and files that running tasks change.

use super::super::Store;
use super::super::rows::{QuestionRow, RuleRow};
use super::{begin, claim, insert, task};
use domain::{RuleId, TaskId, Timestamp, WorkerInstanceId};

fn id(number: u128) -> TaskId {
    TaskId::from_u128(number)
}

pub async fn rules_are_a_keys_own(store: &dyn Store) {
    let row = |number: u128, key: &str, tag: Option<&str>| RuleRow {
        id: RuleId::from_u128(number),
        key_name: key.to_owned(),
        rule: "Bash(ls *)".to_owned(),
        tag: tag.map(str::to_owned),
        folder: None,
        created_at: Timestamp(5),
        created_by: "admin".to_owned(),
    };
    let (first, second, other) = (row(1, "a", Some("ci")), row(2, "a", None), row(3, "b", None));
    let mut tx = begin(store).await;
    for rule in [&second, &first, &other] {
        tx.insert_rule(rule).await.expect("inserted");
    }
    assert_eq!(tx.rules("a").await.expect("a read"), [first.clone(), second.clone()]);
    assert!(!tx.remove_rule(RuleId::from_u128(1), Some("b")).await.expect("of another key"));
    assert!(tx.remove_rule(RuleId::from_u128(1), Some("a")).await.expect("removed"));
    assert!(tx.remove_rule(RuleId::from_u128(3), None).await.expect("removed"));
    tx.commit().await.expect("committed");
    assert_eq!(store.reader().rules(None).await.expect("a read"), [second]);
}

pub async fn the_newest_answers_are_read(store: &dyn Store) {
    insert(store, &[task(1)]).await;
    let question = |name: &str, asked_at| QuestionRow {
        task_id: id(1),
        request_id: name.to_owned(),
        tool: "Bash".to_owned(),
        input: "{}".to_owned(),
        suggestions: "[]".to_owned(),
        asked_at,
        deadline: 9,
        answer: None,
        answered_at: None,
        closed: false,
    };
    let mut tx = begin(store).await;
    for (name, asked_at) in [("open", 1), ("first", 2), ("second", 3)] {
        tx.insert_question(&question(name, asked_at)).await.expect("inserted");
    }
    tx.answer_question(id(1), "second", "{\"n\":2}", Timestamp(7)).await.expect("answered");
    tx.answer_question(id(1), "first", "{\"n\":1}", Timestamp(8)).await.expect("answered");
    tx.commit().await.expect("committed");
    let reader = store.reader();
    let answers = reader.answered(Some("default".to_owned())).await.expect("a read");
    let read: Vec<_> = answers.iter().map(|one| (one.answer.as_str(), one.asked_at.0, one.answered_at.0)).collect();
    assert_eq!(read, [("{\"n\":1}", 2, 8), ("{\"n\":2}", 3, 7)]);
    assert_eq!(reader.answered(Some("other".to_owned())).await.expect("a read").len(), 0);
}

pub async fn those_that_change_a_file_are_found_while_they_run(store: &dyn Store) {
    insert(store, &[task(1), task(2), task(3), task(4)]).await;
    let holder = WorkerInstanceId::from_u128(7);
    assert_eq!(claim(store, holder, 3).await, [1, 2, 3]);
    let mut tx = begin(store).await;
    // Contenders of a race do the same on purpose.
    for (n, place) in [(1, 1), (3, 2)] {
        tx.insert_race_entry(id(1), id(n), place).await.expect("inserted");
    }
    let none: [TaskId; 0] = [];
    for n in [4, 1] {
        assert_eq!(tx.touch(id(n), "/r/a").await.expect("noted"), none, "one that does not run is in nobody's way");
    }
    assert_eq!(tx.touch(id(3), "/r/a").await.expect("noted"), none);
    assert_eq!(tx.touch(id(2), "/r/b").await.expect("noted"), none);
    assert_eq!(tx.touch(id(2), "/r/a").await.expect("noted"), [id(1), id(3)]);
    assert_eq!(tx.touch(id(2), "/r/a").await.expect("known"), none, "told once");
    tx.commit().await.expect("committed");
    let read = store.reader().task(id(1)).await.expect("a read").expect("a task");
    let conflicts: Vec<_> = read.conflicts.iter().map(|one| (one.task_id, one.path.as_str())).collect();
    assert_eq!(conflicts, [(id(2), "/r/a")]);
}

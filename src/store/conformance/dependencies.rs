//! Tasks that depend on others.

use super::{Store, TaskRow, begin, insert, task};
use crate::store::rows::DependencyRow;
use crate::store::views::{ReadDependencies, ReadGraph};
use domain::{Condition, DependencyState, Hold, OnFailure, Status, TaskId, Timestamp};

fn id(number: u128) -> TaskId {
    TaskId::from_u128(number)
}

fn row(dependent: u128, n: i64, on: u128, name: Option<&str>) -> DependencyRow {
    DependencyRow {
        task_id: id(dependent),
        n,
        on_task: id(on),
        name: name.map(str::to_owned),
        condition: Condition::Completed.into(),
        on_failure: OnFailure::Wait.into(),
        state: DependencyState::Open.into(),
    }
}

/// A task that waits for others.
fn held(number: u128) -> TaskRow {
    TaskRow { held: Some(Hold::DEPENDENCIES.to_owned()), due_at: Some(i64::MAX), dependencies: 1, ..task(number) }
}

/// Tasks 3 and 4 depend on 1, and 4 on 2 as well; 5 repeats 1.
async fn stored(store: &dyn Store, run_at: Option<Timestamp>) {
    let ended = TaskRow { status: Status::Failed.into(), result: Some("no".to_owned()), ..task(1) };
    insert(store, &[ended, task(2), held(3), held(4)]).await;
    let mut tx = begin(store).await;
    for row in [row(3, 0, 1, Some("one")), row(4, 0, 1, None), row(4, 1, 2, None)] {
        tx.insert_dependency(&row).await.expect("inserted");
    }
    tx.insert_wait(id(3), 1, run_at).await.expect("inserted");
    tx.insert_wait(id(4), 2, None).await.expect("inserted");
    tx.commit().await.expect("committed");
}

pub async fn dependents_are_told_and_let_go(store: &dyn Store) {
    stored(store, Some(Timestamp(i64::MAX - 1))).await;
    let mut tx = begin(store).await;
    let found = tx.task(id(2)).await.expect("a read").expect("a task");
    assert!(found.any_waits && !found.any_held, "those that wait for others are held back by nobody");
    let statuses = tx.statuses(&[id(1), id(9)]).await.expect("a read");
    assert_eq!(statuses, [(id(1), "default".to_owned(), Status::Failed.into())]);
    // Nobody depends on the fourth.
    for task in [1, 1, 4] {
        tx.add_unsettled(id(task)).await.expect("noted");
    }
    tx.commit().await.expect("committed");
    assert!(store.reader().holdings().await.expect("a read").any_unsettled);

    let mut tx = begin(store).await;
    assert_eq!(tx.next_unsettled().await.expect("a read"), Some((id(1), Status::Failed.into())));
    assert_eq!(tx.open_dependencies_on(id(1), 1).await.expect("a read").len(), 1);
    let mut open = tx.open_dependencies_on(id(1), 10).await.expect("a read");
    open.sort_by_key(|row| row.task_id);
    assert_eq!(open, [row(3, 0, 1, Some("one")), row(4, 0, 1, None)]);
    open.iter_mut().for_each(|row| row.state = DependencyState::Met.into());
    tx.put_dependency_states(&open).await.expect("written");
    assert!(tx.open_dependencies_on(id(1), 10).await.expect("a read").is_empty());
    assert_eq!(tx.count_met(&[id(3), id(4), id(9)]).await.expect("counted"), [id(3)]);
    assert_eq!(tx.end_waits(&[id(3)]).await.expect("let go"), [(id(3), Some(Timestamp(i64::MAX - 1)))]);
    assert!(!tx.put_wait(id(3), None).await.expect("written"), "it waits no more");
    assert!(tx.put_wait(id(4), None).await.expect("written"));
    // Named twice: both count.
    assert_eq!(tx.count_met(&[id(4)]).await.expect("counted"), [id(4)]);
    assert_eq!(tx.end_waits(&[id(4)]).await.expect("let go"), [(id(4), None)]);
    tx.remove_unsettled(id(1)).await.expect("removed");
    assert_eq!(tx.next_unsettled().await.expect("a read"), None);
    let found = tx.task(id(4)).await.expect("a read").expect("a task");
    assert_eq!((found.row.held, found.row.due_at), (None, None));
    tx.commit().await.expect("committed");
    assert!(!store.reader().holdings().await.expect("a read").any_unsettled);
}

pub async fn a_retry_stands_for_its_task(store: &dyn Store) {
    stored(store, None).await;
    let mut tx = begin(store).await;
    let mut failed = tx.open_dependencies_on(id(1), 10).await.expect("a read");
    failed.iter_mut().for_each(|row| row.state = DependencyState::Failed.into());
    tx.put_dependency_states(&failed).await.expect("written");
    // The fourth waits for nothing any more.
    tx.end_wait(id(4)).await.expect("forgotten");
    assert_eq!(tx.newest_retry(id(1)).await.expect("a read"), None);
    for retry in [5, 6] {
        let retry = TaskRow { retry_of: Some(id(1)), ..task(retry) };
        tx.insert_task(&retry, &[]).await.expect("inserted");
    }
    assert_eq!(tx.newest_retry(id(1)).await.expect("a read"), Some(id(6)));
    assert_eq!(tx.repoint(id(1), id(6)).await.expect("moved"), [id(3)]);
    assert_eq!(tx.open_dependencies_on(id(6), 10).await.expect("a read"), [row(3, 0, 6, Some("one"))]);
    assert_eq!(tx.dependencies_of(id(4)).await.expect("a read")[0].on_task, id(1));
    tx.commit().await.expect("committed");
}

pub async fn a_graph_is_read_from_any_of_its_tasks(store: &dyn Store) {
    stored(store, None).await;
    for task in 1..=4 {
        let graph = store.reader().graph(ReadGraph { task: id(task), limit: 9 }).await.expect("a graph");
        assert_eq!((graph.tasks.len(), graph.dependencies.len(), graph.more), (4, 3, false), "from {task}");
        assert_eq!(graph.tasks[0].id, id(task), "the nearest is itself");
    }
    let part = store.reader().graph(ReadGraph { task: id(2), limit: 2 }).await.expect("a graph");
    let ids: Vec<TaskId> = part.tasks.iter().map(|task| task.id).collect();
    assert_eq!((ids, part.dependencies.len(), part.more), (vec![id(2), id(4)], 1, true));
    let read = |results| ReadDependencies { task: id(3), limit: 9, results };
    let shown = store.reader().dependencies(read(false)).await.expect("a read");
    assert_eq!((shown[0].status, shown[0].result.as_deref()), (Some(Status::Failed), None));
    let shown = store.reader().dependencies(read(true)).await.expect("a read");
    assert_eq!((shown.len(), shown[0].result.as_deref()), (1, Some("no")));
    // What another one needs stays.
    let mut tx = begin(store).await;
    assert!(!tx.old_tasks(Timestamp(i64::MAX), 9).await.expect("a read").contains(&id(1)));
    for task in 1..=4 {
        tx.remove_task(id(task)).await.expect("removed");
    }
    assert!(tx.dependencies_of(id(3)).await.expect("a read").is_empty());
    assert!(!tx.put_wait(id(3), None).await.expect("a read"));
    tx.commit().await.expect("committed");
}

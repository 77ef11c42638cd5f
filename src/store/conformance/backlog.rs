//! What waits.

use super::super::rows::TaskRow;
use super::super::views::{Backlog, LaneBacklog, WaitCause};
use super::{insert, task};
use crate::store::Store;
use domain::Timestamp;

pub async fn what_waits_is_counted_by_its_cause(store: &dyn Store) {
    let far = Some(Timestamp(i64::MAX / 2).0);
    let held = |id: u128, held: &str| TaskRow { held: Some(held.to_owned()), due_at: far, ..task(id) };
    let asked = TaskRow { waiting_for: Some(r#"{"type":"permission"}"#.to_owned()), due_at: far, ..task(7) };
    let rows = [
        task(1),
        TaskRow { due_at: Some(1), ..task(2) },
        TaskRow { due_at: far, ..task(3) },
        held(4, "concurrency:tag:a:b"),
        held(5, "budget:"),
        held(6, "budget:ci"),
        asked,
        TaskRow { lane: "gpu".to_owned(), created_at: 7, ..task(8) },
        TaskRow { lane: "gpu".to_owned(), created_at: 5, ..task(9) },
    ];
    insert(store, &rows).await;
    let Backlog { lanes, waiting, questions, oldest_question, deliveries, bytes } =
        store.reader().backlog().await.expect("a read");
    use WaitCause::{Answer, Budget, Concurrency, Due, Time};
    let expected = [(Answer, 1), (Budget, 2), (Concurrency, 1), (Due, 4), (Time, 1)];
    assert_eq!(waiting, expected.map(|(cause, count)| (cause.into(), count)));
    assert_eq!((questions, oldest_question, deliveries), (0, None, 0));
    assert_eq!(lanes, [LaneBacklog { lane: "gpu".to_owned(), tasks: 2, oldest: Timestamp(5) }]);
    assert!(bytes > 0);
}

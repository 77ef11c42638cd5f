//! Tasks that were made from inside others.

use super::super::Store;
use super::super::rows::{FamilyRow, TaskBefore, TaskRow};
use super::{begin, insert, task};
use domain::{Epoch, Status, TaskId, Usd};

fn id(number: u128) -> TaskId {
    TaskId::from_u128(number)
}

fn with_budget(number: u128, dollars: f64) -> TaskRow {
    TaskRow { max_budget_usd: Some(Usd::of(dollars)), ..task(number) }
}

pub async fn a_family_shares_its_budget(store: &dyn Store) {
    insert(store, &[with_budget(1, 10.0), with_budget(2, 4.0), with_budget(3, 1.0), with_budget(4, 2.0)]).await;
    let mut tx = begin(store).await;
    for (child, parent, depth) in [(2, 1, 1), (3, 2, 2), (4, 1, 1)] {
        tx.insert_child(id(child), id(parent), depth).await.expect("inserted");
    }
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    let first = FamilyRow { depth: 0, parent: None, children: 2, given: Usd::of(6.0) };
    assert_eq!(tx.family(id(1)).await.expect("a read"), first);
    let middle = FamilyRow { depth: 1, parent: Some(id(1)), children: 1, given: Usd::of(1.0) };
    assert_eq!(tx.family(id(2)).await.expect("a read"), middle);
    assert_eq!(tx.family(id(9)).await.expect("a read"), FamilyRow::default());
    assert_eq!(tx.live_children(id(1)).await.expect("a read"), [id(2), id(4)]);
    // One that has ended has what it has cost, and what its own child may cost.
    let mut row = tx.task(id(2)).await.expect("a read").expect("a task").row;
    (row.status, row.cost_usd) = (Status::Failed.into(), Some(Usd::of(0.5)));
    assert!(
        tx.update_task(&row, TaskBefore { status: Status::Pending, epoch: Epoch::default() }).await.expect("written")
    );
    assert_eq!(tx.family(id(1)).await.expect("a read").given, Usd::of(3.5));
    assert_eq!(tx.live_children(id(1)).await.expect("a read"), [id(4)]);
    tx.remove_task(id(4)).await.expect("removed");
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    assert_eq!(tx.family(id(1)).await.expect("a read"), FamilyRow { children: 1, given: Usd::of(1.5), ..first });
}

//! Races.

use super::super::Store;
use super::{begin, insert, task};
use domain::{Status, TaskId};

fn id(number: u128) -> TaskId {
    TaskId::from_u128(number)
}

pub async fn a_race_is_found_by_each_of_its_tasks_and_decided_once(store: &dyn Store) {
    insert(store, &[task(1), task(2), task(3)]).await;
    let mut tx = begin(store).await;
    for (n, place) in [(1, 1), (2, 2), (3, 0), (9, 3)] {
        tx.insert_race_entry(id(1), id(n), place).await.expect("inserted");
    }
    tx.commit().await.expect("committed");
    let reader = store.reader();
    for n in [1, 2, 3, 9] {
        let race = reader.race(id(n)).await.expect("a read").expect("a race");
        let places: Vec<_> = race.entries.iter().map(|entry| (entry.task.task, entry.task.place)).collect();
        assert_eq!((race.id, places), (id(1), vec![(id(3), 0), (id(1), 1), (id(2), 2), (id(9), 3)]));
        assert_eq!(race.entries[1].task.status, Some(Status::Pending));
        assert_eq!(race.entries[3].task.status, None, "one that is not there");
        assert!(!race.is_decided() && race.winner().is_none());
    }
    assert!(reader.race(id(4)).await.expect("a read").is_none());
    let mut tx = begin(store).await;
    tx.decide_race(id(1), Some(id(2))).await.expect("decided");
    tx.decide_race(id(1), None).await.expect("not again");
    let race = tx.race(id(3)).await.expect("a read").expect("a race");
    assert_eq!(race.winner(), Some(id(2)));
    tx.remove_task(id(2)).await.expect("removed");
    tx.commit().await.expect("committed");
    let race = reader.race(id(1)).await.expect("a read").expect("a race");
    assert!(race.is_decided() && race.winner().is_none() && race.entries.len() == 3);
}

//! The index of words.

use super::super::word_index::{EventWords, FindEvents, IndexPlace, WordIndex};
use super::super::{Store, StoreError};
use super::Open;
use domain::{TaskId, terms_of, words_of};

fn event(n: i64, task: u128, key: &str, text: &str) -> EventWords {
    let place = IndexPlace { n, task: TaskId::from_u128(task), seq: n };
    EventWords { place, key: key.to_owned(), words: words_of(text).into_iter().collect() }
}

async fn found(index: &dyn WordIndex, question: &str, key: Option<&str>, before: i64) -> Result<Vec<i64>, StoreError> {
    let find = FindEvents { terms: terms_of(question), key: key.map(str::to_owned), before, limit: 2 };
    Ok(index.find(find).await?.iter().map(|place| place.n).collect())
}

pub async fn words_are_found_newest_first(store: &dyn Store) {
    let index = store.word_index().expect("an index");
    assert_eq!(index.place().await.expect("a read"), None);
    let events = vec![
        event(3, 1, "a", "The lease of worker-1 ran out in src/store/lease.rs"),
        event(4, 1, "a", "Ärger: leases, 'quoted' \"twice\" & | ! ( ) : * \\ 東京"),
        event(7, 2, "b", "lease"),
        event(9, 2, "b", ""),
    ];
    let to = event(12, 2, "b", "").place;
    index.add(0, to, events).await.expect("added");
    assert_eq!(index.place().await.expect("a read"), Some(to));
    for (question, key, before, numbers) in [
        ("lease", None, 99, vec![7, 4]),
        ("LEASE", None, 7, vec![4, 3]),
        ("lea", Some("a"), 99, vec![4, 3]),
        ("lease", Some("b"), 99, vec![7]),
        ("lease", Some("c"), 99, vec![]),
        ("store/lease.rs worker", None, 99, vec![3]),
        ("ärger", None, 99, vec![4]),
        ("'quoted' | \"twice\"", None, 99, vec![4]),
        ("東京", None, 99, vec![4]),
        ("lease nowhere", None, 99, vec![]),
    ] {
        assert_eq!(found(&*index, question, key, before).await.expect("found"), numbers, "{question}");
    }
    assert_eq!(index.tasks(TaskId::from_u128(1), 9).await.expect("a read"), [TaskId::from_u128(2)]);
    index.forget(vec![TaskId::from_u128(1)]).await.expect("forgotten");
    assert_eq!(found(&*index, "lease", None, 99).await.expect("found"), [7]);
    index.clear().await.expect("cleared");
    assert_eq!(index.place().await.expect("a read"), None);
    assert!(found(&*index, "lease", None, 99).await.expect("found").is_empty());
    index.add(0, to, vec![event(7, 2, "b", "lease")]).await.expect("made anew");
    assert_eq!(found(&*index, "lease", None, 99).await.expect("found"), [7]);
}

pub async fn words_are_taken_in_once(database: &impl Open) {
    let (one, other) = (database.open().await, database.open().await);
    let (one, other) = (one.word_index().expect("an index"), other.word_index().expect("an index"));
    let (first, second) = (event(5, 1, "a", "first"), event(6, 1, "a", "second"));
    one.add(0, first.place, vec![first.clone()]).await.expect("added");
    other.add(0, second.place, vec![first.clone(), second.clone()]).await.expect("left as it was");
    assert_eq!(other.place().await.expect("a read"), Some(first.place));
    assert!(found(&*one, "second", None, 99).await.expect("found").is_empty());
    other.add(first.place.n, second.place, vec![second]).await.expect("added");
    assert_eq!(found(&*one, "second", None, 99).await.expect("found"), [6]);
}

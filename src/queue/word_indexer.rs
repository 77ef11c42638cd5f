//! Fills the index of words behind the events, and lets it forget what is gone. It has time: what it does takes a fraction of a
//! processor, however much there is to read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::change_notifier::ChangeNotifier;
use crate::process::BackOff;
use crate::store::views::SequencedEvent;
use crate::store::word_index::{EventWords, IndexPlace};
use crate::store::{Leadership, Reader, StoreError, WordIndex};
use crate::telemetry::chain;
use domain::{TaskId, text_of, words_of};

/// Events of one read, and bytes of them.
const PAGE: u64 = 500;
const PAGE_BYTES: u64 = 1 << 20;
/// Part of the time in which it works.
const SHARE: u32 = 5;
/// Time in which new events gather.
const GATHER: Duration = Duration::from_millis(500);
/// Time between two looks of a process that does not lead.
const LEAD_EVERY: Duration = Duration::from_secs(5);
/// Time between two looks for tasks that are gone, and the number of those that are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const FORGOTTEN: u64 = 1_000;

/// See the [module](self).
pub struct WordIndexer {
    /// The events.
    pub reader: Reader,
    /// The index.
    pub index: Arc<dyn WordIndex>,
    /// One process does it.
    pub leadership: Leadership,
}

impl WordIndexer {
    /// Follows the events for as long as the process lives.
    pub async fn run(self, hub: ChangeNotifier) {
        let (mut commits, mut back_off, mut looked) = (hub.commits(), BackOff::default(), Instant::now());
        let mut forgotten = TaskId::from_u128(0);
        loop {
            if !self.leadership.is_ours() {
                tokio::time::sleep(LEAD_EVERY).await;
                continue;
            }
            commits.mark_unchanged();
            let began = Instant::now();
            match self.take_in().await {
                Ok(true) => {
                    back_off.reset();
                    tokio::time::sleep(began.elapsed() * (SHARE - 1)).await;
                    continue;
                }
                Ok(false) => back_off.reset(),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "Words can't be indexed");
                    back_off.pause().await;
                    continue;
                }
            }
            if looked.elapsed() >= FORGET_EVERY {
                looked = Instant::now();
                match self.forget(forgotten).await {
                    Ok(next) => forgotten = next,
                    Err(error) => tracing::warn!(error = chain(&error), "Words can't be forgotten"),
                }
            }
            // An error would say that the hub is gone, and with it this process.
            drop(tokio::time::timeout(FORGET_EVERY, commits.changed()).await);
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Takes in some events. Returns whether there may be more.
    async fn take_in(&self) -> Result<bool, StoreError> {
        let place = self.index.place().await?;
        if let Some(place) = place.filter(|place| place.n > 0)
            && !self.is_of_these(place).await?
        {
            tracing::info!("The index of words is of another database; it is made anew");
            self.index.clear().await?;
            return Ok(true);
        }
        let from = place.map_or(0, |place| place.n);
        let page = self.reader.latest_events(from, PAGE, PAGE_BYTES).await?;
        let Some(last) = page.events.last().map(place_of) else { return Ok(false) };
        let mut keys = HashMap::new();
        let mut events = Vec::new();
        for event in &page.events {
            let words: Vec<String> = words_of(&text_of(event.event.kind, &event.event.data)).into_iter().collect();
            if words.is_empty() {
                continue;
            }
            let task = event.event.task;
            if let Entry::Vacant(entry) = keys.entry(task) {
                entry.insert(self.reader.owner(task).await?);
            }
            // A task that is gone has no words any more.
            if let Some(Some(key)) = keys.get(&task) {
                events.push(EventWords { place: place_of(event), key: key.clone(), words });
            }
        }
        self.index.add(from, last, events).await?;
        Ok(page.more)
    }

    /// True if the event at this place is the one that was taken in: a database that was put in place of another has others.
    async fn is_of_these(&self, place: IndexPlace) -> Result<bool, StoreError> {
        if self.reader.newest_event().await? < place.n {
            return Ok(false);
        }
        let found = self.reader.latest_events(place.n - 1, 1, 1).await?.events;
        // It may have been removed with its task.
        Ok(found.first().map(place_of).is_none_or(|found| found.n != place.n || found == place))
    }

    /// Forgets some tasks that are gone. Returns where to go on.
    async fn forget(&self, after: TaskId) -> Result<TaskId, StoreError> {
        let tasks = self.index.tasks(after, FORGOTTEN).await?;
        let Some(last) = tasks.last().copied() else { return Ok(TaskId::from_u128(0)) };
        let mut gone = Vec::new();
        for task in tasks {
            if self.reader.owner(task).await?.is_none() {
                gone.push(task);
            }
        }
        if !gone.is_empty() {
            self.index.forget(gone).await?;
        }
        Ok(last)
    }
}

fn place_of(event: &SequencedEvent) -> IndexPlace {
    IndexPlace { n: event.n, task: event.event.task, seq: event.event.seq }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::{EventRow, TaskRow};
    use crate::store::word_index::FindEvents;
    use crate::store::{Store, open_file};
    use domain::{EventKind, Timestamp};

    /// A task whose model has said this.
    async fn said(store: &dyn Store, id: u128, text: &str) {
        let spec = serde_json::from_str(r#"{"instruction":"x"}"#).expect("a request");
        let id = TaskId::from_u128(id);
        let row = TaskRow::pending(id, &spec, "default".to_owned(), Timestamp(1)).expect("a row");
        let data = serde_json::json!({ "frame": { "message": { "content": [{ "type": "text", "text": text }] } } });
        let event = EventRow { task_id: id, seq: 1, at: 1, kind: EventKind::Assistant.into(), data: data.to_string() };
        let mut tx = store.begin().await.expect("begun");
        tx.insert_task(&row, &[]).await.expect("inserted");
        tx.insert_event(&event).await.expect("inserted");
        tx.commit().await.expect("committed");
    }

    async fn found(indexer: &WordIndexer, term: &str) -> Vec<u128> {
        while indexer.take_in().await.expect("taken in") {}
        let find = FindEvents { terms: vec![term.to_owned()], key: None, before: i64::MAX, limit: 9 };
        indexer.index.find(find).await.expect("found").iter().map(|place| place.task.uuid().as_u128()).collect()
    }

    fn indexer(store: &dyn Store, index: &Arc<dyn WordIndex>) -> WordIndexer {
        WordIndexer { reader: store.reader(), index: Arc::clone(index), leadership: Leadership::of_each() }
    }

    #[actix::test]
    async fn words_follow_the_events_and_go_with_their_tasks() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open_file(&folder.path().join("cc.db"), false).await.expect("a store");
        let index = store.word_index().expect("an index");
        let indexer = indexer(&*store, &index);
        said(&*store, 1, "the flamingo").await;
        said(&*store, 2, "a flamingo").await;
        assert_eq!(found(&indexer, "flamingo").await, [2, 1]);
        let mut tx = store.begin().await.expect("begun");
        tx.remove_task(TaskId::from_u128(2)).await.expect("removed");
        tx.commit().await.expect("committed");
        assert_eq!(indexer.forget(TaskId::from_u128(0)).await.expect("forgotten"), TaskId::from_u128(2));
        assert_eq!(found(&indexer, "flamingo").await, [1]);
        assert_eq!(indexer.forget(TaskId::from_u128(2)).await.expect("from the beginning"), TaskId::from_u128(0));
    }

    #[actix::test]
    async fn an_index_of_another_database_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open_file(&folder.path().join("cc.db"), false).await.expect("a store");
        let other = open_file(&folder.path().join("other.db"), false).await.expect("a store");
        let index = store.word_index().expect("an index");
        said(&*store, 1, "the flamingo").await;
        assert_eq!(found(&indexer(&*store, &index), "flamingo").await, [1]);
        // As many events, and more.
        said(&*other, 7, "a heron").await;
        assert_eq!(found(&indexer(&*other, &index), "heron").await, [7]);
        assert_eq!(found(&indexer(&*other, &index), "flamingo").await, [0; 0]);
        // An older copy.
        said(&*other, 8, "a stork").await;
        assert_eq!(found(&indexer(&*other, &index), "stork").await, [8]);
        assert_eq!(found(&indexer(&*store, &index), "flamingo").await, [1]);
    }
}

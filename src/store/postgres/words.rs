//! The index of words: a table beside those of the tasks, with an inverted index.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::readers::Readers;
use super::tx::only;
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::word_index::{EventWords, FindEvents, IndexPlace, WordIndex, word_of_key};
use domain::TaskId;

/// Moves the place, unless another process has, and only then takes in the events. Words have no blanks.
const ADD: &str = "WITH moved AS
        (UPDATE event_words_place SET n = $2, task_id = $3, seq = $4 WHERE n = $1 RETURNING n)
    INSERT INTO event_words (n, task_id, seq, words)
        SELECT new.n, new.task_id, new.seq, array_to_tsvector(string_to_array(new.words, ' '))
        FROM unnest($5::int8[], $6::uuid[], $7::int8[], $8::text[]) AS new(n, task_id, seq, words)
        WHERE EXISTS (SELECT 1 FROM moved)
    ON CONFLICT DO NOTHING";

const FIND: &str = "SELECT n, task_id, seq FROM event_words WHERE words @@ $1::text::tsquery AND n < $2
    ORDER BY n DESC LIMIT $3";

/// See the [module](self).
pub struct Words(pub Arc<Readers>);

fn place_of(row: &Row) -> Result<IndexPlace, Unread> {
    Ok(IndexPlace { n: get(row, 0)?, task: get(row, 1)?, seq: get(row, 2)? })
}

#[async_trait]
impl WordIndex for Words {
    async fn place(&self) -> Result<Option<IndexPlace>, StoreError> {
        let text = "SELECT n, task_id, seq FROM event_words_place WHERE n > 0";
        self.0.connection().await?.one(text, &[], place_of).await
    }

    async fn add(&self, from: i64, to: IndexPlace, events: Vec<EventWords>) -> Result<(), StoreError> {
        let each = |of: fn(&IndexPlace) -> i64| Value::numbers(events.iter().map(|event| of(&event.place)));
        let tasks = Value::ids(events.iter().map(|event| event.place.task.uuid()));
        let words = events.iter().map(|event| format!("{} {}", word_of_key(&event.key), event.words.join(" ")));
        let words = Value::texts(words.map(|words| words.trim_end().to_owned()));
        let values = [
            from.into(),
            to.n.into(),
            to.task.into(),
            to.seq.into(),
            each(|place| place.n),
            tasks,
            each(|place| place.seq),
            words,
        ];
        self.0.connection().await?.rows(ADD, &values).await.map(drop)
    }

    async fn find(&self, find: FindEvents) -> Result<Vec<IndexPlace>, StoreError> {
        // Letters and digits alone, see `terms_of`.
        let beginnings = find.terms.iter().map(|term| format!("'{term}':*"));
        let key = find.key.iter().map(|key| format!("'{}'", word_of_key(key)));
        let question = beginnings.chain(key).collect::<Vec<_>>().join(" & ");
        let limit = i64::try_from(find.limit).unwrap_or(i64::MAX);
        self.0.connection().await?.all(FIND, &params![question, find.before, limit], place_of).await
    }

    async fn tasks(&self, after: TaskId, limit: u64) -> Result<Vec<TaskId>, StoreError> {
        let text = "SELECT DISTINCT task_id FROM event_words WHERE task_id > $1 ORDER BY task_id LIMIT $2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.0.connection().await?.all(text, &params![after, limit], only).await
    }

    async fn forget(&self, tasks: Vec<TaskId>) -> Result<(), StoreError> {
        let tasks = Value::ids(tasks.iter().map(|task| task.uuid()));
        self.0.connection().await?.rows("DELETE FROM event_words WHERE task_id = ANY($1)", &[tasks]).await.map(drop)
    }

    async fn clear(&self) -> Result<(), StoreError> {
        let db = self.0.connection().await?;
        db.simple("BEGIN; TRUNCATE event_words; UPDATE event_words_place SET n = 0; COMMIT").await.map(drop)
    }
}

//! Search in the words of conversations: what people and models said, what tools were asked and answered.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{Event, TaskId, excerpt, terms_of, text_of};

use super::{Caller, Kind, Refusal};
use crate::queue::{Find, Queue, QueueError, ReadEventPage};
use crate::store::WordIndex;
use crate::store::word_index::FindEvents;
use wire::Task;

/// Longest question, in bytes.
const MAX_QUESTION: usize = 500;

/// See the [module](self).
#[derive(Clone)]
pub struct Search {
    queue: Queue,
    /// `None` where nothing is indexed.
    index: Option<Arc<dyn WordIndex>>,
}

/// An event that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Its task.
    pub task: Arc<Task>,
    /// The event.
    pub event: Event,
    /// The part of it around what was looked for.
    pub excerpt: String,
}

/// Events that were found.
#[derive(Clone, Debug)]
pub struct Hits {
    /// What was looked for.
    pub terms: Vec<String>,
    /// Newest first.
    pub hits: Vec<Hit>,
    /// Place before which there may be more.
    pub next: Option<i64>,
}

impl Search {
    /// Searches in this index.
    #[must_use]
    pub fn new(queue: Queue, index: Option<Arc<dyn WordIndex>>) -> Self {
        Self { queue, index }
    }

    /// Finds events that the caller sees, newest first, before this place.
    ///
    /// # Errors
    /// Nothing is indexed or asked for, or the store can't be read.
    pub async fn find(&self, caller: &Caller, question: &str, before: i64, limit: u64) -> Result<Hits, Refusal> {
        let Some(index) = &self.index else {
            let message = "conversations are not indexed here (SEARCH_INDEX=off); /api/tasks?q= looks in instructions and results";
            return Err(Refusal::new(Kind::Unknown, "SEARCH_OFF", message));
        };
        let terms = terms_of(question);
        if terms.is_empty() || question.len() > MAX_QUESTION {
            let rule = format!("must have a word of letters or digits, and at most {MAX_QUESTION} bytes");
            return Err(Refusal::invalid("q", rule));
        }
        let places = index
            .find(FindEvents { terms: terms.clone(), key: caller.own(), before, limit })
            .await
            .map_err(QueueError::from)?;
        let next = places.last().filter(|_| places.len() as u64 == limit).map(|last| last.n);
        let (mut tasks, mut hits) = (HashMap::new(), Vec::new());
        for place in places {
            // It may have been removed since.
            let Some(task) = self.task(place.task, &mut tasks).await? else { continue };
            let found = self.queue.ask(ReadEventPage::one(task.id, place.seq)).await?.events.into_iter().next();
            let Some(event) = found.filter(|event| event.seq == place.seq && caller.sees(&task.key)) else { continue };
            let excerpt = excerpt(&text_of(event.kind, &event.data), &terms);
            hits.push(Hit { task, event, excerpt });
        }
        Ok(Hits { terms, hits, next })
    }

    async fn task(
        &self,
        id: TaskId,
        known: &mut HashMap<TaskId, Option<Arc<Task>>>,
    ) -> Result<Option<Arc<Task>>, Refusal> {
        if let Some(task) = known.get(&id) {
            return Ok(task.clone());
        }
        let task = self.queue.ask(Find(id)).await?.map(Arc::new);
        known.insert(id, task.clone());
        Ok(task)
    }
}

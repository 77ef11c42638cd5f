//! When a task will start, how long it will take and what it will cost: as those took that were most like it.

use domain::{Status, Timestamp, Usd};
use wire::Task;
use wire::response::{Forecast, Range};

use super::{Caller, Service};
use crate::queue::{Filter, ListTasks, QueueError};

/// Tasks that are looked at.
const LAST: u64 = 200;
/// Fewest tasks that say something.
const FEWEST: usize = 3;

/// Slots of the workers that live.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capacity {
    /// Workers.
    pub workers: usize,
    /// Slots of all of them.
    pub slots: i64,
    /// Those of them that are free.
    pub free: i64,
}

/// What tasks have in common, the closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
pub(super) enum Likeness {
    #[strum(serialize = "folder, tag and model")]
    FolderTagModel,
    #[strum(serialize = "tag and model")]
    TagModel,
    #[strum(serialize = "folder and model")]
    FolderModel,
    #[strum(serialize = "model")]
    Model,
    #[strum(serialize = "any")]
    Any,
}

/// A task that has ended, or one that is held against those.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) folder: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) model: Option<String>,
    pub(super) took_ms: i64,
    pub(super) cost: Option<Usd>,
}

impl Sample {
    /// Returns `None` for a task that has not run to its end.
    pub(super) fn of(task: &Task) -> Option<Self> {
        let took_ms = task.completed_at?.since_ms(task.started_at?);
        Some(Self { took_ms, cost: task.attempted.cost_usd, ..Self::like(task) })
    }

    /// What a task has in common with others.
    pub(super) fn like(task: &Task) -> Self {
        Self {
            // A folder of its own is like no other.
            folder: task.spec.context.working_directory.clone(),
            tags: task.spec.tags.clone(),
            model: task.spec.options.sdk.model.clone(),
            ..Self::default()
        }
    }
}

/// Reads the newest tasks that have ended, of those that the caller sees, and says what a task like them may expect: `start` is the
/// time from which on it may start, with the number of tasks before it; `None` where nothing tells when.
///
/// # Errors
/// The queue's.
pub async fn forecast(
    service: &Service,
    caller: &Caller,
    task: &Task,
    start: Option<(Timestamp, i64)>,
    capacity: Capacity,
) -> Result<Option<Forecast>, QueueError> {
    let samples = samples(service, caller.own()).await?;
    Ok(foretell(&Sample::like(task), &samples, start, capacity))
}

/// Reads the newest tasks that have ended, of this key or of all.
///
/// # Errors
/// The queue's.
pub(super) async fn samples(service: &Service, key: Option<String>) -> Result<Vec<Sample>, QueueError> {
    let statuses = vec![Status::Completed, Status::Failed];
    let filter = Filter { statuses, key, ..Filter::default() };
    let last = service.queue.ask(ListTasks { filter, limit: LAST, ..ListTasks::default() }).await?;
    Ok(last.tasks.iter().filter_map(Sample::of).collect())
}

fn foretell(
    like: &Sample,
    samples: &[Sample],
    start: Option<(Timestamp, i64)>,
    capacity: Capacity,
) -> Option<Forecast> {
    let (likeness, alike) = alike(like, samples)?;
    let duration_ms = range(alike.iter().map(|sample| sample.took_ms))?;
    let cost_usd = range(alike.iter().filter_map(|sample| sample.cost));
    let any = range(samples.iter().map(|sample| sample.took_ms))?.median;
    let starts_at = start.filter(|_| capacity.slots > 0).map(|(from, ahead)| from.plus_ms(wait(ahead, any, capacity)));
    Some(Forecast {
        starts_at,
        duration_ms,
        cost_usd,
        based_on: alike.len() as i64,
        like: <&str>::from(likeness).to_owned(),
    })
}

/// Milliseconds until a slot is free for a task with this many before it, each of which takes so long.
fn wait(ahead: i64, each: i64, Capacity { slots, free, .. }: Capacity) -> i64 {
    if ahead < free {
        return 0;
    }
    // Those that run are half done, as far as one knows.
    let rounds = (ahead - free) as f64 / slots as f64 + 0.5;
    (rounds * each as f64) as i64
}

/// The tasks that are most like this one, and in what: as narrow as there are enough of them.
pub(super) fn alike<'a>(like: &Sample, samples: &'a [Sample]) -> Option<(Likeness, Vec<&'a Sample>)> {
    let folder = |one: &&Sample| like.folder.is_some() && one.folder == like.folder;
    let tag = |one: &&Sample| one.tags.iter().any(|tag| like.tags.contains(tag));
    let model = |one: &&Sample| one.model == like.model;
    let choices: [(Likeness, Vec<&Sample>); 5] = [
        (Likeness::FolderTagModel, samples.iter().filter(|one| folder(one) && tag(one) && model(one)).collect()),
        (Likeness::TagModel, samples.iter().filter(|one| tag(one) && model(one)).collect()),
        (Likeness::FolderModel, samples.iter().filter(|one| folder(one) && model(one)).collect()),
        (Likeness::Model, samples.iter().filter(model).collect()),
        (Likeness::Any, samples.iter().collect()),
    ];
    choices.into_iter().find(|(_, alike)| alike.len() >= FEWEST)
}

/// The median, and what nine of ten stay below.
pub(super) fn range<T: Copy + Ord>(values: impl Iterator<Item = T>) -> Option<Range<T>> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    let at = |tenths: usize| values.get((values.len() * tenths / 10).min(values.len().saturating_sub(1))).copied();
    Some(Range { median: at(5)?, most: at(9)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(folder: &str, tag: &str, took_ms: i64) -> Sample {
        Sample {
            folder: Some(folder.to_owned()),
            tags: vec![tag.to_owned()],
            model: None,
            took_ms,
            cost: Some(Usd::of(took_ms as f64 / 1e6)),
        }
    }

    #[test]
    fn a_task_is_held_against_those_that_are_most_like_it() {
        let mut samples: Vec<Sample> = (1..=10).map(|n| sample("/a", "x", n * 1_000)).collect();
        samples.extend((1..=5).map(|n| sample("/b", "y", n * 60_000)));
        let capacity = Capacity { workers: 1, slots: 2, free: 0 };
        let now = Timestamp(1_000_000);
        let told = |like: &Sample, ahead| foretell(like, &samples, Some((now, ahead)), capacity).expect("enough");
        let found = told(&sample("/a", "x", 0), 0);
        assert_eq!((found.based_on, &*found.like), (10, "folder, tag and model"));
        assert_eq!((found.duration_ms.median, found.duration_ms.most), (6_000, 10_000));
        assert_eq!(found.cost_usd.expect("costs").median, Usd::of(0.006));
        // Half of the median of all, as nobody knows how far those are that run.
        assert_eq!(found.starts_at, Some(now.plus_ms(4_000)));
        assert_eq!(told(&sample("/c", "y", 0), 2).like, "tag and model");
        assert_eq!(told(&sample("/a", "z", 0), 2).like, "folder and model");
        let unlike = Sample { model: Some("opus".to_owned()), ..sample("/a", "x", 0) };
        assert_eq!((told(&unlike, 4).based_on, &*told(&unlike, 4).like), (15, "any"));
        assert_eq!(told(&unlike, 4).starts_at, Some(now.plus_ms(20_000)));
        let free = Capacity { free: 2, ..capacity };
        assert_eq!(foretell(&unlike, &samples, Some((now, 1)), free).expect("enough").starts_at, Some(now));
        assert_eq!(foretell(&unlike, &samples, None, free).expect("enough").starts_at, None);
        assert_eq!(foretell(&unlike, &samples[..2], Some((now, 1)), free), None, "two say nothing");
    }
}

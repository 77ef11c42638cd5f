//! The sign of the loop guard that no attempt sees by itself: a running task spends several times as much a minute as
//! tasks like it did.

use std::time::Duration;

use domain::{Status, Timestamp, Usd};
use wire::Task;

use super::Service;
use super::forecast::{Likeness, Sample, alike, range, samples};
use crate::queue::{Filter, ListTasks, MarkLooping, QueueError, ReadClock};
use crate::telemetry::chain;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// Running tasks that are looked at, the newest first.
const RUNNING: u64 = 1_000;
/// Milliseconds of a minute: no task is judged sooner, unless those like it have mostly ended by then.
const MINUTE: i64 = 60_000;
/// Money a minute that is a sign: this many times that of its kind.
const TIMES: i64 = 4;

/// Marks tasks that spend too fast, for as long as the process lives. Without a choice of the task's own the sign counts
/// unless `loop_guard`, the server's number of failures, is 0.
pub async fn watch_pace_forever(service: Service, loop_guard: u32) {
    loop {
        tokio::time::sleep(LOOK).await;
        if service.leadership.is_ours()
            && let Err(error) = look(&service, loop_guard).await
        {
            tracing::debug!(error = chain(&error), "what running tasks spend is not looked at");
        }
    }
}

async fn look(service: &Service, loop_guard: u32) -> Result<(), QueueError> {
    let filter = Filter { statuses: vec![Status::Running], ..Filter::default() };
    let running = service.queue.ask(ListTasks { filter, limit: RUNNING, ..ListTasks::default() }).await?.tasks;
    let is_watched = |task: &Task| {
        let after = task.spec.options.loop_guard.as_ref().map_or(loop_guard, |guard| guard.after(loop_guard));
        task.looping.is_none() && task.cost_so_far.is_some() && after > 0
    };
    let mut watched: Vec<Task> = running.into_iter().filter(is_watched).collect();
    // One read of what has ended for each key.
    watched.sort_by(|one, other| one.key.cmp(&other.key));
    for of_key in watched.chunk_by(|one, other| one.key == other.key) {
        let Some(first) = of_key.first() else { continue };
        let (now, ended) = (service.queue.ask(ReadClock).await?, samples(service, Some(first.key.clone())).await?);
        for task in of_key {
            if let Some(sign) = spent(task, now).and_then(|spent| sign(&spent, &ended)) {
                mark(service, task, sign).await?;
            }
        }
    }
    Ok(())
}

/// What a running task has in common with others, and what it has spent in which time.
fn spent(task: &Task, now: Timestamp) -> Option<Sample> {
    let cost = task.attempted.cost_usd.unwrap_or_default() + task.cost_so_far.unwrap_or_default();
    Some(Sample { took_ms: now.since_ms(task.started_at?), cost: Some(cost), ..Sample::like(task) })
}

async fn mark(service: &Service, task: &Task, sign: String) -> Result<(), QueueError> {
    let message = task.spec.options.loop_guard.as_ref().and_then(wire::LoopGuardOptions::to_say);
    let mark = MarkLooping { task: task.id, attempt: task.attempt, sign: sign.clone(), message };
    if service.queue.ask(mark).await? {
        tracing::warn!(taskId = %task.id, sign, "A task spends several times as much as tasks like it");
    }
    Ok(())
}

/// Returns the sign, in words, of a task that has spent at least as much as most of its kind do in all, and
/// [several times](TIMES) as fast. Tasks that have only their model in common are not of a kind.
fn sign(running: &Sample, ended: &[Sample]) -> Option<String> {
    let paid: Vec<Sample> = ended.iter().filter(|one| pace(one) > Some(Usd::ZERO)).cloned().collect();
    let (likeness, alike) = alike(running, &paid)?;
    let (took_ms, cost) = (range(alike.iter().map(|one| one.took_ms))?, range(alike.iter().map(|one| one.cost))?);
    let (usual, now) = (range(alike.iter().filter_map(|one| pace(one)))?.median, pace(running)?);
    let is_of_a_kind = likeness <= Likeness::FolderModel;
    let is_late = running.took_ms >= took_ms.median.min(MINUTE);
    let is_dear = running.cost >= cost.median && now.micros() >= usual.micros().saturating_mul(TIMES);
    (is_of_a_kind && is_late && is_dear).then(|| {
        let (times, like) = (now.dollars() / usual.dollars(), <&str>::from(likeness));
        format!("it costs {now} USD a minute, {times:.1} times as much as tasks of the same {like}")
    })
}

/// Money a minute.
fn pace(sample: &Sample) -> Option<Usd> {
    let a_minute = i128::from(sample.cost?.micros()) * i128::from(MINUTE) / i128::from(sample.took_ms.max(1));
    i64::try_from(a_minute).ok().map(Usd::of_micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(folder: &str, took_s: i64, usd: f64) -> Sample {
        Sample {
            folder: Some(folder.to_owned()),
            took_ms: took_s * 1_000,
            cost: Some(Usd::of(usd)),
            ..Sample::default()
        }
    }

    /// Ten cents a minute, five minutes each.
    fn kind() -> Vec<Sample> {
        vec![sample("/a", 300, 0.5); 4]
    }

    #[test]
    fn a_task_that_spends_four_times_as_fast_as_its_kind_is_marked() {
        let words = "it costs 0.5 USD a minute, 5.0 times as much as tasks of the same folder and model";
        assert_eq!(sign(&sample("/a", 120, 1.0), &kind()).as_deref(), Some(words));
        assert!(sign(&sample("/a", 120, 0.8), &kind()).is_some(), "exactly four times");
        assert_eq!(sign(&sample("/a", 120, 0.79), &kind()), None, "less");
        assert_eq!(sign(&sample("/a", 59, 5.0), &kind()), None, "too early to say");
        assert_eq!(sign(&sample("/a", 60, 0.49), &kind()), None, "most cost more in all");
        assert_eq!(sign(&sample("/b", 120, 5.0), &kind()), None, "of another kind");
        assert_eq!(sign(&sample("/a", 120, 5.0), &kind()[..2]), None, "two say nothing");
    }

    #[test]
    fn what_cost_nothing_says_nothing_about_money() {
        let free = vec![sample("/a", 300, 0.0); 10];
        assert_eq!(sign(&sample("/a", 120, 1.0), &free), None);
        let unknown = vec![Sample { cost: None, ..sample("/a", 300, 0.0) }; 10];
        assert_eq!(sign(&sample("/a", 120, 1.0), &unknown), None);
        let mixed = [free, kind()].concat();
        assert!(sign(&sample("/a", 120, 1.0), &mixed).is_some());
    }

    #[test]
    fn a_kind_that_is_short_is_judged_soon() {
        let short = vec![sample("/a", 3, 0.01); 3];
        assert!(sign(&sample("/a", 3, 0.04), &short).is_some());
        assert_eq!(sign(&sample("/a", 2, 0.04), &short), None);
    }

    proptest! {
        #[test]
        fn nothing_that_a_row_may_say_ends_it(
            took in any::<i64>(), usd in any::<f64>(), others in prop::collection::vec((any::<i64>(), any::<f64>()), 0..9),
        ) {
            let of = |took_ms, usd| Sample { took_ms, cost: Some(Usd::of(usd)), ..sample("/a", 0, 0.0) };
            let ended: Vec<Sample> = others.into_iter().map(|(took, usd)| of(took, usd)).collect();
            sign(&of(took, usd), &ended);
        }
    }
}

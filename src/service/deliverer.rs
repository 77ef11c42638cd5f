//! Tells webhooks: takes what is due, sends it, and writes down what became of it. Any number of processes may do
//! so beside each other; what one of them took and never told of is due again after a time.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::sync::Semaphore;

use super::answer_code::CodedAnswer;
use super::notice::Notice;
use super::outbound::{Outbound, Outgoing};
use super::{KeyRing, Service, Watchers};
use crate::process::{BackOff, chance, wall_now};
use crate::queue::{
    ClaimDeliveries, Dispatch, Find, LONGEST_REST, NextDelivery, Queue, QueueError, ReadQuestions, ReportDelivery, Sent,
};
use crate::telemetry::{self, Duty};
use domain::{Behavior, Question, RetryPolicy};
use wire::response::TaskView;
use wire::{HookEvent, KeyScope, Task};

/// Deliveries under way at a time.
const TOGETHER: usize = 32;
/// Maximum number of deliveries to one host at a time: one that accepts and never answers keeps no other waiting.
const PER_HOST: u32 = 4;
/// Longer than any attempt takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time between two looks where a commit may be missed, or where a delivery waits for a slot.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks: commits come by the hundred.
const PAUSE: Duration = Duration::from_millis(25);
/// Number of attempts after which a delivery has failed.
const MOST: i32 = 16;
/// Age of a question from which on it is told of whoever has a page open.
const QUIET: Duration = Duration::from_secs(300);
/// Time between two looks whether somebody still has a page open.
const QUIET_LOOK: Duration = Duration::from_secs(60);
/// The longest wait between two attempts, in milliseconds.
const MAX_DELAY: Duration = Duration::from_secs(3_600);

/// Delivers for as long as the process lives. The first wait after a failure is `initial_delay`.
pub async fn deliver_forever(service: Service, initial_delay: Duration, disable_after: Duration) {
    let Service { queue, hub, outbound, vitals, leadership, stands_in_after, keys, watchers, public_url, .. } = service;
    let policy = RetryPolicy { initial_delay, max_delay: MAX_DELAY, multiplier: 3.0 };
    let people = People { keys, watchers, public_url: public_url.map(Into::into) };
    let deliverer = Deliverer { queue, outbound, people, policy, disable_after, under_way: Arc::default() };
    let (mut rest, mut longest) = (hub.rest(), Duration::ZERO);
    let slots = Arc::new(Semaphore::new(TOGETHER));
    loop {
        rest.commit(LOOK, longest).await;
        tokio::time::sleep(PAUSE).await;
        rest.look();
        longest = LOOK;
        let mut back_off = BackOff::default();
        while let Some(overdue) = leadership.delay(stands_in_after) {
            let delivered = deliverer.deliver(&slots, overdue).await;
            vitals.note(Duty::Webhooks, &delivered);
            let error = match delivered {
                Ok(rests) => {
                    longest = rests;
                    break;
                }
                Err(error) => error,
            };
            tracing::warn!(error = crate::telemetry::chain(&error), "webhooks wait for the store");
            back_off.pause().await;
        }
        if !leadership.is_ours() {
            vitals.well(Duty::Webhooks);
        }
    }
}

#[derive(Clone)]
struct Deliverer {
    queue: Queue,
    outbound: Outbound,
    people: People,
    policy: RetryPolicy,
    /// Time after which a webhook of all tasks that has failed throughout is disabled.
    disable_after: Duration,
    /// Deliveries under way by host.
    under_way: Arc<Mutex<HashMap<String, u32>>>,
}

/// What messages to people need.
#[derive(Clone)]
struct People {
    keys: KeyRing,
    watchers: Watchers,
    /// Address of the dashboard, where it is known.
    public_url: Option<Arc<str>>,
}

/// A message, or why there is none.
enum Made {
    Body(String),
    Not { why: &'static str, again: Option<Duration> },
}

impl Deliverer {
    /// Delivers everything that is due now, as far as there are slots. Returns how long nothing is due, unless something is
    /// committed.
    async fn deliver(&self, slots: &Arc<Semaphore>, overdue: Duration) -> Result<Duration, QueueError> {
        while slots.available_permits() > 0 {
            let (now, next) = self.queue.ask(NextDelivery).await?;
            let Some(next) = next.map(|next| next.plus(overdue)) else { return Ok(LONGEST_REST) };
            if next > now {
                return Ok(Duration::from_millis(next.since_ms(now).unsigned_abs()));
            }
            let limit = u32::try_from(slots.available_permits()).unwrap_or(1);
            let busy = self.busy_hosts();
            let claim = ClaimDeliveries { limit, per_host: PER_HOST, busy, patience: PATIENCE, overdue };
            let claimed = self.queue.ask(claim).await?;
            if claimed.is_empty() {
                return Ok(LOOK);
            }
            for dispatch in claimed {
                let slot = slots.clone().try_acquire_owned();
                let deliverer = self.clone();
                *self.hosts().entry(dispatch.host.clone()).or_default() += 1;
                actix::spawn(async move {
                    let host = dispatch.host.clone();
                    if AssertUnwindSafe(deliverer.attempt(dispatch)).catch_unwind().await.is_err() {
                        tracing::error!(host, "A delivery panicked; it is due again after a while");
                    }
                    deliverer.left(&host);
                    drop(slot);
                });
            }
        }
        Ok(LOOK)
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy_hosts(&self) -> Vec<String> {
        self.hosts().iter().filter(|(_, count)| **count >= PER_HOST).map(|(host, _)| host.clone()).collect()
    }

    fn left(&self, host: &str) {
        let mut hosts = self.hosts();
        if let Some(count) = hosts.get_mut(host) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                hosts.remove(host);
            }
        }
    }

    async fn attempt(&self, dispatch: Dispatch) {
        let (body, status, sent) = match self.made(&dispatch).await {
            Ok(Made::Body(body)) => {
                let (status, sent) = self.send(&dispatch, &body).await;
                (Some(body), status, sent)
            }
            Ok(Made::Not { why, again }) => (None, None, Sent::Not { why: why.to_owned(), again }),
            // Due again after its time.
            Err(error) => {
                return tracing::warn!(error = crate::telemetry::chain(&error), "a delivery waits for the store");
            }
        };
        let Dispatch { id, attempt, .. } = dispatch;
        let attempted = ReportDelivery { id, attempt, body, status, sent, disable_after: self.disable_after };
        if let Err(error) = self.queue.ask(attempted).await {
            tracing::warn!(
                error = crate::telemetry::chain(&error),
                "what became of a delivery is not stored; it is sent again"
            );
        }
    }

    async fn send(&self, dispatch: &Dispatch, body: &str) -> (Option<u16>, Sent) {
        let (outbound, to_send, body) = (self.outbound.clone(), dispatch.clone(), body.to_owned());
        // Not among `process::blocking`: receivers that hang must not take the places of what waits for the disk.
        let answer = tokio::task::spawn_blocking(move || {
            let Dispatch { url, id, secret, format, .. } = &to_send;
            outbound.send(&Outgoing { url: &format.place(url).0, id, secret: secret.as_deref(), body: &body })
        });
        let (status, error) = match answer.await {
            Ok(Ok(status @ 200..300)) => (Some(status), None),
            Ok(Ok(status @ 300..400)) => (Some(status), Some(format!("answered {status}; redirects are not followed"))),
            Ok(Ok(status)) => (Some(status), Some(format!("answered {status}"))),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(failed) => (None, Some(failed.to_string())),
        };
        telemetry::meters().delivery(if error.is_none() { "delivered" } else { "failed" });
        let Some(error) = error else { return (status, Sent::Delivered) };
        let Dispatch { id, task, attempt, .. } = dispatch;
        tracing::info!(delivery = id, taskId = %task, attempt, error, "A webhook did not take its message");
        let delay = self.policy.delay(*attempt, chance());
        // Who is gone asks for nothing more (Standard Webhooks).
        let gone = status == Some(410);
        (status, Sent::Failed { error, again: (*attempt < MOST && !gone).then_some(delay), gone })
    }

    /// Returns the message: the same at each attempt, once the result of the first is stored.
    async fn made(&self, dispatch: &Dispatch) -> Result<Made, QueueError> {
        let is_for_people = dispatch.format.is_for_people();
        if let Some(body) = dispatch.body.clone().filter(|_| !is_for_people && !dispatch.quiet) {
            return Ok(Made::Body(body));
        }
        let task = self.queue.ask(Find(dispatch.task)).await?;
        let event = dispatch.event.known();
        let question = match (&task, event) {
            (Some(_), Some(HookEvent::Waiting)) if is_for_people || dispatch.quiet => {
                self.open_question(dispatch).await?
            }
            _ => None,
        };
        if let Some(task) = &task
            && let Some(rests) = self.rests(dispatch, task, question.as_ref())
        {
            return Ok(rests);
        }
        let (Some(task), Some(event), true) = (&task, event, is_for_people) else {
            return Ok(Made::Body(dispatch.body.clone().unwrap_or_else(|| standard(dispatch, task.as_ref()))));
        };
        if event == HookEvent::Waiting && question.is_none() && task.waiting_for.is_none() {
            return Ok(Made::Not { why: "it waits no more", again: None });
        }
        if let Some(body) = &dispatch.body {
            return Ok(Made::Body(body.clone()));
        }
        let notice = Notice::of(task, event, question.as_ref());
        let notice = self.people.with_links(notice, dispatch, task, question.as_ref()).await?;
        let body = notice.body(dispatch.format, dispatch.format.place(&dispatch.url).1);
        Ok(Made::Body(body.to_string()))
    }

    /// The newest question of the task that is open.
    async fn open_question(&self, dispatch: &Dispatch) -> Result<Option<Question>, QueueError> {
        let questions = self.queue.ask(ReadQuestions(dispatch.task)).await?.unwrap_or_default();
        Ok(questions.into_iter().rev().find(|question| question.answer.is_none()))
    }

    /// Decides whether it is not sent since somebody has a page open; a question is looked at again.
    fn rests(&self, dispatch: &Dispatch, task: &Task, question: Option<&Question>) -> Option<Made> {
        if !dispatch.quiet || !self.people.watchers.see(&task.key) {
            return None;
        }
        let again = match question {
            Some(question) => {
                let age = Duration::from_millis(wall_now().since_ms(question.asked_at).max(0).unsigned_abs());
                let left = QUIET.checked_sub(age).filter(|left| !left.is_zero())?;
                Some(left.min(QUIET_LOOK))
            }
            None => None,
        };
        Some(Made::Not { why: "somebody has a page open", again })
    }
}

impl People {
    /// The message with the page of its task and, where the receiver may decide, with an answer to its question.
    async fn with_links(
        &self,
        notice: Notice,
        dispatch: &Dispatch,
        task: &Task,
        question: Option<&Question>,
    ) -> Result<Notice, QueueError> {
        let Some(url) = &self.public_url else { return Ok(notice) };
        let page = Some(format!("{url}/tasks/{}", task.id));
        let may_decide = match self.keys.named(&task.key).await? {
            Ok(key) => dispatch.of_all || key.may(KeyScope::Decide),
            Err(_) => dispatch.of_all,
        };
        let question = question.filter(|question| may_decide && question.takes_a_decision());
        let answer = |question: &Question, behavior| {
            let request_id = question.request_id.clone();
            let by_operator = dispatch.of_all;
            let answer = CodedAnswer { task: task.id, request_id, behavior, by_operator, until: question.deadline };
            Some(format!("{url}/a/{}", self.keys.code_of(&answer)?))
        };
        let answers =
            question.and_then(|question| Some((answer(question, Behavior::Allow)?, answer(question, Behavior::Deny)?)));
        Ok(Notice { page, answers, ..notice })
    }
}

/// The message of a webhook for programs.
fn standard(dispatch: &Dispatch, task: Option<&Task>) -> String {
    let data = task.map(TaskView::of);
    let kind = format!("task.{}", dispatch.event);
    json!({ "type": kind, "timestamp": dispatch.created_at, "data": data }).to_string()
}

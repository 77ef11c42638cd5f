//! Watches the clock for schedules: submits what is due, once, whichever process is first.

use std::time::Duration;

use super::schedules::not_good;
use super::{Origin, Phase, Refusal, Service, admit, not_taken};
use crate::process::{BackOff, boot_now};
use crate::queue::{
    DueSchedules, Fire, Fired, Firing, LONGEST_REST, LastTask, NextFiring, QueueError, ReadSchedules, Replan, Schedule,
    Submit,
};
use crate::telemetry::{Duty, traces};
use domain::{Missed, Overlap, Timestamp, Timetable};

/// Time between two looks: another process may have stored a schedule.
const LOOK: Duration = Duration::from_secs(1);
/// A clock that loses more than this was set back, and not slowed.
const SET_BACK_MS: i64 = 5_000;
/// A firing that is later than this was missed.
const GRACE_MS: i64 = 60_000;

/// Fires schedules for as long as the process lives.
pub async fn fire_forever(service: Service) {
    // As if it had been set back before the start.
    let (mut clock, mut back_off, mut rest) = (None, BackOff::default(), service.hub.rest());
    loop {
        rest.look();
        let Some(delay) = service.leadership.delay(service.stands_in_after) else {
            clock = None;
            service.vitals.well(Duty::Schedules);
            tokio::time::sleep(LOOK).await;
            continue;
        };
        let fired = look(&service, &mut clock, delay).await;
        service.vitals.note(Duty::Schedules, &fired);
        match fired {
            Ok(wait) => {
                back_off.reset();
                rest.pause(wait.min(LOOK), wait).await;
            }
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "schedules wait for the store");
                back_off.pause().await;
            }
        }
    }
}

/// Looks at the clock once. Returns how long there is nothing to do, unless something is committed.
async fn look(service: &Service, clock: &mut Option<i64>, delay: Duration) -> Result<Duration, QueueError> {
    let (now, next) = service.queue.ask(NextFiring).await?;
    if is_set_back(clock, now)
        && let Err(error) = replan(service, now).await
    {
        *clock = None;
        tracing::warn!(error = crate::telemetry::chain(&error), "Schedules can't be fired at again");
    }
    fire_due(service, now, next, delay).await
}

/// True if the clock of the store was set back since the last call: it has lost time against the clock that never jumps.
fn is_set_back(clock: &mut Option<i64>, now: Timestamp) -> bool {
    let ahead = now.0.saturating_sub(boot_now().ms);
    clock.replace(ahead).is_none_or(|before| ahead < before - SET_BACK_MS)
}

/// Moves every firing to come that lies behind the next one of its timetable.
async fn replan(service: &Service, now: Timestamp) -> Result<(), QueueError> {
    for schedule in service.queue.ask(ReadSchedules(None)).await?.into_iter().filter(|schedule| schedule.enabled) {
        let next = Timetable::read(&schedule.cron, &schedule.time_zone).ok().and_then(|table| table.next(now));
        if let (Some(was), Some(next)) = (schedule.next_at, next)
            && was > next
            && service.queue.ask(Replan { schedule: schedule.id, was, next }).await?
        {
            tracing::info!(scheduleId = %schedule.id, %was, %next, "The clock was set back: a schedule fires sooner");
        }
    }
    Ok(())
}

/// Fires what is due. Returns how long there is nothing to do, unless something is committed.
async fn fire_due(
    service: &Service,
    now: Timestamp,
    next: Option<Timestamp>,
    delay: Duration,
) -> Result<Duration, QueueError> {
    let Some(next) = next else { return Ok(LONGEST_REST) };
    let wait = Duration::from_millis(next.plus(delay).since_ms(now).unsigned_abs());
    if !wait.is_zero() || service.phase() != Phase::Serving {
        let longest = if service.phase() == Phase::Serving { LONGEST_REST } else { LOOK };
        return Ok(wait.clamp(Duration::from_millis(1), longest));
    }
    let mut refused = false;
    let is_ours = |schedule: &Schedule| schedule.next_at.is_some_and(|due| due.plus(delay) <= now);
    for schedule in service.queue.ask(DueSchedules).await?.into_iter().filter(is_ours) {
        // Each by itself: what one of them meets is none of the others' business.
        match fire(service, &schedule, now).await {
            Ok(fired) => refused |= !fired,
            Err(error) => {
                tracing::warn!(scheduleId = %schedule.id, error = crate::telemetry::chain(&error), "A schedule waits");
                refused = true;
            }
        }
    }
    Ok(if refused { LOOK } else { Duration::ZERO })
}

/// Fires a schedule. Returns false where the queue has not taken its task: then it is tried again.
async fn fire(service: &Service, schedule: &Schedule, now: Timestamp) -> Result<bool, QueueError> {
    let Some(due) = schedule.next_at else { return Ok(true) };
    let mut fire = Fire { schedule: schedule.id, due: Some(due), next: None, firing: Firing::Missed, detail: None };
    let table = match Timetable::read(&schedule.cron, &schedule.time_zone) {
        Ok(table) => table,
        Err(invalid) => {
            // It was right when it was stored: a zone that another version of the program knew.
            let fire = Fire { firing: Firing::Refused, detail: Some(invalid.to_string()), ..fire };
            return service.queue.ask(fire).await.map(|_| true);
        }
    };
    if let Some(why) = &schedule.unreadable {
        // It may be mended, or start the version that wrote it, before its next time.
        let detail = Some(format!("the stored task can't be read: {why}"));
        let fire = Fire { firing: Firing::Refused, next: table.next(now), detail, ..fire };
        return service.queue.ask(fire).await.map(|_| true);
    }
    let is_late = now.since_ms(due) > GRACE_MS;
    // Each firing comes by itself, but for those that were missed.
    fire.next = table.next(if is_late { now } else { due });
    fire.detail = is_late.then(|| format!("{} firings had passed", table.count(due, now)));
    let mut send = None;
    if !is_late || schedule.missed == Missed::Once {
        match plan(service, schedule).await? {
            Planned::Go(sent) => (fire.firing, send) = (Firing::Submit(Box::new(sent.0)), Some(sent.1)),
            Planned::Not(firing, why) => (fire.firing, fire.detail) = (firing, Some(why)),
            Planned::Later(why) => {
                tracing::warn!(scheduleId = %schedule.id, why, "A schedule waits");
                return Ok(false);
            }
        }
    }
    match service.queue.ask(fire.clone()).await? {
        Fired::Submitted(task) => {
            if let Some(span) = &mut send {
                span.stored(task.id);
            }
            tracing::info!(scheduleId = %schedule.id, taskId = %task.id, "A schedule fired");
        }
        Fired::Noted => tracing::info!(scheduleId = %schedule.id, "A schedule fired without a task; see its runs"),
        Fired::Stale => {}
        Fired::NotTaken(refused) => {
            let error = not_taken(service, &refused);
            if let Some(span) = &mut send {
                span.fail(error.code);
            }
            return note_refusal(service, fire, &error).await;
        }
    }
    Ok(true)
}

/// Plan of a firing.
pub enum Planned {
    /// Store this; its span has begun.
    Go(Box<(Submit, traces::Span)>),
    /// Store nothing, for this reason.
    Not(Firing, String),
    /// Try again later, for this reason.
    Later(String),
}

/// Makes the task of a firing, as if its client submitted it now.
///
/// # Errors
/// The queue's.
pub async fn plan(service: &Service, schedule: &Schedule) -> Result<Planned, QueueError> {
    if let Some(why) = &schedule.unreadable {
        return Ok(Planned::Not(Firing::Refused, format!("the stored task can't be read: {why}")));
    }
    let last = LastTask { schedule: schedule.id, completed: false };
    let running = service.queue.ask(last).await?.filter(|(_, status)| !status.is_terminal());
    if let Some((task, _)) = running.filter(|_| schedule.overlap == Overlap::Skip || schedule.continue_session) {
        return Ok(Planned::Not(Firing::Skipped, format!("task {task} of the firing before has not ended")));
    }
    let caller = match service.keys.named(&schedule.key).await? {
        Ok(caller) => caller,
        Err(why) => return Ok(Planned::Not(Firing::Refused, not_good(&schedule.key, why).to_string())),
    };
    let mut spec = schedule.spec.clone();
    if schedule.continue_session {
        let last = LastTask { completed: true, ..last };
        spec.options.sdk.continue_from_task_id = service.queue.ask(last).await?.map(|(task, _)| task);
    }
    let mut span = traces::Span::of_send(1);
    let admitted = span.within(admit(service, spec, &caller, Origin::default())).await;
    Ok(match admitted.inspect_err(|error| span.fail(error.code)) {
        Ok(submit) => Planned::Go(Box::new((submit, span))),
        Err(error) if error.is_passing() => Planned::Later(error.to_string()),
        Err(error) => Planned::Not(Firing::Refused, error.to_string()),
    })
}

/// A session in use is for the history; a full queue is waited for.
async fn note_refusal(service: &Service, fire: Fire, error: &Refusal) -> Result<bool, QueueError> {
    if error.is_passing() {
        tracing::warn!(scheduleId = %fire.schedule, %error, "A schedule waits");
        return Ok(false);
    }
    let fire = Fire { firing: Firing::Refused, detail: Some(error.to_string()), ..fire };
    service.queue.ask(fire).await.map(|_| true)
}

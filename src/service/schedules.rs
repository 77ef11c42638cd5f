//! Checks before a schedule is stored.

use domain::{MAX_NAME, Timetable};

use super::{Kind, NotGood, Origin, Refusal, Service, admit, key_limit};
use crate::process::wall_now;
use crate::queue::{PutSchedule, Schedule, SchedulePut};

/// Longest cron expression, in bytes.
const MAX_CRON: usize = 256;
/// Longest name of a time zone, in bytes.
const MAX_ZONE: usize = 64;

/// Checks a schedule and its task, and stores it with its next firing, in the name of its key. Returns false where one
/// that is to be changed is not there any more.
///
/// # Errors
/// The field that breaks a rule, or why its task would not be admitted now.
pub async fn put_schedule(service: &Service, schedule: Schedule, new: bool) -> Result<bool, Refusal> {
    if let Some(why) = &schedule.unreadable {
        let rule = format!("can't be read by this version of the program ({why}); send the whole task");
        return Err(Refusal::invalid("task", rule));
    }
    if schedule.name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME) {
        return Err(Refusal::invalid("name", format!("must have 1 to {MAX_NAME} bytes")));
    }
    for (field, text, most) in [("cron", &schedule.cron, MAX_CRON), ("timeZone", &schedule.time_zone, MAX_ZONE)] {
        if text.len() > most {
            return Err(Refusal::invalid(field, format!("must have at most {most} bytes, got {}", text.len())));
        }
    }
    let next_at = Timetable::read(&schedule.cron, &schedule.time_zone)?.next(wall_now());
    if next_at.is_none() {
        return Err(Refusal::invalid("cron", "names no time that comes"));
    }
    let sdk = &schedule.spec.options.sdk;
    if schedule.spec.run_at.is_some() || schedule.spec.options.run_async == Some(false) {
        return Err(Refusal::invalid("task", "can't have runAt, or options.async false: the clock submits it"));
    }
    if !schedule.spec.depends_on.is_empty() {
        return Err(Refusal::invalid("task", "can't have dependsOn: each firing would wait for the same tasks"));
    }
    if schedule.spec.parent.is_some() {
        return Err(Refusal::invalid("task", "can't have a parent: the clock submits it, and no task from inside"));
    }
    if schedule.spec.race.is_some() {
        return Err(Refusal::invalid("task", "can't be a race: a schedule submits one task at a time"));
    }
    if schedule.continue_session && (sdk.continue_from_task_id.is_some() || sdk.resume_session.is_some()) {
        let rule = "names a session already; leave it out where each task goes on with the one before";
        return Err(Refusal::invalid("continueSession", rule));
    }
    let caller = service.keys.named(&schedule.key).await?.map_err(|why| not_good(&schedule.key, why))?;
    let checked = admit(service, schedule.spec.clone(), &caller, Origin::default()).await;
    checked.map_err(|refused| refused.below("task"))?;
    let most = caller.limits().max_schedules;
    let put = PutSchedule { schedule: Box::new(Schedule { next_at, ..schedule }), new, most };
    match service.queue.ask(put).await? {
        SchedulePut::Stored => Ok(true),
        SchedulePut::Gone => Ok(false),
        SchedulePut::Full => Err(key_limit("maxSchedules", most.unwrap_or_default().into())),
    }
}

/// Refusal where the key of a schedule is not good any more.
pub fn not_good(key: &str, why: NotGood) -> Refusal {
    let why: &str = why.into();
    Refusal::new(
        Kind::Conflict,
        "KEY_NOT_GOOD",
        format!("the schedule's key {key} is {why}; remove the schedule, or make a new one"),
    )
}

//! Tasks that are submitted by the clock: when the next one is due. Pure.
//!
//! Cron expressions as [croner](https://docs.rs/croner) reads them, in a zone of the IANA database. Where a clock is
//! set forward, a fixed time that doesn't exist comes at the first moment after the gap; where it is set back, it fires
//! once, the first time. One with `*` or a step in its minutes or hours follows the clock: nothing in the gap, and both times
//! where an hour comes twice.

use crate::Invalid;
use std::cmp::Ordering;
use std::str::FromStr as _;

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds};
use croner::{CivilDate, CivilDateTime, CivilTime, Cron, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ZonedDateTime};
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Number up to which missed firings are counted.
const COUNTED: usize = 1_000;

/// Policy for firings whose time has passed while no server ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Missed {
    /// Submits nothing; the history says so.
    Skip,
    /// One task for all of them.
    #[default]
    Once,
}

/// Policy for a firing while the previous task has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Overlap {
    /// Submits another task beside it.
    #[default]
    Allow,
    /// Submits nothing; the history says so.
    Skip,
}

/// Result of a firing.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum RunOutcome {
    /// A task was submitted.
    Submitted,
    /// Nothing was submitted: the time of the firing had passed.
    Missed,
    /// Nothing was submitted: the previous task has not ended.
    Skipped,
    /// Nothing was submitted: the task can't be stored as it is.
    Refused,
}

/// Cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct Timetable {
    cron: Cron,
    zone: TimeZone,
}

impl Timetable {
    /// Reads a cron expression (five fields, or six with seconds in front; `@daily` and the like) and the name of a zone.
    ///
    /// # Errors
    /// `cron` or `timeZone` breaks a rule.
    pub fn read(cron: &str, zone: &str) -> Result<Self, Invalid> {
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(cron).map_err(|error| {
            Invalid::new("cron", format!("must be a cron expression such as \"0 9 * * 1-5\", got \"{cron}\" ({error})"))
        })?;
        let zone = TimeZone::get(zone).map_err(|_| {
            let rule = format!("must be a zone of the IANA database such as Europe/Berlin, got \"{zone}\"");
            Invalid::new("timeZone", rule)
        })?;
        Ok(Self { cron, zone })
    }

    /// The first firing after this moment; `None` where there is none any more.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_millisecond(after.0).ok()?.to_zoned_datetime(self.zone.clone());
        let next = self.cron.find_next_occurrence(&Local(after), false).ok()?;
        Some(Timestamp(next.0.timestamp().as_millisecond()))
    }

    /// Number of firings from this one to `now`, itself included.
    #[must_use]
    pub fn count(&self, first: Timestamp, now: Timestamp) -> usize {
        let later = std::iter::successors(Some(first), |at| self.next(*at));
        later.take_while(|at| *at <= now).take(COUNTED).count()
    }
}

/// A moment on the clock of a zone, as croner walks it.
#[derive(Clone)]
struct Local(ZonedDateTime);

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        let at = self.0.datetime();
        let part = |part: i8| u32::from(part.unsigned_abs());
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(at.year().into(), part(at.month()), part(at.day())),
            CivilTime::from_parts_unchecked(part(at.hour()), part(at.minute()), part(at.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(u32::from(self.0.weekday().to_sunday_zero_offset().unsigned_abs()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let wrong = |_| CronError::InvalidTime;
        // croner says no more than it reads itself: year to second.
        let text = format!("{:04}-{:02}-{:02}T{}", civil.year(), civil.month(), civil.day(), civil.time());
        let at = DateTime::from_str(&text).map_err(wrong)?;
        let found = self.0.time_zone().to_ambiguous_zoned_datetime(at);
        Ok(match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(Self(found.unambiguous().map_err(wrong)?)),
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
            AmbiguousOffset::Fold { .. } => {
                let earlier = found.clone().earlier().map_err(wrong)?;
                Resolution::Ambiguous(Self(earlier), Self(found.later().map_err(wrong)?))
            }
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
    }

    fn firings(cron: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
        let table = Timetable::read(cron, zone).expect("a timetable");
        std::iter::successors(table.next(at(after)), |at| table.next(*at)).take(n).map(|at| at.to_string()).collect()
    }

    #[test]
    fn firings_follow_the_clock_of_their_zone() {
        assert_eq!(
            firings("0 9 * * 1-5", "Europe/Berlin", "2026-01-02T09:00:00Z", 2),
            ["2026-01-05T08:00:00.000Z", "2026-01-06T08:00:00.000Z"],
            "over a weekend"
        );
        assert_eq!(firings("*/15 * * * * *", "UTC", "2026-01-01T00:00:01Z", 1), ["2026-01-01T00:00:15.000Z"]);
        assert_eq!(firings("@daily", "Asia/Kolkata", "2026-01-01T00:00:00Z", 1), ["2026-01-01T18:30:00.000Z"]);
        assert_eq!(firings("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00:00.000Z"]);
        assert!(firings("0 0 31 2 *", "UTC", "2026-01-01T00:00:00Z", 1).is_empty());
    }

    #[test]
    fn a_time_in_the_gap_comes_after_it_and_one_in_the_fold_comes_once() {
        // In Berlin 02:00 to 03:00 was left out on 2026-03-29, and came twice on 2026-10-25.
        assert_eq!(
            firings("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"]
        );
        assert_eq!(
            firings("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"]
        );
        assert_eq!(
            firings("30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3),
            ["2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z", "2026-10-25T02:30:00.000Z"],
            "each hour, also the one that comes twice"
        );
        assert_eq!(
            firings("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
            ["2026-03-29T00:30:00.000Z", "2026-03-29T01:30:00.000Z"]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |cron, zone| Timetable::read(cron, zone).expect_err("a fault").field;
        assert_eq!((wrong("61 * * * *", "UTC"), wrong("* *", "UTC"), wrong("", "UTC")), ("cron", "cron", "cron"));
        assert_eq!(wrong("* * * * *", "Europe/Atlantis"), "timeZone");
    }

    #[test]
    fn missed_firings_are_counted() {
        let table = Timetable::read("0 * * * *", "UTC").expect("a timetable");
        assert_eq!(table.count(at("2026-01-01T01:00:00Z"), at("2026-01-01T04:59:00Z")), 4);
    }
}

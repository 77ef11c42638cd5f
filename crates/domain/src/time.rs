//! Points in time, as values. Nothing here reads a clock.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::BootId;

/// A point on the wall clock: milliseconds since the Unix epoch, UTC. For people and for due
/// times; it may jump, so no lease depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Milliseconds of a day.
    pub const DAY_MS: i64 = 86_400_000;

    /// The day that it lies in, in UTC: `2026-01-31`.
    #[must_use]
    pub fn day(self) -> String {
        self.to_string().chars().take(10).collect()
    }

    /// The beginning of the day that it lies in, in UTC.
    #[must_use]
    pub const fn day_start(self) -> Self {
        Self(self.0.div_euclid(Self::DAY_MS) * Self::DAY_MS)
    }

    /// The beginning of the day after, in UTC.
    #[must_use]
    pub const fn next_day(self) -> Self {
        Self((self.0.div_euclid(Self::DAY_MS) + 1) * Self::DAY_MS)
    }

    /// The point `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Returns the time this much later.
    #[must_use]
    pub fn plus(self, time: std::time::Duration) -> Self {
        self.plus_ms(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    }

    /// Returns the time this much earlier.
    #[must_use]
    pub fn minus(self, time: std::time::Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to this point; never negative.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).max(0)
    }
}

impl std::fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-01-31T08:15:00.000Z`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        write!(f, "{at:.3}")
    }
}

#[cfg(feature = "schema")]
impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2026-01-31T08:15:00.000Z"])
            .into()
    }
}

#[cfg(feature = "schema")]
impl utoipa::ToSchema for Timestamp {}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        match text.parse::<jiff::Timestamp>() {
            Ok(at) => Ok(Self(at.as_millisecond())),
            // The last day lies outside of some zone's calendar, and so of what can be computed with.
            Err(_) if text.parse::<jiff::civil::DateTime>().is_ok() || is_rfc3339(&text) => {
                Err(serde::de::Error::custom("must be a time from -009999-01-02T01:59:59Z to 9999-12-30T22:00:00Z"))
            }
            Err(_) => Err(serde::de::Error::custom("expected a time such as 2026-01-31T08:15:00Z (RFC 3339)")),
        }
    }
}

/// True if a text has the form of a time with a zone, whatever its range.
fn is_rfc3339(text: &str) -> bool {
    let (date, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(date) => (date, "+00:00"),
        None => text.split_at_checked(text.len().saturating_sub(6)).unwrap_or((text, "")),
    };
    let is_zone = matches!(zone.as_bytes(), [b'+' | b'-', b'0'..=b'9', b'0'..=b'9', b':', b'0'..=b'9', b'0'..=b'9']);
    is_zone && date.len() >= 19 && date.parse::<jiff::civil::DateTime>().is_ok()
}

/// A point on the clock that never jumps (`CLOCK_BOOTTIME`, milliseconds), and the boot that
/// it belongs to. Points of different boots can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootInstant {
    /// The boot during which `ms` was read.
    pub boot: BootId,
    /// Milliseconds since that boot.
    pub ms: i64,
}

impl BootInstant {
    /// The point `ms` milliseconds later, in the same boot.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self { ms: self.ms.saturating_add(ms), ..self }
    }

    /// True if this point lies before `now`. A point of an earlier boot always does: whatever
    /// was to live until then died with that boot.
    #[must_use]
    pub fn is_past(self, now: Self) -> bool {
        self.boot != now.boot || self.ms < now.ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_is_rfc3339_with_milliseconds_both_ways() {
        let at: Timestamp = serde_json::from_str("\"2026-01-31T08:15:00+01:00\"").expect("a time");
        assert_eq!(serde_json::to_string(&at).expect("json"), "\"2026-01-31T07:15:00.000Z\"");
        let wrong = |text: &str| serde_json::from_str::<Timestamp>(text).expect_err("wrong").to_string();
        assert!(wrong("\"tomorrow\"").contains("RFC 3339"));
        assert!(wrong("\"9999-12-31T23:59:59Z\"").contains("9999-12-30T22:00:00Z"));
        assert!(serde_json::from_str::<Timestamp>("\"9999-12-30T22:00:00Z\"").is_ok());
    }

    #[test]
    fn an_instant_of_another_boot_is_past() {
        let now = BootInstant { boot: BootId::from_u128(1), ms: 10 };
        assert!(!now.plus_ms(5).is_past(now));
        assert!(!now.is_past(now));
        assert!(now.is_past(now.plus_ms(1)));
        assert!(BootInstant { boot: BootId::from_u128(2), ms: 99 }.is_past(now));
    }
}

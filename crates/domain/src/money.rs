//! Money: whole millionths of a US dollar, so that sums are exact.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Millionths in one dollar.
const MICROS: f64 = 1_000_000.0;

/// An amount of US dollars. In JSON and in the database it is a number of dollars.
///
/// ```
/// use domain::Usd;
/// assert_eq!(Usd::of(0.1) + Usd::of(0.2), Usd::of(0.3));
/// assert_eq!(serde_json::to_string(&(Usd::of(0.1) + Usd::of(0.2))).expect("a number"), "0.3");
/// assert_eq!(Usd::of(12.5).to_string(), "12.5");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i64);

impl Usd {
    /// The amount for people: small ones with four digits, `$0` for none.
    #[must_use]
    pub fn shown(self) -> String {
        if self == Self::ZERO {
            "$0".to_owned()
        } else if self.dollars() < 0.01 {
            format!("${:.4}", self.dollars())
        } else {
            format!("${:.2}", self.dollars())
        }
    }

    /// No money.
    pub const ZERO: Self = Self(0);

    /// An amount of dollars, to the nearest millionth. One that is too large for the type is the largest, and one that is
    /// no number is zero.
    #[must_use]
    pub fn of(dollars: f64) -> Self {
        Self((dollars * MICROS).round() as i64)
    }

    /// An amount of millionths of a dollar.
    #[must_use]
    pub const fn of_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The amount in millionths of a dollar.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The amount in dollars.
    #[must_use]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / MICROS
    }

    /// The distance of two amounts, in millionths.
    #[must_use]
    pub const fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Usd {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::ops::Div<i64> for Usd {
    type Output = Self;

    /// A part, rounded down; all of it where it is divided by 0.
    fn div(self, parts: i64) -> Self {
        Self(self.0 / parts.max(1))
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dollars().fmt(to)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        f64::deserialize(from).map(Self::of)
    }
}

#[cfg(feature = "schema")]
impl utoipa::PartialSchema for Usd {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{ObjectBuilder, Type};
        ObjectBuilder::new().schema_type(Type::Number).description(Some("US dollars")).into()
    }
}

#[cfg(feature = "schema")]
impl utoipa::ToSchema for Usd {}

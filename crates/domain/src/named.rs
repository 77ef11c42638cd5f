//! Closed sets of words, such as the statuses: each word has one name in JSON, in the database and in logs.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

/// A word of a closed set.
///
/// ```
/// use domain::{Named as _, Status};
/// assert_eq!(Status::Pending.name(), "pending");
/// assert_eq!(Status::from_name("pending"), Some(Status::Pending));
/// assert_eq!(Status::from_name("Pending"), None);
/// ```
pub trait Named: Copy + FromStr + Into<&'static str> + VariantArray {
    /// The name.
    fn name(self) -> &'static str {
        self.into()
    }

    /// The word of that name.
    fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// Every name, for people: `pending, running, completed`.
    fn names() -> String {
        Self::VARIANTS.iter().map(|word| word.name()).collect::<Vec<_>>().join(", ")
    }
}

impl<T: Copy + FromStr + Into<&'static str> + VariantArray> Named for T {}

/// A name that was stored or sent: a word of the set, or one that only another version knows.
///
/// ```
/// use domain::{Name, Status};
/// assert_eq!(Name::read("failed"), Name::Known(Status::Failed));
/// assert_eq!(Name::<Status>::read("parked").to_string(), "parked");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Name<T> {
    /// A word of the set.
    Known(T),
    /// The name as it came.
    Other(String),
}

impl<T: Named> Name<T> {
    /// Reads a name; never fails.
    #[must_use]
    pub fn read(name: &str) -> Self {
        T::from_name(name).map_or_else(|| Self::Other(name.to_owned()), Self::Known)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known(word) => word.name(),
            Self::Other(name) => name,
        }
    }

    /// The word, where this version knows it.
    #[must_use]
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(word) => Some(*word),
            Self::Other(_) => None,
        }
    }
}

impl<T> From<T> for Name<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T: Named> std::fmt::Display for Name<T> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.pad(self.name())
    }
}

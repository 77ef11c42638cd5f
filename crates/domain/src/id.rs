//! Ids: each kind has a type of its own, so that none is taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
                let format = SchemaFormat::KnownFormat(KnownFormat::Uuid);
                ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $name {}

        impl $name {
            /// A new one. Ids sort by the time of their making.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "no two are the same")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id of a UUID that was stored or sent.
            #[must_use]
            pub const fn of(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id of a number.
            #[must_use]
            pub const fn from_u128(number: u128) -> Self {
                Self(Uuid::from_u128(number))
            }

            /// The bytes, to be stored.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The UUID, to be stored or sent.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// The id of a task: a UUID of version 7.
    ///
    /// ```
    /// let text = "0198c0de-0000-7000-8000-00000000000a";
    /// assert_eq!(text.parse::<domain::TaskId>().map(|id| id.to_string()), Ok(text.to_owned()));
    /// ```
    TaskId
);

id!(
    /// Incarnation of a worker: new at each start, so that a worker that came back is never taken for the one that
    /// died.
    WorkerInstanceId
);

id!(
    /// The id of a schedule: a UUID of version 7.
    ScheduleId
);

id!(
    /// A rule that allows calls of tools: a UUID of version 7.
    RuleId
);

id!(
    /// A conversation of the CLI.
    SessionId
);

id!(
    /// The content of a file where it is stored: a UUID of version 7.
    BlobId
);

id!(
    /// One boot of one machine: the kernel's `boot_id`.
    BootId
);

impl TaskId {
    /// The smallest id of a task that was made at this time or later.
    #[must_use]
    pub fn first_of(at: crate::Timestamp) -> Self {
        Self::from_u128(u128::from(at.0.max(0).unsigned_abs()) << 80)
    }

    /// The session of a task that begins one of its own.
    #[must_use]
    pub const fn own_session(self) -> SessionId {
        SessionId::of(self.uuid())
    }
}

impl BlobId {
    /// Time of its making.
    #[must_use]
    pub fn made_at(self) -> Option<crate::Timestamp> {
        let (seconds, nanos) = self.uuid().get_timestamp()?.to_unix();
        Some(crate::Timestamp(i64::try_from(seconds).ok()? * 1_000 + i64::from(nanos / 1_000_000)))
    }
}

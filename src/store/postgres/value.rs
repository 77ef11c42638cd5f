//! Values between rows and the wire protocol.
//!
//! All whole numbers are `BIGINT`, so that a value's type follows from its kind alone, and every statement can be sent with
//! its types, prepared or not.

use bytes::BytesMut;
use domain::{
    BlobId, BootId, Epoch, Name, Named, RuleId, ScheduleId, SessionId, TaskId, Timestamp, Usd, WorkerInstanceId,
};
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

/// Cause for which a row can't be read.
pub type Unread = Box<dyn std::error::Error + Send + Sync>;

/// A value of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(Option<i64>),
    /// A number.
    Float(Option<f64>),
    /// A text, without NUL, which PostgreSQL can't store.
    Text(Option<String>),
    /// An id.
    Uuid(Option<Uuid>),
    /// True or false.
    Bool(Option<bool>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
    /// An array of values of one kind.
    List(Type, Vec<Self>),
}

impl Value {
    /// An array of the kind of this value.
    pub fn list(kind: &Type, values: Vec<Self>) -> Self {
        Self::List(array_of(kind), values)
    }

    /// An array of ids.
    pub fn ids(ids: impl IntoIterator<Item = Uuid>) -> Self {
        Self::List(Type::UUID_ARRAY, ids.into_iter().map(Self::from).collect())
    }

    /// An array of numbers.
    pub fn numbers(numbers: impl IntoIterator<Item = i64>) -> Self {
        Self::List(Type::INT8_ARRAY, numbers.into_iter().map(Self::from).collect())
    }

    /// An array of texts.
    pub fn texts(texts: impl IntoIterator<Item = String>) -> Self {
        Self::List(Type::TEXT_ARRAY, texts.into_iter().map(Self::from).collect())
    }

    /// The type that the server knows it by.
    pub fn kind(&self) -> Type {
        match self {
            Self::Int(_) => Type::INT8,
            Self::Float(_) => Type::FLOAT8,
            Self::Text(_) => Type::TEXT,
            Self::Uuid(_) => Type::UUID,
            Self::Bool(_) => Type::BOOL,
            Self::Bytes(_) => Type::BYTEA,
            Self::List(kind, _) => kind.clone(),
        }
    }
}

/// The type of an array of values of this type.
pub fn array_of(kind: &Type) -> Type {
    match *kind {
        Type::INT8 => Type::INT8_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::UUID => Type::UUID_ARRAY,
        Type::BOOL => Type::BOOL_ARRAY,
        Type::BYTEA => Type::BYTEA_ARRAY,
        _ => Type::TEXT_ARRAY,
    }
}

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Unread> {
        match self {
            Self::Int(value) => value.to_sql(kind, out),
            Self::Float(value) => value.to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
            Self::Uuid(value) => value.to_sql(kind, out),
            Self::Bool(value) => value.to_sql(kind, out),
            Self::Bytes(value) => value.to_sql(kind, out),
            Self::List(_, values) => values.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A text as it can be stored: the replacement character stands for NUL.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

/// Makes a value of a type, and of the same type where it may be missing.
macro_rules! values {
    ($($kind:ty => $variant:ident, |$value:ident| $made:expr;)*) => {
        $(impl From<$kind> for Value {
            fn from($value: $kind) -> Self {
                Self::$variant(Some($made))
            }
        }

        impl From<Option<$kind>> for Value {
            fn from(value: Option<$kind>) -> Self {
                Self::$variant(value.map(|$value| $made))
            }
        })*
    };
}

values! {
    i64 => Int, |value| value;
    i32 => Int, |value| value.into();
    u32 => Int, |value| value.into();
    u16 => Int, |value| value.into();
    f64 => Float, |value| value;
    bool => Bool, |value| value;
    String => Text, |value| storable(value);
    &String => Text, |value| storable(value.clone());
    &str => Text, |value| storable(value.to_owned());
    Vec<u8> => Bytes, |value| value;
    Uuid => Uuid, |value| value;
    TaskId => Uuid, |value| value.uuid();
    SessionId => Uuid, |value| value.uuid();
    ScheduleId => Uuid, |value| value.uuid();
    RuleId => Uuid, |value| value.uuid();
    WorkerInstanceId => Uuid, |value| value.uuid();
    BlobId => Uuid, |value| value.uuid();
    BootId => Uuid, |value| value.uuid();
    Timestamp => Int, |value| value.0;
    Epoch => Int, |value| value.number();
    Usd => Float, |value| value.dollars();
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::texts(texts)
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::from(value.as_deref())
    }
}

/// The values of a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        [$($crate::store::postgres::value::Value::from($value)),*]
    };
}

pub(super) use params;

/// A value of a column.
pub trait Column: Sized {
    /// Reads it from a row.
    ///
    /// # Errors
    /// It is not of the column's kind.
    fn read(row: &Row, at: usize) -> Result<Self, Unread>;

    /// The value, as it is stored.
    fn value(&self) -> Value;
}

/// A value in a row.
pub fn get<T: Column>(row: &Row, at: usize) -> Result<T, Unread> {
    T::read(row, at)
}

macro_rules! plain {
    ($($kind:ty),*) => {
        $(impl Column for $kind {
            fn read(row: &Row, at: usize) -> Result<Self, Unread> {
                Ok(row.try_get(at)?)
            }

            fn value(&self) -> Value {
                Value::from(self.clone())
            }
        })*
    };
}

plain!(i64, bool, String, f64, Vec<u8>, Option<i64>, Option<f64>, Option<String>, Option<bool>, Vec<String>);

/// A type that is stored as another one.
macro_rules! stored_as {
    ($kind:ty, $stored:ty, $read:expr, $value:expr $(, $of:ident: $bound:path)?) => {
        impl$(<$of: $bound>)? Column for $kind {
            fn read(row: &Row, at: usize) -> Result<Self, Unread> {
                Ok($read(row.try_get::<_, $stored>(at)?)?)
            }

            fn value(&self) -> Value {
                Value::from(Some($value(self)))
            }
        }

        impl$(<$of: $bound>)? Column for Option<$kind> {
            fn read(row: &Row, at: usize) -> Result<Self, Unread> {
                Ok(row.try_get::<_, Option<$stored>>(at)?.map($read).transpose()?)
            }

            fn value(&self) -> Value {
                Value::from(self.as_ref().map($value))
            }
        }
    };
}

stored_as!(i32, i64, i32::try_from, |value: &i32| i64::from(*value));
stored_as!(u32, i64, u32::try_from, |value: &u32| i64::from(*value));
stored_as!(u16, i64, u16::try_from, |value: &u16| i64::from(*value));
stored_as!(TaskId, Uuid, sure(TaskId::of), |id: &TaskId| id.uuid());
stored_as!(SessionId, Uuid, sure(SessionId::of), |id: &SessionId| id.uuid());
stored_as!(RuleId, Uuid, sure(RuleId::of), |id: &RuleId| id.uuid());
stored_as!(ScheduleId, Uuid, sure(ScheduleId::of), |id: &ScheduleId| id.uuid());
stored_as!(WorkerInstanceId, Uuid, sure(WorkerInstanceId::of), |id: &WorkerInstanceId| id.uuid());
stored_as!(BlobId, Uuid, sure(BlobId::of), |id: &BlobId| id.uuid());
stored_as!(BootId, Uuid, sure(BootId::of), |id: &BootId| id.uuid());
stored_as!(Epoch, i64, sure(Epoch::of), |epoch: &Epoch| epoch.number());
stored_as!(Timestamp, i64, sure(Timestamp), |at: &Timestamp| at.0);
stored_as!(Usd, f64, sure(Usd::of), |amount: &Usd| amount.dollars());
stored_as!(Name<T>, String, sure(|name: String| Name::<T>::read(&name)), |name: &Name<T>| name.name().to_owned(), T: Named);

/// A conversion that can't fail, in the form of one that can.
fn sure<A, B>(make: impl Fn(A) -> B) -> impl Fn(A) -> Result<B, std::convert::Infallible> {
    move |value| Ok(make(value))
}

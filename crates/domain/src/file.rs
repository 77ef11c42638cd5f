//! Files that clients send, and files that tasks leave.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{BlobId, Invalid};

/// Number of hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// The SHA-256 of a file's content, which is the file's id.
///
/// ```
/// let digits = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// assert!(digits.parse::<domain::FileId>().is_ok());
/// assert!(digits.to_uppercase().parse::<domain::FileId>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileId(String);

impl FileId {
    /// The digits, to be stored or sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<FileId> for String {
    fn from(id: FileId) -> Self {
        id.0
    }
}

impl TryFrom<String> for FileId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == DIGITS && text.bytes().all(is_digit) {
            return Ok(Self(text));
        }
        Err(Invalid::new("fileId", "must be the SHA-256 of the content, as 64 lower-case hexadecimal digits"))
    }
}

impl FromStr for FileId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.to_owned().try_into()
    }
}

#[cfg(feature = "schema")]
impl utoipa::PartialSchema for FileId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{ObjectBuilder, Type};
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9a-f]{64}$")).into()
    }
}

#[cfg(feature = "schema")]
impl utoipa::ToSchema for FileId {}

/// A file that a task has left, and that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Path below the folder that the task worked in.
    pub path: String,
    /// Its content.
    pub blob: BlobId,
    /// Number of bytes.
    pub bytes: i64,
    /// Digest of its content.
    pub sha256: FileId,
}

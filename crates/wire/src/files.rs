//! Files that come with an instruction: named ones, those that were sent before, and small ones in the request itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::{FileId, Invalid};

/// Maximum number of files that come with an instruction.
const MAX_FILES: usize = 50;
/// Maximum size of the files that stand in the request itself, in bytes.
const MAX_UPLOAD_BYTES: usize = 1 << 20;
/// The longest name of a file.
const MAX_NAME_BYTES: usize = 255;
const FIELD: &str = "context.files";

/// A file for the model to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ContextFile {
    /// One that is there: an absolute path, or one from the working directory on.
    Path(String),
    /// One that comes with the request.
    Upload(Upload),
    /// One that was sent before, with `POST /api/files`.
    Sent(SentFile),
}

/// A file that was sent before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SentFile {
    /// Its id.
    pub file_id: FileId,
    /// Name, without folders; the id where it isn't set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl SentFile {
    /// Name under which the model gets it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.file_id.as_str())
    }
}

/// A file in a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upload {
    /// Name, without folders.
    pub name: String,
    /// Content.
    pub content: String,
    /// Encoding of the content.
    #[serde(default)]
    pub encoding: Encoding,
}

/// Encoding of a file's content in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Text.
    #[default]
    Utf8,
    /// Base 64 with padding.
    Base64,
}

impl Upload {
    /// Returns the content as bytes; `None` where it is not valid base 64.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self.encoding {
            Encoding::Utf8 => Some(self.content.clone().into_bytes()),
            Encoding::Base64 => STANDARD.decode(&self.content).ok(),
        }
    }
}

/// True if the CLI can be told of a file of this name: it is quoted, and `#` would begin a line number.
#[must_use]
pub fn can_be_named(path: &str) -> bool {
    !path.chars().any(|c| c.is_control() || c == '"' || c == '#')
}

/// Checks everything that needs no file system.
pub(super) fn validate(files: &[ContextFile]) -> Result<(), Invalid> {
    let invalid = |message: String| Err(Invalid::new(FIELD, message));
    if files.len() > MAX_FILES {
        return invalid(format!("must have at most {MAX_FILES} entries, got {}", files.len()));
    }
    let (mut total, mut names) = (0, std::collections::HashSet::new());
    for file in files {
        let name = match file {
            ContextFile::Path(path) => path.as_str(),
            ContextFile::Upload(upload) => upload.name.as_str(),
            ContextFile::Sent(sent) => sent.name(),
        };
        if name.is_empty() || !can_be_named(name) {
            return invalid(format!("a name must not be empty, nor have control characters, \" or #: {name:?}"));
        }
        if matches!(file, ContextFile::Path(_)) {
            continue;
        }
        if name.len() > MAX_NAME_BYTES || name.contains('/') || name == "." || name == ".." {
            return invalid(format!(
                "a file that was sent has a name of 1 to {MAX_NAME_BYTES} bytes, without folders: {name:?}"
            ));
        }
        if !names.insert(name) {
            return invalid(format!("two files are called {name:?}"));
        }
        let ContextFile::Upload(upload) = file else { continue };
        match upload.bytes() {
            Some(bytes) => total += bytes.len(),
            None => return invalid(format!("the content of {name:?} is no base 64")),
        }
    }
    if total > MAX_UPLOAD_BYTES {
        return invalid(format!("files in the request may have {MAX_UPLOAD_BYTES} bytes together, got {total}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(name: &str, content: &str, encoding: Encoding) -> ContextFile {
        ContextFile::Upload(Upload { name: name.into(), content: content.into(), encoding })
    }

    fn sent(name: Option<&str>) -> ContextFile {
        let file_id = "0".repeat(64).parse().expect("an id");
        ContextFile::Sent(SentFile { file_id, name: name.map(str::to_owned) })
    }

    #[test]
    fn names_stay_in_their_folder_and_contents_can_be_read() {
        let good = [upload("a b.txt", "x", Encoding::Utf8), ContextFile::Path("src/main.rs".into())];
        assert_eq!(validate(&good), Ok(()));
        for bad in [
            upload("../a", "x", Encoding::Utf8),
            upload("..", "x", Encoding::Utf8),
            upload("a", "§", Encoding::Base64),
            upload("a\"b", "x", Encoding::Utf8),
            ContextFile::Path("a\nb".into()),
            sent(Some("../a")),
        ] {
            assert!(validate(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
        assert!(validate(&[upload("a", "x", Encoding::Utf8), upload("a", "y", Encoding::Utf8)]).is_err());
        assert!(validate(&[upload("a", "x", Encoding::Utf8), sent(Some("a"))]).is_err());
        assert_eq!(validate(&[sent(None), sent(Some("a"))]), Ok(()));
        assert!(validate(&[upload("a", &"x".repeat(MAX_UPLOAD_BYTES + 1), Encoding::Utf8)]).is_err());
    }
}

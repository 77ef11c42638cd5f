//! Bodies of requests: bounded in length, in time and in memory.
//!
//! A client that sends slowly holds no memory: what is longer than a little waits in a file without a name. Whole bodies
//! are read into memory only where there is room for them.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::ops::Deref;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::memory::{Memory, Room};
use super::shared::Shared;

/// The longest body: room for the longest instruction with every character escaped.
const MAX_BYTES: usize = 8 << 20;
/// Length up to which a body is kept in memory while it comes.
const IN_MEMORY: usize = 64 << 10;
/// Longest silence of a client in the middle of a body.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// Bytes a second that a client must send on average, beyond the first [`IDLE_LIMIT`].
const PACE: u64 = 16 << 10;

/// A whole body. It takes its room until it is dropped.
pub struct Body {
    bytes: Bytes,
    _room: Option<Room>,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What has come of a body.
enum Parts {
    Memory(BytesMut),
    Disk(File),
}

/// A body as it comes, from a client that keeps the pace.
pub struct Chunks {
    payload: Payload,
    begun: Instant,
    length: u64,
}

impl Chunks {
    /// The chunks of a body.
    pub fn of(payload: Payload) -> Self {
        Self { payload, begun: Instant::now(), length: 0 }
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// It is too slow, or broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let whole = self.begun + IDLE_LIMIT + Duration::from_millis(self.length.saturating_mul(1_000) / PACE);
        let until = whole.min(Instant::now() + IDLE_LIMIT);
        let Ok(next) = timeout_at(until, self.payload.next()).await else { return Err(too_slow()) };
        let chunk = next.transpose().map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, "INVALID_JSON", format!("the body broke off: {error}"))
        })?;
        self.length += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Ok(chunk)
    }
}

/// Reads the body of a form.
///
/// # Errors
/// As [`body`].
pub async fn read_body(payload: Payload, shared: &Shared) -> Result<Body, ApiError> {
    body(payload, &shared.bodies).await
}

/// Reads a body.
///
/// # Errors
/// It is too long, too slow, or broke off.
pub async fn body(payload: Payload, memory: &Memory) -> Result<Body, ApiError> {
    let (mut chunks, mut parts, mut length) = (Chunks::of(payload), Parts::Memory(BytesMut::new()), 0_usize);
    while let Some(chunk) = chunks.next().await? {
        length += chunk.len();
        if length > MAX_BYTES {
            let message = format!("the body must have at most {MAX_BYTES} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message));
        }
        parts = parts.with(&chunk).map_err(|error| no_room(&error))?;
    }
    match parts {
        Parts::Memory(bytes) => Ok(Body { bytes: bytes.freeze(), _room: None }),
        Parts::Disk(mut file) => {
            let room = memory.room(length as u64).await;
            let mut bytes = Vec::with_capacity(length);
            file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(|error| no_room(&error))?;
            Ok(Body { bytes: bytes.into(), _room: Some(room) })
        }
    }
}

impl Parts {
    fn with(mut self, chunk: &[u8]) -> std::io::Result<Self> {
        match &mut self {
            Self::Memory(bytes) if bytes.len() + chunk.len() <= IN_MEMORY => bytes.extend_from_slice(chunk),
            Self::Memory(bytes) => {
                let mut file = tempfile::tempfile()?;
                file.write_all(bytes)?;
                file.write_all(chunk)?;
                return Ok(Self::Disk(file));
            }
            Self::Disk(file) => file.write_all(chunk)?,
        }
        Ok(self)
    }
}

fn too_slow() -> ApiError {
    let message = format!(
        "the body came too slowly: nothing for {} s, or less than {} KiB a second",
        IDLE_LIMIT.as_secs(),
        PACE >> 10
    );
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "BODY_TOO_SLOW", message)
}

fn no_room(error: &std::io::Error) -> ApiError {
    let message =
        format!("the body could not be kept while it came: {error}; is the disk of the temporary files full?");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "NO_ROOM_FOR_BODY", message)
}

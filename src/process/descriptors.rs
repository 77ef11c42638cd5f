//! Limits of files and connections that this process may open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Highest limit that is asked for: some systems set none at all.
const MOST: u64 = 1 << 20;

/// Raises the limit as far as the system lets this process. Returns what it is then.
///
/// # Errors
/// The system's.
pub fn raise_descriptors() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(MOST).min(MOST);
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
        return Ok(wanted);
    }
    Ok(current.unwrap_or(MOST))
}

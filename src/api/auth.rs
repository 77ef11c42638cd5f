//! The file of the operator's key, and the names of this server.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::path::Path;

use crate::config::Server;
use crate::process;

/// Shortest secret, in characters.
const MIN_SECRET: usize = 16;
/// Longest secret, in characters.
const MAX_SECRET: u64 = 1_024;

/// Reads the key of this data folder, and makes one where there is none. The file is 0600.
///
/// # Errors
/// The file can't be read or written.
pub fn load_or_make_key(path: &Path) -> io::Result<String> {
    if path.try_exists()? {
        return read_secret(path);
    }
    // The file gets its name when it is whole: another process may be at the same.
    let key = process::secret()?;
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    file.write_all(key.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(key),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => read_secret(path),
        Err(error) => Err(error.error),
    }
}

/// Reads the file of a secret, which must be ours alone.
fn read_secret(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    process::check_secret(path, &file)?;
    let mut text = String::new();
    file.take(MAX_SECRET + 1).read_to_string(&mut text)?;
    let key = text.trim();
    if !(MIN_SECRET..=MAX_SECRET as usize).contains(&key.len()) {
        let what = format!("it must have {MIN_SECRET} to {MAX_SECRET} characters; remove the file to get a new one");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(key.to_owned())
}

/// The host of an address, without its port.
fn host_of(url: &str) -> Option<String> {
    let url: actix_web::http::Uri = url.parse().ok()?;
    url.host().map(str::to_lowercase)
}

/// The names under which this server may be asked. A page whose own name was made to point
/// here (DNS rebinding) asks under another.
#[derive(Clone)]
pub struct Hosts {
    names: Vec<String>,
    /// True if any address in figures is ours, because others reach this one: rebinding needs a name.
    any_address: bool,
}

impl Hosts {
    /// The names of a server with these settings.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        names.extend(server.allowed_hosts.iter().map(|name| name.to_lowercase()));
        names.extend(server.public_url.as_deref().and_then(host_of));
        names.push(process::host_name().to_lowercase());
        Self { names, any_address: !server.host.is_loopback() }
    }

    /// True if a Host header names this server.
    pub fn include(&self, host: &str) -> bool {
        let host = host.to_lowercase();
        // The port may be another one in front of us; the name decides.
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        self.names.iter().any(|ours| ours == name) || (self.any_address && address.is_ok())
    }
}

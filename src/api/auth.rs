//! The key, and the names of this server.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Server;
use crate::process;

/// The key, as its hash. Compared in constant time.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// The key of that text.
    #[must_use]
    pub fn new(key: &SecretString) -> Self {
        Self::of(key.expose_secret())
    }

    fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// True if this is the key.
    pub fn is(&self, shown: &str) -> bool {
        Self::of(shown).0.ct_eq(&self.0).into()
    }
}

/// The keys that clients may show, each with its name.
#[derive(Clone, Default)]
pub struct Keys(Vec<(String, ApiKey)>);

impl Keys {
    /// Accepts these keys; any request where there are none.
    #[must_use]
    pub const fn new(keys: Vec<(String, ApiKey)>) -> Self {
        Self(keys)
    }

    /// True if no key is needed.
    pub const fn are_off(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the key. Compared with all of them, so that the time tells nothing.
    pub fn name_of(&self, shown: &str) -> Option<&str> {
        let mut found = None;
        for (name, key) in &self.0 {
            if key.is(shown) {
                found = Some(name.as_str());
            }
        }
        found
    }
}

/// Name of the key that the request showed.
#[derive(Clone)]
pub struct Caller(pub String);

/// Reads the key of this data folder, and makes one where there is none. The file is 0600.
///
/// # Errors
/// The file can't be read or written.
pub fn load_or_make_key(path: &Path) -> io::Result<String> {
    match fs::File::options().create_new(true).write(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let key = process::secret()?;
            file.write_all(key.as_bytes())?;
            file.sync_all()?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let key = fs::read_to_string(path)?.trim().to_owned();
            if key.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the file is empty; remove it to get a new key",
                ));
            }
            Ok(key)
        }
        Err(error) => Err(error),
    }
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

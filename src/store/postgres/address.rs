//! The address of a server: what `DATABASE_URL` says, and how to connect to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Notification, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::verify::{self, Checks};
use crate::config::DatabaseServer;
use crate::store::StoreError;

/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A peer that acknowledges nothing for this long is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// Time between two signs of life on a quiet connection.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// See the [module](self).
pub struct Address {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    password_file: Option<PathBuf>,
    shown: Arc<str>,
    /// True if a pool stands before the server that gives each transaction any connection: it keeps no statements.
    pooled: AtomicBool,
}

/// Parameters of the URL that are ours, and not the driver's.
#[derive(Default)]
struct Own {
    checks: Option<Checks>,
    root: Option<PathBuf>,
    pooled: bool,
}

impl Address {
    /// Reads the settings of a server, and one of its addresses.
    ///
    /// # Errors
    /// What is wrong with it, without the password.
    pub fn read(settings: &DatabaseServer, url: &SecretString) -> Result<Self, String> {
        let (url, own) = split(url.expose_secret())?;
        let mut config: Config = url.parse().map_err(|error| format!("is no address of PostgreSQL: {error}"))?;
        if let Some(password) = &settings.password.text {
            config.password(password.expose_secret());
        }
        if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_hosts().is_empty() {
            config.host_path("/var/run/postgresql");
        }
        if config.get_application_name().is_none() {
            config.application_name("cc-anywhere");
        }
        config.connect_timeout(CONNECT_LIMIT).tcp_user_timeout(SILENCE_LIMIT).keepalives_idle(KEEP_ALIVE);
        config.keepalives_interval(KEEP_ALIVE / 2).keepalives_retries(2);
        let shown = shown(&config).into();
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls(&own)?),
        };
        let password_file = settings.password.file.clone();
        Ok(Self { config, tls, password_file, shown, pooled: AtomicBool::new(own.pooled) })
    }

    /// Connects. Notifications are dropped.
    ///
    /// # Errors
    /// The server can't be reached, or refuses.
    pub async fn connect(&self) -> Result<Client, StoreError> {
        self.connect_to(|_| {}).await
    }

    /// Connects, and passes notifications on.
    ///
    /// # Errors
    /// The server can't be reached, or refuses.
    pub async fn connect_to(&self, hear: impl Fn(Notification) + Send + 'static) -> Result<Client, StoreError> {
        let mut config = self.config.clone();
        if let Some(file) = &self.password_file {
            let read = std::fs::read_to_string(file).map_err(|source| {
                let told = std::io::Error::new(source.kind(), format!("{}: {source}", file.display()));
                StoreError::Unavailable { server: Arc::clone(&self.shown), source: Arc::new(told) }
            })?;
            config.password(read.trim_end_matches(['\r', '\n']));
        }
        let connect = async {
            match &self.tls {
                Some(tls) => {
                    let (client, connection) = config.connect(tls.clone()).await?;
                    drive(connection, hear);
                    Ok(client)
                }
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    drive(connection, hear);
                    Ok(client)
                }
            }
        };
        match tokio::time::timeout(CONNECT_LIMIT, Box::pin(connect)).await {
            Ok(connected) => connected.map_err(|error| self.translate(error)),
            Err(late) => Err(self.unavailable(late)),
        }
    }

    /// Translates an error of the driver.
    pub fn translate(&self, error: tokio_postgres::Error) -> StoreError {
        let Some(code) = error.code() else { return self.unavailable(error) };
        let is_refusal = matches!(
            *code,
            SqlState::INVALID_PASSWORD
                | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
                | SqlState::INVALID_CATALOG_NAME
                | SqlState::INSUFFICIENT_PRIVILEGE
        );
        let is_gone = matches!(
            *code,
            SqlState::ADMIN_SHUTDOWN
                | SqlState::CRASH_SHUTDOWN
                | SqlState::CANNOT_CONNECT_NOW
                | SqlState::TOO_MANY_CONNECTIONS
                | SqlState::READ_ONLY_SQL_TRANSACTION
                | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        ) || code.code().starts_with("08");
        match *code {
            SqlState::LOCK_NOT_AVAILABLE => StoreError::Locked,
            SqlState::DISK_FULL => StoreError::Full,
            _ if is_refusal => StoreError::Refused { server: Arc::clone(&self.shown), source: Arc::new(error) },
            _ if is_gone => self.unavailable(error),
            _ => StoreError::statement(error),
        }
    }

    /// An error for a server that does not answer.
    pub fn unavailable(&self, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        StoreError::Unavailable { server: Arc::clone(&self.shown), source: Arc::new(source) }
    }

    /// Server and database, without user and password.
    pub const fn shown(&self) -> &Arc<str> {
        &self.shown
    }

    /// True if each transaction may get another connection of the server.
    pub fn is_pooled(&self) -> bool {
        self.pooled.load(Ordering::Relaxed)
    }

    /// Prepares no statements, as if a pool stood before the server.
    pub fn prepare_none(&self) {
        self.pooled.store(true, Ordering::Relaxed);
    }

    /// Notes that a pool stands before the server.
    pub fn note_pooled(&self) {
        if !self.pooled.swap(true, Ordering::Relaxed) {
            tracing::info!(server = %self.shown, "A pool stands before the database: statements are not prepared");
        }
    }
}

/// Takes the parameters that are ours out of a URL.
fn split(url: &str) -> Result<(String, Own), String> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err("must begin with postgres://".to_owned());
    }
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let mut own = Own::default();
    let mut rest = Vec::new();
    let mut root_is_set = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
        match (name, &*value) {
            ("sslmode", "verify-ca") => own.checks = Some(Checks::Authority),
            ("sslmode", "verify-full") => own.checks = Some(Checks::Name),
            ("sslrootcert", "system") => root_is_set = true,
            ("sslrootcert", file) => own.root = Some(file.into()),
            ("prepared_statements", "on") => {}
            ("prepared_statements", "off") => own.pooled = true,
            ("prepared_statements", _) => return Err("has prepared_statements, which is on or off".to_owned()),
            ("sslcert" | "sslkey" | "sslcrl" | "passfile" | "service", _) => {
                return Err(format!("has {name}, which is not supported; use a password"));
            }
            _ => rest.push(pair),
        }
    }
    if (own.root.is_some() || root_is_set) && own.checks.is_none() {
        own.checks = Some(Checks::Authority);
    }
    if own.checks.is_some() {
        rest.push("sslmode=require");
    }
    let query = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
    Ok((format!("{before}{query}"), own))
}

fn tls(own: &Own) -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    match (&own.root, own.checks) {
        (Some(file), _) => {
            let wrong = |error: String| format!("names {} as sslrootcert: {error}", file.display());
            let found = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("there is no certificate in it".to_owned()));
            }
        }
        (None, Some(_)) => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        (None, None) => {}
    }
    verify::client(roots, own.checks)
        .map(MakeRustlsConnect::new)
        .map_err(|error| format!("can't be used with TLS: {error}"))
}

/// Server and database, for people.
fn shown(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(at, host)| {
            let port = config.get_ports().get(at).or(config.get_ports().first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(folder) => format!("{} ({port})", folder.display()),
            }
        })
        .collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().or(config.get_user()).unwrap_or_default())
}

/// Reads what the server sends, for as long as the connection lives, in the runtime of whoever has opened it.
fn drive<S>(mut connection: tokio_postgres::Connection<Socket, S>, hear: impl Fn(Notification) + Send + 'static)
where
    S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        // An error ends the statements that wait, which tell of it.
        while let Some(Ok(message)) = std::future::poll_fn(|ctx| connection.poll_message(ctx)).await {
            if let AsyncMessage::Notification(notification) = message {
                hear(notification);
            }
        }
    });
}

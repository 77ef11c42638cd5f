//! The credential proxy: the CLI asks it instead of the API, with a token of its attempt, and it adds the account's key.
//!
//! *Owns* the account's key within a worker, the tokens of attempts, and the count of what each has spent. *Talks to* the
//! CLI on loopback and to the API's address. *Promises* that no process of a task ever holds the key; that a token is
//! good for its attempt, for the API's own paths, and while the attempt's budget lasts; and that an answer is passed on
//! as it comes. When the worker dies, its tokens are worth nothing.
//!
//! Decided against: a Unix socket, which the CLI can't be given as an address; an asynchronous HTTP client beside the one
//! that sends webhooks. A call of a model takes a thread for seconds, and a worker has few at a time.

mod estimate;
mod meter;
mod price;
mod server;
mod upstream;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sha2::{Digest as _, Sha256};

use crate::config::{Claude, Environment};
use crate::process;
use domain::{Spent, Usd};
pub use estimate::Estimate;
use meter::Meter;
use upstream::Upstream;

/// Variables that say whom the CLI asks, and with what: the proxy knows them, the CLI does not.
const KEPT: [&str; 4] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS"];
/// Credentials that are not the API's key: the CLI signs its requests with them itself.
const OTHERS: [&str; 3] = ["CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"];

/// Attempts by the hash of their token.
type Passes = Mutex<HashMap<[u8; 32], Arc<Meter>>>;

/// The proxy of a worker. Clones share it.
#[derive(Clone)]
pub struct Proxy {
    url: String,
    passes: Arc<Passes>,
}

impl Proxy {
    /// Starts the proxy on a free port of loopback. `None` where it is turned off, or where the CLI's credential is none
    /// that can be added for it.
    ///
    /// # Errors
    /// The system gives no port, or a certificate can't be read.
    pub fn start(claude: &Claude) -> io::Result<Option<Self>> {
        let has = |name: &str| claude.environment.iter().any(|(key, value)| key == name && !value.is_empty());
        let is_key = has("ANTHROPIC_API_KEY") || has("ANTHROPIC_AUTH_TOKEN");
        if !claude.agent.proxy || !is_key || OTHERS.iter().any(|name| has(name)) {
            return Ok(None);
        }
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let proxy = Self { url: format!("http://{}", listener.local_addr()?), passes: Arc::default() };
        server::run(listener, Arc::clone(&proxy.passes), Upstream::new(&claude.environment)?)?;
        Ok(Some(proxy))
    }

    /// Takes what the CLI is not to know out of its environment, and names the proxy.
    #[must_use]
    pub fn environment(&self, of: &Environment) -> Environment {
        let mut ours: Environment = of.iter().filter(|(name, _)| !KEPT.contains(&name.as_str())).cloned().collect();
        ours.push(("ANTHROPIC_BASE_URL".to_owned(), self.url.clone()));
        for name in ["NO_PROXY", "no_proxy"] {
            let others = of.iter().find(|(key, _)| key == name).map(|(_, value)| format!("{value},"));
            ours.retain(|(key, _)| key != name);
            ours.push((name.to_owned(), format!("{}127.0.0.1", others.unwrap_or_default())));
        }
        ours
    }

    /// Lets one attempt in, for as long as the pass is held.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn let_in(&self) -> io::Result<Pass> {
        let token = format!("sk-attempt-{}", process::secret()?);
        let meter = Arc::new(Meter::default());
        lock(&self.passes).insert(hash(&token), Arc::clone(&meter));
        Ok(Pass { token, meter, passes: Arc::downgrade(&self.passes) })
    }
}

/// Right of one attempt to ask the API. Dropped, its token is worth nothing.
pub struct Pass {
    token: String,
    meter: Arc<Meter>,
    passes: Weak<Passes>,
}

impl Pass {
    /// The variable that shows it.
    #[must_use]
    pub fn variable(&self) -> (String, String) {
        ("ANTHROPIC_API_KEY".to_owned(), self.token.clone())
    }

    /// Lets the attempt spend this at most.
    pub fn limit(&self, budget: Option<Usd>) {
        self.meter.limit(budget);
    }

    /// What the attempt has spent; `None` where it has asked nothing.
    #[must_use]
    pub fn spent(&self) -> Option<Spent> {
        self.meter.spent()
    }

    /// End of the account's limit, in seconds of Unix time, where the newest answer was that it is reached.
    #[must_use]
    pub fn limit_resets_at(&self) -> Option<i64> {
        self.meter.resets_at()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(passes) = self.passes.upgrade() {
            lock(&passes).remove(&hash(&self.token));
        }
    }
}

/// What an answer in a stream has cost that comes in parts of this length.
pub fn counted(answer: &[u8], length: usize) -> Option<Spent> {
    let meter = Meter::default();
    let mut passing = meter::Answer::new(&meter, true);
    answer.chunks(length).for_each(|part| passing.pass(part));
    drop(passing);
    meter.spent()
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn lock(passes: &Passes) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Meter>>> {
    passes.lock().unwrap_or_else(PoisonError::into_inner)
}

//! API keys: who asks, what for, and whether the key is good. Knows no HTTP.
//!
//! Keys stand in the settings (`API_KEY`, which may do everything, and `API_KEYS`) or in the database, as hashes. The
//! stored ones are read again when they are asked for and the last look is a second old, so that a key that another
//! process has made, rotated or revoked is known as such within that time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::sign_in::SignIn;
use crate::config::DEFAULT_KEY;
use crate::process::wall_now;
use crate::queue::{Queue, QueueError, ReadKeys, StoredKey, TouchKey};
use domain::Timestamp;
use wire::{KeyLimits, KeyRights, KeyScope};

/// Time for which the stored keys are known without another look.
const FRESH: Duration = Duration::from_secs(1);
/// Shortest time between two notes of a key's use.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Scopes of a key of `API_KEYS`: everything but the administration.
const NAMED: [KeyScope; 3] = [KeyScope::Read, KeyScope::Submit, KeyScope::Decide];

/// Who asks: the name of a key, and its rights.
#[derive(Clone, Debug)]
pub struct Caller {
    name: Arc<str>,
    rights: Arc<KeyRights>,
}

impl Caller {
    /// A key with these rights.
    pub fn new(name: &str, rights: KeyRights) -> Self {
        Self { name: name.into(), rights: Arc::new(rights) }
    }

    /// The operator: everything, under the name of the first key.
    #[must_use]
    pub fn operator() -> Self {
        Self::new(DEFAULT_KEY, KeyRights::of(&[KeyScope::Admin]))
    }

    /// Name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rights of the key.
    #[must_use]
    pub fn rights(&self) -> &KeyRights {
        &self.rights
    }

    /// Limits of the key.
    #[must_use]
    pub fn limits(&self) -> &KeyLimits {
        &self.rights.limits
    }

    /// True if it may do everything, and sees what all keys have.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.rights.scopes.contains(&KeyScope::Admin)
    }

    /// True if it may use this part of the API.
    #[must_use]
    pub fn may(&self, scope: KeyScope) -> bool {
        self.is_admin() || self.rights.scopes.contains(&scope)
    }

    /// True if it sees what this key has.
    #[must_use]
    pub fn sees(&self, key: &str) -> bool {
        self.is_admin() || *self.name == *key
    }

    /// Name of the key whose things it sees; `None`: those of all keys.
    #[must_use]
    pub fn own(&self) -> Option<String> {
        (!self.is_admin()).then(|| self.name.to_string())
    }
}

/// SHA-256 of a secret, in hexadecimal.
#[must_use]
pub fn hash_of(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Every key of this server. Clones share what they know.
#[derive(Clone)]
pub struct KeyRing {
    /// Keys of the settings, each with the hash of its secret. `None`: no key is needed.
    fixed: Option<Arc<Vec<(Caller, String)>>>,
    sign_in: Option<SignIn>,
    queue: Queue,
    stored: Arc<Mutex<Known>>,
}

/// The stored keys, as far as they are known.
#[derive(Default)]
struct Known {
    read_at: Option<Instant>,
    keys: Vec<StoredKey>,
    touched: HashMap<String, Instant>,
}

/// Reason for which a stored key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum NotGood {
    /// The key was revoked.
    Revoked,
    /// The key has expired.
    Expired,
    /// Its rights can't be read by this version.
    Unreadable,
}

impl KeyRing {
    /// Accepts every request, as the operator's.
    #[must_use]
    pub fn open(queue: Queue) -> Self {
        Self { fixed: None, sign_in: None, queue, stored: Arc::default() }
    }

    /// Accepts the operator's key, further keys of the settings, and those of the database.
    #[must_use]
    pub fn new(queue: Queue, operator: &SecretString, named: &[(String, SecretString)]) -> Self {
        let mut fixed = vec![(Caller::operator(), hash_of(operator.expose_secret()))];
        let plain = |name: &str| Caller::new(name, KeyRights::of(&NAMED));
        fixed.extend(named.iter().map(|(name, key)| (plain(name), hash_of(key.expose_secret()))));
        let sign_in = Some(SignIn::new(operator.expose_secret(), wall_now()));
        Self { fixed: Some(Arc::new(fixed)), sign_in, queue, stored: Arc::default() }
    }

    /// True if no key is needed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.fixed.is_none()
    }

    /// What browsers sign in with; `None` where no key is needed.
    #[must_use]
    pub const fn sign_in(&self) -> Option<&SignIn> {
        self.sign_in.as_ref()
    }

    /// Returns the hash of a key's secret.
    ///
    /// # Errors
    /// The stored keys can't be read.
    pub async fn hash_of_name(&self, name: &str) -> Result<Option<String>, QueueError> {
        let fixed = self.fixed.iter().flat_map(|fixed| fixed.iter());
        if let Some((_, hash)) = fixed.into_iter().find(|(caller, _)| caller.name() == name) {
            return Ok(Some(hash.clone()));
        }
        self.refresh().await?;
        Ok(self.known().keys.iter().find(|key| key.name == name).map(|key| key.hash.clone()))
    }

    /// The keys of the settings.
    pub fn of_settings(&self) -> impl Iterator<Item = &Caller> {
        self.fixed.iter().flat_map(|fixed| fixed.iter().map(|(caller, _)| caller))
    }

    /// Returns the key with this secret, if it is good. Compared with all of them, so that the time tells nothing.
    ///
    /// # Errors
    /// The stored keys can't be read.
    pub async fn find(&self, shown: &str) -> Result<Option<Caller>, QueueError> {
        let Some(fixed) = &self.fixed else { return Ok(Some(Caller::operator())) };
        let hash = hash_of(shown);
        let mut found = None;
        for (caller, known) in fixed.iter() {
            if is_same(known, &hash) {
                found = Some(caller.clone());
            }
        }
        if found.is_some() {
            return Ok(found);
        }
        self.refresh().await?;
        let now = wall_now();
        let matching = self.known().keys.iter().fold(None, |found, key| {
            if is_same(&key.hash, &hash) | key.has_previous(&hash, now) { Some(key.clone()) } else { found }
        });
        let Some(key) = matching else { return Ok(None) };
        match Self::judge(&key, now) {
            Ok(caller) => {
                self.touch(&key.name, now);
                Ok(Some(caller))
            }
            Err(why) => {
                tracing::warn!(key = key.name, why = <&str>::from(why), "A key was shown that is not good any more");
                Ok(None)
            }
        }
    }

    /// Returns the key of that name, where something is done in its name without its secret: a schedule fires, a stream
    /// goes on. One that is in neither place is one of another process's settings.
    ///
    /// # Errors
    /// The stored keys can't be read.
    pub async fn named(&self, name: &str) -> Result<Result<Caller, NotGood>, QueueError> {
        if name == DEFAULT_KEY {
            return Ok(Ok(Caller::operator()));
        }
        if let Some(caller) = self.of_settings().find(|caller| caller.name() == name) {
            return Ok(Ok(caller.clone()));
        }
        self.refresh().await?;
        let found = self.known().keys.iter().find(|key| key.name == name).cloned();
        Ok(found.map_or_else(|| Ok(Caller::new(name, KeyRights::of(&NAMED))), |key| Self::judge(&key, wall_now())))
    }

    /// Lets the next look read the stored keys.
    pub fn forget(&self) {
        self.known().read_at = None;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn refresh(&self) -> Result<(), QueueError> {
        if self.known().read_at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(());
        }
        let keys = self.queue.ask(ReadKeys).await?;
        let mut known = self.known();
        (known.read_at, known.keys) = (Some(Instant::now()), keys);
        Ok(())
    }

    fn judge(key: &StoredKey, now: Timestamp) -> Result<Caller, NotGood> {
        match &key.rights {
            _ if key.revoked_at.is_some() => Err(NotGood::Revoked),
            _ if key.expires_at.is_some_and(|at| at <= now) => Err(NotGood::Expired),
            Ok(rights) => Ok(Caller { name: key.name.as_str().into(), rights: Arc::clone(rights) }),
            Err(_) => Err(NotGood::Unreadable),
        }
    }

    fn touch(&self, name: &str, at: Timestamp) {
        let mut known = self.known();
        if known.touched.get(name).is_some_and(|at| at.elapsed() < TOUCH_EVERY) {
            return;
        }
        known.touched.insert(name.to_owned(), Instant::now());
        let (queue, touch) = (self.queue.clone(), TouchKey { name: name.to_owned(), at });
        actix::spawn(async move {
            if let Err(error) = queue.ask(touch).await {
                tracing::debug!(error = crate::telemetry::chain(&error), "The use of a key was not noted");
            }
        });
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

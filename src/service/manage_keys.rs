//! Making, rotating and revoking stored API keys.

use super::keys::hash_of;
use super::{Kind, Refusal, Service};
use crate::config::DEFAULT_KEY;
use crate::process::{self, wall_now};
use crate::queue::{ApiKeyRow, CreateKey, KeyChanged, RevokeKey, RotateKey, StoredKey};
use domain::Timestamp;
use wire::request::NewKey;
use wire::response::Key;
use wire::{KeyRights, check_key_name};

/// A new secret of a key. It is shown this once.
pub struct KeySecret {
    /// Name of the key.
    pub name: String,
    /// The secret.
    pub key: String,
    /// Time at which the key expires.
    pub expires_at: Option<Timestamp>,
}

/// Beginning of each secret, by which people and scanners know one.
const PREFIX: &str = "cca_";

fn new_secret() -> Result<String, Refusal> {
    let secret = process::secret().map_err(|error| {
        Refusal::new(Kind::Unavailable, "NO_RANDOMNESS", format!("the system gives no random bytes: {error}"))
    })?;
    Ok(format!("{PREFIX}{secret}"))
}

/// Makes a key.
///
/// # Errors
/// A field breaks a rule, the name is taken, or the store does not answer.
pub async fn create_key(service: &Service, new: NewKey) -> Result<KeySecret, Refusal> {
    let NewKey { name, scopes, roots, max_permission_mode, limits, expires_at } = new;
    check_key_name(&name)?;
    let now = wall_now();
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Refusal::invalid("expiresAt", "must lie in the future"));
    }
    let roots = resolved(roots).await?;
    let rights = KeyRights { scopes, roots, max_permission_mode, limits };
    rights.validate()?;
    let taken = || {
        let message = format!("there is or was a key {name}; choose another name: tasks are counted under it");
        Refusal::new(Kind::Conflict, "KEY_EXISTS", message)
    };
    if service.keys.of_settings().any(|key| key.name() == name) || name == DEFAULT_KEY {
        return Err(taken());
    }
    let key = new_secret()?;
    let row = ApiKeyRow {
        name: name.clone(),
        hash: hash_of(&key),
        previous_hash: None,
        previous_until: None,
        rights: serde_json::to_string(&rights).map_err(|error| Refusal::invalid("body", error.to_string()))?,
        daily_budget_usd: rights.limits.daily_budget_usd,
        created_at: now.0,
        expires_at: expires_at.map(|at| at.0),
        revoked_at: None,
        last_used_at: None,
    };
    if !service.queue.ask(CreateKey { row, max_running: rights.limits.max_running }).await? {
        return Err(taken());
    }
    service.keys.forget();
    Ok(KeySecret { name, key, expires_at })
}

/// The folders as the kernel knows them: a link below a root must not lead out of it.
async fn resolved(roots: Vec<String>) -> Result<Vec<String>, Refusal> {
    let mut found = Vec::with_capacity(roots.len());
    for root in roots {
        let invalid = |rule: String| Refusal::invalid("roots", format!("\"{root}\" {rule}"));
        if !root.starts_with('/') {
            return Err(invalid("must be an absolute path".to_owned()));
        }
        let folder =
            process::resolve(root.as_str().into()).await.map_err(|error| invalid(format!("can't be used: {error}")))?;
        match folder.path.to_str() {
            Some(path) if folder.is_dir => found.push(path.to_owned()),
            _ => return Err(invalid("must be a folder with a name in UTF-8".to_owned())),
        }
    }
    Ok(found)
}

/// Gives a key another secret; the old one works for `grace_ms` milliseconds more.
///
/// # Errors
/// There is no such stored key, it was revoked, or the store does not answer.
pub async fn rotate_key(service: &Service, name: &str, grace_ms: i64) -> Result<KeySecret, Refusal> {
    let key = new_secret()?;
    let rotate = RotateKey { name: name.to_owned(), hash: hash_of(&key), grace_ms };
    let changed = changed(service, name, service.queue.ask(rotate).await?)?;
    Ok(KeySecret { name: changed.name, key, expires_at: changed.expires_at })
}

/// Revokes a key.
///
/// # Errors
/// There is no such stored key, or the store does not answer.
pub async fn revoke_key(service: &Service, name: &str) -> Result<Key, Refusal> {
    let changed = changed(service, name, service.queue.ask(RevokeKey(name.to_owned())).await?)?;
    Ok(key_view(&changed))
}

fn changed(service: &Service, name: &str, changed: KeyChanged) -> Result<StoredKey, Refusal> {
    service.keys.forget();
    match changed {
        KeyChanged::Done(key) => Ok(*key),
        KeyChanged::Revoked => {
            let message = format!("the key {name} was revoked; make a new one");
            Err(Refusal::new(Kind::Conflict, "KEY_REVOKED", message))
        }
        KeyChanged::Unknown if service.keys.of_settings().any(|key| key.name() == name) => {
            let message = format!("the key {name} stands in the settings (API_KEY, API_KEYS); change it there");
            Err(Refusal::new(Kind::Conflict, "KEY_OF_SETTINGS", message))
        }
        KeyChanged::Unknown => {
            Err(Refusal::new(Kind::Unknown, "KEY_NOT_FOUND", format!("there is no key {name}; see GET /api/keys")))
        }
    }
}

/// A stored key as the outside sees it.
#[must_use]
pub fn key_view(key: &StoredKey) -> Key {
    let none = KeyRights::default();
    let rights = key.rights.as_deref().unwrap_or(&none);
    Key {
        name: key.name.clone(),
        scopes: rights.scopes.iter().copied().map(Into::into).collect(),
        roots: rights.roots.clone(),
        max_permission_mode: rights.max_permission_mode.map(Into::into),
        limits: rights.limits.clone(),
        from_settings: false,
        created_at: Some(key.created_at),
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
        last_used_at: key.last_used_at,
        unreadable: key.rights.as_ref().err().cloned(),
    }
}

//! Secrets of keys: sealed with the operator's key before they are stored, and never read back by a client.

use std::sync::Arc;
use std::time::Duration;

use seal::{Keys, SealError, bound_to};
use serde_json::json;
use wire::response::SecretView;
use wire::{TaskSecret, TaskSpec, check_secret_name, check_secret_value};

use super::{Caller, Kind, Refusal, Service};
use crate::queue::{PutSecret, ReadSecrets, RemoveSecret, ResealSecret, SecretRow};
use crate::telemetry::chain;

/// Maximum number of secrets of a key.
const MOST: usize = 200;
/// Time between two looks for secrets that are sealed with an old key.
const RESEAL_EVERY: Duration = Duration::from_secs(600);

fn keys(service: &Service) -> Result<&Arc<Keys>, Refusal> {
    service.secrets.as_ref().ok_or_else(|| {
        let message = "this server stores no secrets: set SECRETS_KEY_FILE, for it and for its workers";
        Refusal::new(Kind::Unavailable, "SECRETS_OFF", message)
    })
}

/// Stores a secret of the caller's key. Returns it, and whether it is new.
///
/// # Errors
/// The name or the value breaks a rule, or the server stores none.
pub async fn put(service: &Service, caller: &Caller, name: &str, value: &str) -> Result<(SecretView, bool), Refusal> {
    check_secret_name("name", name)?;
    check_secret_value(value)?;
    let (keys, key) = (keys(service)?, caller.name().to_owned());
    let known = service.queue.ask(ReadSecrets(Some(key.clone()))).await?;
    if known.len() >= MOST && known.iter().all(|one| one.name != name) {
        return Err(Refusal::new(
            Kind::Full,
            "TOO_MANY_SECRETS",
            format!("a key has at most {MOST} secrets; remove one"),
        ));
    }
    let sealed = keys.seal(&bound_to(&key, name), value.as_bytes()).map_err(no_randomness)?;
    let put = service.queue.ask(PutSecret { key, name: name.to_owned(), sealed }).await?;
    Ok((view(put.row), put.is_new))
}

fn no_randomness(error: SealError) -> Refusal {
    Refusal::new(Kind::Unavailable, "NO_RANDOMNESS", error.to_string())
}

/// Returns the secrets that the caller sees.
///
/// # Errors
/// The store's.
pub async fn list(service: &Service, caller: &Caller) -> Result<Vec<SecretView>, Refusal> {
    Ok(service.queue.ask(ReadSecrets(caller.own())).await?.into_iter().map(view).collect())
}

/// Removes a secret of the caller's key.
///
/// # Errors
/// There is none of that name.
pub async fn remove(service: &Service, caller: &Caller, name: &str) -> Result<(), Refusal> {
    let remove = RemoveSecret { key: caller.name().to_owned(), name: name.to_owned() };
    if service.queue.ask(remove).await? { Ok(()) } else { Err(unknown(name)) }
}

fn unknown(name: &str) -> Refusal {
    let message = format!("the key has no secret {name}; store it with PUT /api/secrets/{name}");
    Refusal::new(Kind::Unknown, "SECRET_NOT_FOUND", message).with(json!({ "name": name }))
}

fn view(row: SecretRow) -> SecretView {
    SecretView { name: row.name, key: row.key_name, created_at: row.created_at, updated_at: row.updated_at }
}

/// Refuses a task that asks for a secret which its key has not.
pub async fn check(service: &Service, caller: &Caller, spec: &TaskSpec) -> Result<(), Refusal> {
    if spec.secrets.is_empty() {
        return Ok(());
    }
    keys(service)?;
    let known = service.queue.ask(ReadSecrets(Some(caller.name().to_owned()))).await?;
    let lacks = |wanted: &&TaskSecret| known.iter().all(|one| one.name != wanted.name);
    spec.secrets.iter().find(lacks).map_or(Ok(()), |lacking| Err(unknown(&lacking.name)))
}

/// Seals with the operator's newest key what is sealed with an older one, for as long as the process lives.
pub async fn reseal_forever(service: Service) {
    let Some(keys) = service.secrets.clone() else { return };
    loop {
        if service.leadership.is_ours() {
            match reseal(&service, &keys).await {
                Ok(0) => {}
                Ok(secrets) => tracing::info!(secrets, "Sealed secrets with the newest key"),
                Err(refusal) => tracing::warn!(error = refusal.message, "Secrets could not be sealed anew"),
            }
        }
        tokio::time::sleep(RESEAL_EVERY).await;
    }
}

async fn reseal(service: &Service, keys: &Keys) -> Result<usize, Refusal> {
    let mut done = 0;
    for row in service.queue.ask(ReadSecrets(None)).await?.into_iter().filter(|row| !keys.is_newest(&row.sealed)) {
        let bound = bound_to(&row.key_name, &row.name);
        match keys.open(&bound, &row.sealed) {
            Ok(value) => {
                let sealed = keys.seal(&bound, &value).map_err(no_randomness)?;
                done += usize::from(service.queue.ask(ResealSecret { row, sealed }).await?);
            }
            Err(error) => {
                tracing::warn!(key = row.key_name, name = row.name, error = chain(&error), "A secret can't be opened");
            }
        }
    }
    Ok(done)
}

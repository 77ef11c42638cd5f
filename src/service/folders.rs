//! Folders that clients name: which of them tasks may use.

use std::io::ErrorKind;
use std::path::{Component, Path};

use serde_json::json;

use super::{Caller, Kind, Refusal, Service};
use crate::process::{self, Resolved};

/// The resolved folder, if a task of this key may use it.
pub async fn folder(service: &Service, caller: &Caller, field: &'static str, named: &str) -> Result<String, Refusal> {
    let found = resolve(service, caller, field, named).await?;
    match (found.is_dir, found.path.to_str()) {
        (true, Some(found)) => Ok(found.to_owned()),
        (true, None) => Err(Refusal::invalid(field, "must be a name in UTF-8")),
        (false, _) => Err(Refusal::invalid(field, format!("\"{named}\" is not a folder"))),
    }
}

/// A disk, or a network behind it, that does not answer: the same may work in a while.
pub fn unreachable_folder(field: &str, error: &std::io::Error) -> Refusal {
    let message = format!("{field}: the folder does not answer ({error}); is it on a network that is down?");
    Refusal::new(Kind::Unavailable, "FOLDER_UNAVAILABLE", message).with(json!({ "field": field }))
}

/// The resolved path, if a task of this key may use it. Compared by component, never as text.
pub async fn resolve(
    service: &Service,
    caller: &Caller,
    field: &'static str,
    named: &str,
) -> Result<Resolved, Refusal> {
    let path = Path::new(named);
    if !path.is_absolute() {
        return Err(Refusal::invalid(field, format!("must be an absolute path, got \"{named}\"")));
    }
    let roots = &service.claude.workspace_roots;
    let own_roots = &caller.rights().roots;
    let is_ours = |path: &Path| {
        let climbs = path.components().any(|part| part == Component::ParentDir);
        let is_own = own_roots.is_empty() || own_roots.iter().any(|root| path.starts_with(root));
        !climbs && is_own && roots.iter().any(|root| path.starts_with(root))
    };
    let outside = || {
        let (roots, whose): (Vec<String>, _) = match own_roots.is_empty() {
            true => (roots.iter().map(|root| root.display().to_string()).collect(), "WORKSPACE_ROOTS"),
            false => (own_roots.clone(), "roots of the key"),
        };
        let below = roots.join(" or ");
        let message = format!(
            "{field}: \"{named}\" is outside the folders that tasks may use: name one below {below}, or change {whose}"
        );
        Refusal::forbidden("PATH_NOT_ALLOWED", message).with(json!({ "field": field, "workspaceRoots": roots }))
    };
    let found = match process::resolve(path.to_owned()).await {
        Ok(found) => found,
        // Whether something outside exists is none of the client's business.
        Err(_) if !is_ours(path) => return Err(outside()),
        Err(error) if error.kind() == ErrorKind::TimedOut => return Err(unreachable_folder(field, &error)),
        Err(_) => return Err(Refusal::invalid(field, format!("\"{named}\" does not exist"))),
    };
    if !is_ours(&found.path) {
        return Err(outside());
    }
    if found.path.starts_with(&service.data_dir) {
        let message = format!(
            "{field}: \"{named}\" is inside the folder with the service's own data: name another one, or keep the data elsewhere (DB_PATH)"
        );
        return Err(Refusal::forbidden("PATH_NOT_ALLOWED", message).with(json!({ "field": field })));
    }
    Ok(found)
}

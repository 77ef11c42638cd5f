//! The secrets that a process knows, to be masked in texts of others.

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::Config;
use crate::telemetry::{Masker, hide};

/// Files of secrets in the data folder.
const FILES: [&str; 2] = ["api-key", "webhook-secret"];
/// Parts of the names of variables whose values are secrets.
const NAMES: [&str; 5] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "HEADERS"];

/// Lets this process know its secrets: those of the settings, of the CLI's environment, and of the data folder as far as
/// they are there by now.
///
/// # Errors
/// A pattern can't be read.
pub fn hide_secrets(config: &Config) -> anyhow::Result<()> {
    let server = &config.server;
    let of_settings = [&server.api_key, &server.webhook_secret, &config.link_token].into_iter().flatten();
    let of_settings = of_settings.chain(server.named_keys.iter().map(|(_, key)| key)).map(SecretString::expose_secret);
    let is_secret = |name: &str| NAMES.iter().any(|part| name.to_uppercase().contains(part));
    let of_cli = config.claude.environment.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.as_str());
    let read = |name: &str| std::fs::read_to_string(config.store.data_dir.join(name)).ok();
    let files: Vec<String> = FILES.into_iter().filter_map(read).collect();
    let database = config.store.database_passwords();
    let of_settings = of_settings.chain(database.iter().map(String::as_str));
    hide(Masker::new(of_settings.chain(of_cli).chain(files.iter().map(String::as_str)), &config.mask_patterns)?)?;
    Ok(())
}

//! Repositories by their address, for workers that share no disk with the client.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spec::invalid;
use domain::Invalid;

/// Protocols of addresses.
const PROTOCOLS: [&str; 3] = ["https", "ssh", "file"];
/// Maximum length of an address or a revision, in bytes.
const MAX_BYTES: usize = 1_024;

/// A repository, and the commit at which work on it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoteRepository {
    /// Address: `https://HOST/PATH`, `ssh://USER@HOST/PATH` or `file:///PATH`, without a password.
    pub url: String,
    /// Branch, tag or commit at which it begins; the repository's default branch where it isn't set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl RemoteRepository {
    /// Checks the form of the address and of the revision.
    ///
    /// # Errors
    /// The field that breaks a rule.
    pub fn validate(&self) -> Result<(), Invalid> {
        let field = "context.repository.url";
        if let Err(rule) = check_url(&self.url) {
            return invalid(field, format!("{rule}, got {:?}", self.url));
        }
        match &self.revision {
            Some(revision) if !is_revision(revision) => invalid(
                "context.repository.revision",
                format!("must be the name of a branch or a tag, or a commit, got {revision:?}"),
            ),
            _ => Ok(()),
        }
    }

    /// The protocol of its address.
    #[must_use]
    pub fn protocol(&self) -> &str {
        self.url.split(':').next().unwrap_or_default()
    }

    /// True if the address is this one or below it, part by part.
    #[must_use]
    pub fn is_below(&self, allowed: &str) -> bool {
        let rest = self.url.strip_prefix(allowed.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Checks an address, or the beginning of one. Only plain characters: what is compared is what is asked for.
///
/// # Errors
/// The rule that it breaks.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    const FORM: &str =
        "must be https://HOST/PATH, ssh://USER@HOST/PATH or file:///PATH, of letters, digits and . _ ~ + -";
    let Some((protocol, rest)) = url.split_once("://") else { return Err(FORM) };
    if !PROTOCOLS.contains(&protocol) || url.len() > MAX_BYTES {
        return Err(FORM);
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = host.split_once('@').map_or((None, host), |(user, host)| (Some(user), host));
    if user.is_some() && protocol != "ssh" {
        return Err("must not hold a name or a password; the operator sets GIT_CREDENTIALS");
    }
    let is_word = |word: &str, more: &[u8]| {
        !word.is_empty()
            && !word.starts_with('-')
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_host = if protocol == "file" { host.is_empty() } else { is_word(name, b".-") };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let is_user = user.is_none_or(|user| is_word(user, b"._-"));
    let parts = path.strip_suffix('/').unwrap_or(path);
    let is_path =
        parts.is_empty() || parts.split('/').all(|part| is_word(part, b"._~+-") && part != "." && part != "..");
    if is_host && is_port && is_user && is_path { Ok(()) } else { Err(FORM) }
}

/// True if git can't take it for anything but a name.
fn is_revision(revision: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/+@-".contains(&byte);
    !revision.is_empty()
        && revision.len() <= MAX_BYTES
        && !revision.starts_with(['-', '/', '.'])
        && revision.bytes().all(plain)
        && !["..", "//", "@{", "/."].iter().any(|part| revision.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(url: &str) -> RemoteRepository {
        RemoteRepository { url: url.to_owned(), revision: None }
    }

    #[test]
    fn addresses_are_plain() {
        for good in [
            "https://example.org/a/b.git",
            "https://example.org:8443/a",
            "ssh://git@example.org/a/b",
            "file:///srv/git/a.git",
            "https://example.org/",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "https://",
            "http://example.org/a",
            "ext::sh -c x",
            "git@example.org:a/b",
            "https://u:p@example.org/a",
            "https://u@example.org/a",
            "https://example.org/../a",
            "https://example.org/a/./b",
            "https://example.org//a",
            "https://example.org/%2e%2e/a",
            "https://example.org/a?b",
            "https://example.org/a#b",
            "https://-x/a",
            "ssh://-oProxyCommand=x/a",
            "file://host/a",
            "https://example.org/a b",
            "https://example.org\\@evil/a",
            "https://example.org:x/a",
            "ssh://git@-x/a",
            "https://example.org/-a",
            "HTTPS://example.org/a",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_below_another_part_by_part() {
        let team = "https://example.org/team/";
        assert!(at("https://example.org/team/a").is_below(team));
        assert!(at("https://example.org/team").is_below(team));
        assert!(!at("https://example.org/teams/a").is_below(team));
        assert!(!at("https://example.org.evil/team/a").is_below("https://example.org"));
    }

    proptest! {
        #[test]
        fn nothing_that_is_accepted_leads_out_of_what_is_allowed(rest in "[a-z./@:%?#\\\\-]{0,24}") {
            let one = at(&format!("https://example.org/team/{rest}"));
            if one.validate().is_ok() {
                prop_assert!(one.is_below("https://example.org/team/"));
                prop_assert!(!one.url.split('/').any(|part| part == ".."));
            }
            let revision = RemoteRepository { revision: Some(rest.clone()), ..at("https://example.org/a") };
            if revision.validate().is_ok() {
                prop_assert!(!rest.contains("..") && !rest.contains([':', '?', '^', ' ', '\\']) && !rest.starts_with('-'));
            }
        }
    }
}

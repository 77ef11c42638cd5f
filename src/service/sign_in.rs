//! Signing in with a browser: one-time codes that a terminal shows, and the cookies that follow.
//!
//! Nothing is stored. Both are signed with what only those know who have the operator's key; a cookie names a key, and is
//! good for as long as that key is the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::keys::{Caller, KeyRing, hash_of};
use crate::config::DEFAULT_KEY;
use crate::queue::QueueError;
use domain::Timestamp;

/// Time for which a code is good, in milliseconds.
const CODE_MS: i64 = 10 * 60_000;
/// Time for which a cookie is good, in milliseconds: thirty days.
pub const COOKIE_MS: i64 = 30 * Timestamp::DAY_MS;
/// Codes that are remembered as used. Each needed the operator's key to be made.
const MAX_USED: usize = 10_000;

/// Makes and checks codes and cookies. Clones share what was used.
#[derive(Clone)]
pub struct SignIn {
    key: Arc<str>,
    used: Arc<Mutex<HashMap<String, i64>>>,
    /// Codes from before are refused: it isn't known whether they were used.
    since: i64,
}

/// A cookie that is good.
#[derive(Clone, Debug)]
pub struct Session {
    /// The key that it names.
    pub caller: Caller,
    /// Token of the forms of its pages.
    pub token: String,
    /// End of the cookie.
    pub expires_at: Timestamp,
}

impl SignIn {
    /// Signs with the operator's key, from now on.
    #[must_use]
    pub fn new(operator: &str, now: Timestamp) -> Self {
        Self { key: hash_of(operator).into(), used: Arc::default(), since: now.0 }
    }

    /// A code that its owner may show once. It ends in ten minutes.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn code(&self, now: Timestamp) -> std::io::Result<String> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
        let head = format!("{}.{}", now.0, BASE64.encode(nonce));
        Ok(format!("K{head}.{}", self.sign("code", &head)))
    }

    /// Takes a code. Returns false for one that is not ours, too old, or was shown before.
    #[must_use]
    pub fn redeem(&self, code: &str, now: Timestamp) -> bool {
        let Some((head, mac)) = code.trim().strip_prefix('K').and_then(|code| code.rsplit_once('.')) else {
            return false;
        };
        let made = head.split_once('.').and_then(|(made, _)| made.parse::<i64>().ok());
        let Some(made) = made.filter(|_| is_same(mac, &self.sign("code", head))) else { return false };
        // The clocks of two processes of one machine are the same.
        if made < self.since || !(0..=CODE_MS).contains(&now.0.saturating_sub(made)) {
            return false;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, made| now.0 - *made <= CODE_MS);
        used.len() < MAX_USED && used.insert(head.to_owned(), made).is_none()
    }

    /// A cookie for this key, whose secret has this hash.
    #[must_use]
    pub fn cookie(&self, name: &str, hash: &str, now: Timestamp) -> String {
        let head = format!("{}.{}", BASE64.encode(name), now.0 + COOKIE_MS);
        format!("{head}.{}", self.sign_cookie(&head, hash))
    }

    fn sign_cookie(&self, head: &str, hash: &str) -> String {
        self.sign("cookie", &format!("{head}\n{hash}"))
    }

    pub(super) fn sign(&self, what: &str, text: &str) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.as_bytes()) else { return String::new() };
        mac.update(format!("cc-anywhere {what}\n{text}").as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

/// True if these are the same, found out in the same time for all that are not.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    use subtle::ConstantTimeEq as _;
    !other.is_empty() && bool::from(one.as_bytes().ct_eq(other.as_bytes()))
}

impl KeyRing {
    /// A cookie of this key; `None` where keys aren't needed, or the key is gone.
    ///
    /// # Errors
    /// The stored keys can't be read.
    pub async fn cookie(&self, caller: &Caller, now: Timestamp) -> Result<Option<String>, QueueError> {
        let Some(hash) = self.hash_of_name(caller.name()).await? else { return Ok(None) };
        Ok(self.sign_in().map(|sign_in| sign_in.cookie(caller.name(), &hash, now)))
    }

    /// A cookie of the operator for a one-time code.
    ///
    /// # Errors
    /// The stored keys can't be read.
    pub async fn redeem(&self, code: &str, now: Timestamp) -> Result<Option<String>, QueueError> {
        match self.sign_in().is_some_and(|sign_in| sign_in.redeem(code, now)) {
            true => self.cookie(&Caller::operator(), now).await,
            false => Ok(None),
        }
    }

    /// Returns the session of a cookie, if it is good.
    ///
    /// # Errors
    /// The stored keys can't be read.
    pub async fn session(&self, cookie: &str, now: Timestamp) -> Result<Option<Session>, QueueError> {
        let Some(sign_in) = self.sign_in() else { return Ok(None) };
        let parts = cookie.rsplit_once('.').and_then(|(head, mac)| {
            let (name, until) = head.split_once('.')?;
            let name = String::from_utf8(BASE64.decode(name).ok()?).ok()?;
            Some((head, mac, name, until.parse::<i64>().ok()?))
        });
        let Some((head, mac, name, until)) = parts.filter(|(.., until)| *until > now.0) else { return Ok(None) };
        let Some(hash) = self.hash_of_name(&name).await? else { return Ok(None) };
        if !is_same(mac, &sign_in.sign_cookie(head, &hash)) {
            return Ok(None);
        }
        let caller = if name == DEFAULT_KEY { Some(Caller::operator()) } else { self.named(&name).await?.ok() };
        let token = sign_in.sign("form", cookie);
        Ok(caller.map(|caller| Session { caller, token, expires_at: Timestamp(until) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn a_code_is_good_once_and_for_a_while() {
        let sign_in = SignIn::new("the operator's key", NOW);
        // Another process with the same key makes it.
        let terminal = SignIn::new("the operator's key", Timestamp(0));
        let code = terminal.code(NOW).expect("a code");
        assert!(sign_in.redeem(&code, NOW.plus_ms(5)));
        assert!(!sign_in.redeem(&code, NOW.plus_ms(6)), "once");
        let code = terminal.code(NOW).expect("a code");
        assert!(!sign_in.redeem(&code, NOW.plus_ms(CODE_MS + 1)), "too late");
        assert!(!sign_in.redeem(&code, NOW.plus_ms(-1)), "from the future");
        assert!(
            !SignIn::new("the operator's key", NOW.plus_ms(1)).redeem(&code, NOW.plus_ms(2)),
            "from before the start"
        );
        assert!(!SignIn::new("another key", NOW).redeem(&code, NOW), "of another server");
        for spoilt in ["", "K", "K.", "K1.2.3", &code[..code.len() - 1], &code.replace('K', "K0")] {
            assert!(!sign_in.redeem(spoilt, NOW), "{spoilt}");
        }
    }
}

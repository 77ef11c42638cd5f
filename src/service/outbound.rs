//! Requests that we make ourselves: to addresses that are allowed, signed, without following anybody elsewhere.
//!
//! Signed as <https://www.standardwebhooks.com> has it, so that libraries of many languages verify it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::process::wall_now;

/// An attempt takes no longer.
const LIMIT: Duration = Duration::from_secs(15);

/// The way out. Clones share it.
#[derive(Clone)]
pub struct Outbound {
    agent: ureq::Agent,
    secret: SecretString,
    allowed: Arc<[String]>,
}

/// A message to be sent.
pub struct Outgoing<'a> {
    /// Address.
    pub url: &'a str,
    /// Name, the same at each attempt.
    pub id: &'a str,
    /// Secret of the signature; the server's where it isn't set.
    pub secret: Option<&'a str>,
    /// JSON.
    pub body: &'a str,
}

/// An address to which nothing is sent.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The text is not an address.
    #[error("is no address: {0}")]
    NoAddress(#[from] ureq::http::uri::InvalidUri),
    /// The address names no host.
    #[error("names no host")]
    NoHost,
    /// The address has a user or a password, which would stand in logs.
    #[error("must have no user or password")]
    User,
    /// The address belongs to this machine or its network.
    #[error("the address is private; name its host in WEBHOOK_ALLOWED_HOSTS to allow it")]
    Private,
}

impl Outbound {
    /// Signs with this secret where there is no other. Hosts that are `allowed` may have any address.
    #[must_use]
    pub fn new(secret: &SecretString, allowed: &[String]) -> Self {
        let allowed: Arc<[String]> = allowed.iter().map(|host| host.to_lowercase()).collect();
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(LIMIT))
            .user_agent(concat!("cc-anywhere/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = PublicOnlyResolver { default: DefaultResolver::default(), allowed: allowed.clone() };
        Self {
            agent: ureq::Agent::with_parts(config, DefaultConnector::default(), resolver),
            secret: secret.clone(),
            allowed,
        }
    }

    /// Checks what can be seen of an address without asking anybody for it.
    ///
    /// # Errors
    /// The address is none, or nothing is sent to it.
    pub fn check(&self, url: &str) -> Result<(), Unfit> {
        let uri: Uri = url.parse()?;
        let authority = uri.authority().ok_or(Unfit::NoHost)?;
        if authority.as_str().contains('@') {
            return Err(Unfit::User);
        }
        let host = bare(authority.host());
        let is_private = host.parse::<IpAddr>().is_ok_and(|address| !is_public(address));
        if is_private && !self.allowed.contains(&host) { Err(Unfit::Private) } else { Ok(()) }
    }

    /// Sends it, and waits for the answer. Blocks.
    ///
    /// # Errors
    /// Nothing answered.
    pub fn send(&self, message: &Outgoing<'_>) -> Result<u16, ureq::Error> {
        let (id, at) = (message.id, wall_now().0 / 1_000);
        let signature = sign(message.secret.unwrap_or_else(|| self.secret.expose_secret()), id, at, message.body);
        let sent = self
            .agent
            .post(message.url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", signature)
            .send(message.body);
        sent.map(|answer| answer.status().as_u16())
    }
}

/// `v1,` and the HMAC-SHA256 of `id.timestamp.body`. The key is the secret, or what it says in base64 behind `whsec_`.
fn sign(secret: &str, id: &str, at: i64, body: &str) -> String {
    let key = secret.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
    let key = key.unwrap_or_else(|| secret.as_bytes().to_vec());
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// A host as it is compared: in lower case, an IPv6 address without brackets.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_lowercase()
}

/// Resolves a name, and lets through what is public: checked on the very addresses that are connected to.
#[derive(Debug)]
struct PublicOnlyResolver {
    default: DefaultResolver,
    allowed: Arc<[String]>,
}

impl Resolver for PublicOnlyResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.default.resolve(uri, config, timeout)?;
        if self.allowed.contains(&bare(uri.host().unwrap_or_default())) {
            return Ok(found);
        }
        let mut public = self.empty();
        let is_public = |address: &&SocketAddr| is_public(address.ip());
        found.iter().filter(is_public).for_each(|address| public.push(*address));
        if public.is_empty() {
            return Err(ureq::Error::Io(std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
                "its address is private, and not in WEBHOOK_ALLOWED_HOSTS",
            )));
        }
        Ok(public)
    }
}

/// True if an address is one of the internet at large: not of this machine, its network, or a special use
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, and the same for IPv6).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        // Addresses of IPv4 in other clothes: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            is_public_v4(v4(high, low))
        }
        // What is global begins with 001; of that, 2001::/23 and the documentation are special.
        [first, second, ..] => {
            first & 0xe000 == 0x2000 && !(first == 0x2001 && (second < 0x200 || second == 0xdb8)) && first != 0x3fff
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_internet_at_large_is_public() {
        let is = |text: &str| is_public(text.parse().expect("an address"));
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "::127.0.0.1",
        ] {
            assert!(!is(private), "{private}");
        }
        for public in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "2002:101:101::"]
        {
            assert!(is(public), "{public}");
        }
    }

    #[test]
    fn a_signature_is_that_of_the_standard() {
        // The example of <https://github.com/standard-webhooks/standard-webhooks>, in its libraries' tests.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_address_is_checked_before_it_is_asked() {
        let outbound = Outbound::new(&"secret".into(), &["127.0.0.1".to_owned(), "Hooks.internal".to_owned()]);
        for fine in
            ["https://example.com/x", "http://127.0.0.1:9/x", "http://hooks.internal/", "http://[2606:4700::1111]/"]
        {
            assert!(outbound.check(fine).is_ok(), "{fine}");
        }
        for private in ["http://127.0.0.2/", "http://[::1]/", "http://169.254.169.254/latest"] {
            assert!(matches!(outbound.check(private), Err(Unfit::Private)), "{private}");
        }
        for wrong in ["http://", "http://user:word@example.com/", "http://exa mple.com/"] {
            assert!(matches!(outbound.check(wrong), Err(Unfit::NoAddress(_) | Unfit::NoHost | Unfit::User)), "{wrong}");
        }
    }
}

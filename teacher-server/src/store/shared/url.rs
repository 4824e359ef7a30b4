//! Where the shared tier is, checked before anything connects.

use std::{fmt, str::FromStr};

use redis::Client;

/// A Redis or Valkey server and its database: `redis://[user:password@]host[:port][/database]`. Shown, it
/// has no password.
#[derive(Clone)]
pub struct SharedUrl(Client);

/// A URL that is none of a Redis server. Says nothing of it but its scheme: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum SharedUrlError {
    /// Encryption is not built in.
    #[error(
        "{0}:// asks for TLS, which is not built in; use redis:// within a private network, or through \
         a tunnel that encrypts"
    )]
    Tls(String),
    /// Another service.
    #[error("{0}:// is no Redis; expected redis://[user:password@]host[:port][/database]")]
    Scheme(String),
    /// A Redis URL with something wrong in it.
    #[error("redis://...: {cause}; expected redis://[user:password@]host[:port][/database]")]
    Malformed {
        /// What is wrong.
        cause: String,
    },
}

impl SharedUrl {
    pub(super) const fn client(&self) -> &Client {
        &self.0
    }
}

impl FromStr for SharedUrl {
    type Err = SharedUrlError;

    fn from_str(url: &str) -> Result<Self, SharedUrlError> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "redis" | "valkey" => {}
            "rediss" | "valkeys" => return Err(SharedUrlError::Tls(scheme.to_owned())),
            other => return Err(SharedUrlError::Scheme(other.to_owned())),
        }
        let client = Client::open(url);
        client.map(Self).map_err(|cause| SharedUrlError::Malformed { cause: cause.to_string() })
    }
}

impl fmt::Display for SharedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.0.get_connection_info();
        write!(f, "redis://{}/{}", info.addr(), info.redis_settings().db())
    }
}

impl fmt::Debug for SharedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_with_its_defaults_and_without_its_password() {
        for (url, shown) in [
            ("redis://cache", "redis://cache:6379/0"),
            ("valkey://user:secret@cache:7000/3", "redis://cache:7000/3"),
        ] {
            let url: SharedUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_showing_a_password() {
        for (url, said) in [
            ("rediss://:secret@cache", "rediss:// asks for TLS"),
            ("http://:secret@cache", "http:// is no Redis"),
            ("cache:6379", ":// is no Redis"),
            ("redis://:secret@", "expected redis://[user"),
            ("redis://:secret@cache:port", "expected redis://[user"),
            ("redis://:secret@cache/zero", "Invalid database number"),
        ] {
            let refused = url.parse::<SharedUrl>().unwrap_err().to_string();
            assert!(refused.contains(said) && !refused.contains("secret"), "{url}: {refused}");
        }
    }
}

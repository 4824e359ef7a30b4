//! Where the teacher is and how patient the student is; checked once, here.

use std::{fmt, num::NonZeroUsize, str::FromStr, sync::Arc, time::Duration};

use lectern::wire::RowFormat;
use tonic::transport::Uri;

use super::LabelError;

/// The address of a teacher: `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeacherUrl(Arc<Uri>);

impl TeacherUrl {
    pub(super) fn uri(&self) -> Uri {
        Uri::clone(&self.0)
    }
}

impl FromStr for TeacherUrl {
    type Err = LabelError;

    fn from_str(given: &str) -> Result<Self, LabelError> {
        let wrong = |reason| LabelError::Url { given: given.to_owned(), reason };
        let uri: Uri = given.trim().parse().map_err(|_| wrong("it is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong(
                    "this student speaks no TLS; reach the teacher over a trusted network or a TLS proxy",
                ));
            }
            _ => return Err(wrong("it does not begin with http://")),
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(wrong("it has no host"));
        }
        if uri.port_u16().is_none_or(|port| port == 0) {
            return Err(wrong("it has no port"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("it has a user name, which the teacher does not ask for"));
        }
        if uri.path_and_query().is_some_and(|path| path != "/") {
            return Err(wrong("it has a path, which gRPC does not use"));
        }
        Ok(Self(Arc::new(uri)))
    }
}

impl fmt::Display for TeacherUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

/// How a run streams its soft labels.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Where the teacher is.
    pub url: TeacherUrl,
    /// Name of the experiment, for the teacher's log; at most 256 bytes of it travel.
    pub experiment: String,
    /// How rows travel.
    pub format: RowFormat,
    /// Batches asked for ahead of the training loop. 64 batches of 32 are twice the credits that a
    /// teacher gives by default, so that it never lacks work for want of look-ahead.
    pub look_ahead: NonZeroUsize,
    /// Bytes of rows kept for later epochs; 0 keeps none.
    pub memory_bytes: u64,
    /// How long to go on trying without any answer before giving up; covers a teacher that restarts. With
    /// none, a stream that breaks is not opened again.
    pub patience: Duration,
    /// Silence after which a stream with examples in flight counts as broken.
    pub answer_timeout: Duration,
    /// Longest wait for a connection, and again for the teacher's welcome.
    pub connect_timeout: Duration,
}

impl StreamSettings {
    /// The defaults for a teacher.
    pub fn new(url: TeacherUrl, experiment: impl Into<String>) -> Self {
        Self {
            url,
            experiment: experiment.into(),
            format: RowFormat::default(),
            look_ahead: NonZeroUsize::MIN.saturating_add(63),
            memory_bytes: 256 << 20,
            patience: Duration::from_mins(5),
            answer_timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_scheme_host_and_port_are_taken() {
        for good in ["http://localhost:50051", "http://10.0.0.1:1/", "http://[::1]:50051"] {
            let url: TeacherUrl = good.parse().unwrap();
            assert_eq!(url.to_string(), good.trim_end_matches('/'));
        }
    }

    #[test]
    fn every_other_address_is_refused_with_its_reason() {
        for (bad, reason) in [
            ("localhost:50051", "http://"),
            ("", "not a URL"),
            ("ftp://host:21", "http://"),
            ("https://host:50051", "TLS"),
            ("http://host", "port"),
            ("http://host:0", "port"),
            ("http://host:99999", "port"),
            ("http://:50051", "host"),
            ("http://host:50051/v1", "path"),
            ("http://me@host:50051", "user name"),
            ("http://a host:50051", "not a URL"),
        ] {
            let error = bad.parse::<TeacherUrl>().unwrap_err().to_string();
            assert!(error.contains(reason), "{bad:?}: {error}");
        }
    }
}

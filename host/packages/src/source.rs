//! Places that packages come from: folders, and web servers that serve files.
//!
//! A server is somebody else's: what it sends is bounded in size and time, redirections are
//! few and never lead from `https:` to `http:`, and `http:` is only taken for this machine.

use crate::error::{At, PackageError, Result};
use dsperse_documents::paths::objection;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How long a server may take to be reached.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a server may take to begin its answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long one file may take.
const WHOLE: Duration = Duration::from_secs(30 * 60);
const REDIRECTIONS: u32 = 5;

/// A folder, or a place on a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder, as an absolute path.
    Folder(PathBuf),
    /// What a URL ends in a slash for.
    Web(String),
}

impl Source {
    /// Reads what a user typed: a URL or a folder, or the `index.json` in it.
    ///
    /// # Errors
    /// When it is neither.
    pub fn read(text: &str) -> Result<Self> {
        if is_url(text) {
            let url = text.strip_suffix("index.json").unwrap_or(text);
            check_url(url)?;
            let slash = if url.ends_with('/') { "" } else { "/" };
            return Ok(Self::Web(format!("{url}{slash}")));
        }
        let path = Path::new(text);
        let path = match path.file_name() {
            Some(name) if name == "index.json" => path.parent().unwrap_or(Path::new(".")),
            _ => path,
        };
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        if !path.is_dir() {
            return Err(PackageError::usage(
                format!("there is no folder \"{text}\""),
                "give a folder or a URL: what \"dsperse plugin index\" made an index of",
            ));
        }
        Ok(Self::Folder(path.canonicalize().at("find", path)?))
    }

    /// The place that holds a file, and the file's name there.
    ///
    /// # Errors
    /// When it names no file.
    pub fn of_file(text: &str) -> Result<(Self, String)> {
        let no = || PackageError::usage(format!("\"{text}\" names no file"), "give a package");
        if is_url(text) {
            check_url(text)?;
            let (place, name) = text.rsplit_once('/').ok_or_else(no)?;
            if objection(name).is_some() {
                return Err(no());
            }
            return Ok((Self::Web(format!("{place}/")), name.to_owned()));
        }
        let path = Path::new(text);
        let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(no)?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let folder = parent.canonicalize().at("find", parent)?;
        Ok((Self::Folder(folder), name.to_owned()))
    }

    /// How a file of this source is called in messages.
    #[must_use]
    pub fn name_of(&self, file: &str) -> String {
        match self {
            Self::Folder(dir) => format!("\"{}\"", dir.join(file).display()),
            Self::Web(base) => format!("\"{base}{file}\""),
        }
    }

    /// Reads a small file; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be fetched or is larger than `most` bytes.
    pub fn small(&self, file: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match self.copy(file, most, &mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(PackageError::Fetch { missing: true, .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Copies a file.
    ///
    /// # Errors
    /// When it can't be fetched whole, or is larger than `most` bytes.
    pub fn copy(&self, file: &str, most: u64, to: &mut dyn Write) -> Result<()> {
        let fetch = |why: String, missing| PackageError::Fetch {
            what: self.name_of(file),
            why,
            missing,
        };
        if let Some(why) = objection(file) {
            return Err(fetch(format!("its name is refused: {why}"), false));
        }
        let (content, expected): (Box<dyn Read>, Option<u64>) = match self {
            Self::Folder(dir) => {
                let opened = File::open(dir.join(file));
                let opened = opened.map_err(|e| {
                    let missing = e.kind() == std::io::ErrorKind::NotFound;
                    fetch(e.to_string(), missing)
                })?;
                (Box::new(opened), None)
            }
            Self::Web(base) => {
                let agent = agent(base);
                let sent = agent.get(format!("{base}{file}")).call();
                let answer = sent.map_err(|e| match e {
                    ureq::Error::StatusCode(code @ (404 | 410)) => {
                        fetch(format!("the server says {code}"), true)
                    }
                    ureq::Error::StatusCode(code) => {
                        fetch(format!("the server says {code}"), false)
                    }
                    e => fetch(e.to_string(), false),
                })?;
                let body = answer.into_body();
                let expected = body.content_length();
                // One byte more than is allowed, so that too much is noticed.
                let limit = most.saturating_add(1);
                (
                    Box::new(
                        body.into_with_config()
                            .limit(limit.saturating_add(1))
                            .reader(),
                    ),
                    expected,
                )
            }
        };
        let mut content = content.take(most.saturating_add(1));
        let copied = std::io::copy(&mut content, to)
            .map_err(|e| fetch(format!("it broke off: {e}"), false))?;
        if copied > most {
            return Err(fetch(format!("it has more than {most} bytes"), false));
        }
        match expected {
            Some(expected) if expected != copied => Err(fetch(
                format!("it broke off after {copied} of {expected} bytes"),
                false,
            )),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(dir) => write!(f, "{}", dir.display()),
            Self::Web(base) => f.write_str(base),
        }
    }
}

/// Whether a text is a URL, and not a path.
#[must_use]
pub fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// Whether a URL is of this machine.
fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A name before "@" could make another host look like this one.
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|a| a.is_loopback())
}

fn check_url(url: &str) -> Result<()> {
    let bad = |why: &str| {
        let hint = "give an https: URL, or a folder";
        PackageError::usage(format!("\"{url}\" is refused: {why}"), hint)
    };
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(bad("it holds white space"));
    }
    if url.contains(['?', '#']) {
        return Err(bad("it has more than a path: an index is a static file"));
    }
    if url.starts_with("https://") || is_loopback(url) {
        return Ok(());
    }
    if url.starts_with("http://") {
        return Err(bad(
            "everybody on the way could change what comes over http:",
        ));
    }
    Err(bad("only https: is fetched"))
}

/// A client for a URL. This machine is asked without encryption, proxy and redirections.
fn agent(url: &str) -> Agent {
    let local = is_loopback(url);
    let mut config = Agent::config_builder()
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(ANSWER))
        .timeout_global(Some(WHOLE))
        .https_only(!local)
        .max_redirects(if local { 0 } else { REDIRECTIONS })
        .max_redirects_will_error(true)
        .user_agent(concat!("dsperse/", env!("CARGO_PKG_VERSION")));
    if local {
        config = config.proxy(None);
    } else {
        config = config.tls_config(tls());
    }
    config.build().into()
}

/// The certificates that this system trusts.
fn tls() -> TlsConfig {
    static ROOTS: OnceLock<RootCerts> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        // A second call finds it installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let found = rustls_native_certs::load_native_certs();
        let certs = found
            .certs
            .iter()
            .map(|c| Certificate::from_der(c).to_owned());
        RootCerts::Specific(std::sync::Arc::new(certs.collect()))
    });
    TlsConfig::builder().root_certs(roots.clone()).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_asked() {
        for good in [
            "https://example.org/plugins",
            "http://localhost:8000/",
            "http://127.0.0.1/x/index.json",
            "http://[::1]:80/",
        ] {
            assert!(Source::read(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.org/",
            "http://localhost.example.org/",
            "http://localhost@example.org/",
            "http://127.0.0.1@example.org/",
            "ftp://example.org/",
            "https://example.org/?x",
            "https://exam ple.org/",
            "file:///etc",
        ] {
            assert!(Source::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn places_have_one_name_each() {
        for text in [
            "https://example.org/a",
            "https://example.org/a/",
            "https://example.org/a/index.json",
        ] {
            assert_eq!(
                Source::read(text).unwrap().to_string(),
                "https://example.org/a/"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let file = dir.path().join("x.dsplugin");
        let (source, name) = Source::of_file(file.to_str().unwrap()).unwrap();
        assert_eq!(
            (source, name.as_str()),
            (Source::Folder(real), "x.dsplugin")
        );
    }

    #[test]
    fn names_that_climb_are_not_fetched() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), b"x").unwrap();
        let below = dir.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let source = Source::Folder(below);
        let e = source.small("../secret", 10).unwrap_err().to_string();
        assert!(e.contains("climbs out"), "{e}");
    }
}

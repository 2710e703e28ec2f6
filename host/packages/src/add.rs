//! From a source to an active version.
//!
//! Everything is fetched, checked, unpacked and tried out in a folder that no version names.
//! Then the folder gets its place, and last the one file is replaced that makes it count. A
//! command that is killed leaves the old state or the new one; what else it left is cleared
//! away by the next.

use crate::error::{At, PackageError, Result};
use crate::index::{Index, Offer, Release};
use crate::installed::{self, Locked, NEW, Package, Root, State};
use crate::keys::{self, Key, SIGNATURE, Signed};
use crate::lock::Entry;
use crate::package::{self, Manifest, Opened, platform};
use crate::source::Source;
use dsperse_documents::setting::{ALLOW_DOWNGRADE, INDEX, NO_ACTIVATE, SHA256};
use dsperse_store::file_digest;
use semver::{Version, VersionReq};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Tries a library out before it is installed: an error is why it is not.
pub type Smoke<'a> = &'a dyn Fn(&Path, &Manifest) -> Result<(), String>;

/// Which package.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// This file.
    File(Source, String),
    /// A backend by name, in a range of versions, from one of these sources.
    Named(String, VersionReq, Vec<Source>),
    /// What a lock file says, perhaps from another place.
    Locked(Entry, Source),
}

/// How to install it.
#[derive(Debug, Clone)]
pub struct How {
    /// The SHA-256 that the user states.
    pub sha256: Option<String>,
    /// A version below the active one may become active.
    pub allow_downgrade: bool,
    /// The version becomes the one that the name means.
    pub activate: bool,
}

/// What was installed.
#[derive(Debug, Clone)]
pub struct Added {
    /// The backend.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// What is known of the package.
    pub package: Package,
    /// The version that was active before.
    pub before: Option<Version>,
    /// Whether it is active now.
    pub active: bool,
    /// Whether this version was installed already.
    pub known: bool,
}

/// What was removed of a backend.
#[derive(Debug, Clone)]
pub struct Removed {
    /// These versions.
    pub versions: Vec<Version>,
    /// What is active now.
    pub active: Option<(Version, Package)>,
}

/// A package that is to be fetched.
struct Choice {
    source: Source,
    file: String,
    /// Digests that it must have, each with who says so.
    digests: Vec<(String, String)>,
    /// The key that must have signed it.
    key: Option<Key>,
    name: Option<String>,
    version: Option<Version>,
    platforms: BTreeMap<String, Offer>,
}

/// Finds the release that a name and a range mean.
///
/// # Errors
/// When no source has it, or several have.
pub fn find(name: &str, range: &VersionReq, sources: &[Source]) -> Result<(Source, Release)> {
    let looked = || {
        let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    if sources.is_empty() {
        return Err(PackageError::usage(
            format!("it is not known where to look for \"{name}\""),
            format!(
                "name the index with {INDEX} URL|DIR, or pin the key of a source with \"dsperse plugin trust\""
            ),
        ));
    }
    let mut having = Vec::new();
    for source in sources {
        let index = Index::fetch(source)?;
        if index.plugins.iter().any(|r| r.name == name) {
            having.push((source, index));
        }
    }
    let (source, index) = match having.as_slice() {
        [one] => one,
        [] => {
            return Err(PackageError::usage(
                format!("no index lists \"{name}\" (looked at {})", looked()),
                format!("check the name, or name another index with {INDEX}"),
            ));
        }
        several => {
            let names: Vec<String> = several.iter().map(|(s, _)| s.to_string()).collect();
            return Err(PackageError::usage(
                format!("\"{name}\" is listed by {}", names.join(" and ")),
                format!("say which is meant with {INDEX}"),
            ));
        }
    };
    let here = platform();
    if let Some(release) = index.newest(name, range, &here) {
        return Ok(((*source).clone(), release.clone()));
    }
    let listed: Vec<String> = index
        .plugins
        .iter()
        .filter(|r| r.name == name)
        .map(|r| {
            let platforms: Vec<&str> = r.platforms.keys().map(String::as_str).collect();
            format!("{} for {}", r.version, platforms.join(", "))
        })
        .collect();
    Err(PackageError::usage(
        format!(
            "{source} has no \"{name}\" {range} for {here}; it lists {}",
            listed.join("; ")
        ),
        "ask its author for a package for this platform, or take another version",
    ))
}

impl Choice {
    fn of(wanted: &Wanted) -> Result<Self> {
        Ok(match wanted {
            Wanted::File(source, file) => Self {
                source: source.clone(),
                file: file.clone(),
                digests: Vec::new(),
                key: None,
                name: None,
                version: None,
                platforms: BTreeMap::new(),
            },
            Wanted::Named(name, range, sources) => {
                let (source, release) = find(name, range, sources)?;
                let offer = release.platforms.get(&platform()).cloned();
                // `find` gives releases for this platform only.
                let Offer { file, sha256 } = offer.unwrap_or(Offer {
                    file: String::new(),
                    sha256: String::new(),
                });
                Self {
                    source,
                    file,
                    digests: vec![(sha256, "the index".to_owned())],
                    key: None,
                    name: Some(release.name),
                    version: Some(release.version),
                    platforms: release.platforms,
                }
            }
            Wanted::Locked(entry, source) => {
                let here = platform();
                let Some(offer) = entry.platforms.get(&here) else {
                    let locked: Vec<&str> = entry.platforms.keys().map(String::as_str).collect();
                    return Err(PackageError::refused(
                        format!("\"{}\" {}", entry.name, entry.version),
                        format!("it is locked for {}, this is {here}", locked.join(", ")),
                        "lock a version whose index lists this platform: \"dsperse plugin add\", then \"dsperse plugin lock\"",
                    ));
                };
                Self {
                    source: source.clone(),
                    file: offer.file.clone(),
                    digests: vec![(offer.sha256.clone(), "the lock file".to_owned())],
                    key: entry.key.clone(),
                    name: Some(entry.name.clone()),
                    version: Some(entry.version.clone()),
                    platforms: entry.platforms.clone(),
                }
            }
        })
    }

    fn refused(&self, why: impl Into<String>, hint: impl Into<String>) -> PackageError {
        PackageError::refused(
            format!("the package {}", self.source.name_of(&self.file)),
            why,
            hint,
        )
    }

    /// Fetches the package; returns its digest.
    fn fetch(&self, to: &Path) -> Result<String> {
        let mut file = File::create(to).at("create", to)?;
        self.source
            .copy(&self.file, package::MAX_BYTES, &mut file)?;
        let (_, found) = file_digest(to)?;
        for (expected, who) in &self.digests {
            if *expected != found {
                return Err(self.refused(
                    format!("its SHA-256 is {found}, {who} says {expected}"),
                    "it was cut off, changed or replaced: get the digest from its author again",
                ));
            }
        }
        Ok(found)
    }

    /// Whose signature it carries; `None` when the digest has to speak for it.
    fn signer(&self, root: &Root, file: &Path, by_digest: bool) -> Result<Option<Key>> {
        let place = self.source.to_string();
        let pinned = match &self.key {
            Some(key) => vec![key.clone()],
            None => root.trust()?.keys(&place).to_vec(),
        };
        let text = self
            .source
            .small(&format!("{}.{SIGNATURE}", self.file), keys::MAX_BYTES)?;
        let Some(text) = text else {
            if self.key.is_some() {
                return Err(self.refused(
                    "it is not signed, and the lock file says that it must be",
                    "get its signature (.minisig) too",
                ));
            }
            if by_digest {
                return Ok(None);
            }
            return Err(self.refused(
                "it is not signed, and no SHA-256 of it was given",
                format!("ask its author for its SHA-256, and give it with {SHA256}"),
            ));
        };
        let hint = "get package and signature again from where its author publishes them";
        let signed = Signed::read(&text)
            .map_err(|e| self.refused(format!("its signature can't be read: {e}"), hint))?;
        for key in &pinned {
            if signed.is_by(key, file)? {
                return Ok(Some(key.clone()));
            }
        }
        if pinned.iter().any(|k| k.id() == signed.id) {
            return Err(self.refused(format!("its signature by key {} is wrong", signed.id), hint));
        }
        if by_digest && self.key.is_none() {
            return Ok(None);
        }
        let known: Vec<String> = pinned.iter().map(Key::id).collect();
        Err(match known.as_slice() {
            [] => self.refused(
                format!("it is signed by key {}, and no key is pinned for {place}", signed.id),
                format!("get the key from its author, then type: dsperse plugin trust {place} KEY"),
            ),
            known => self.refused(
                format!(
                    "it is signed by key {}, which is unknown: {place} signs with {}",
                    signed.id,
                    known.join(", ")
                ),
                "ask its author whether the key has changed; \"dsperse plugin trust\" pins a further one",
            ),
        })
    }

    /// Whether it is what was asked for, and for this machine.
    fn fits(&self, manifest: &Manifest) -> Result<()> {
        let here = platform();
        if manifest.platform != here {
            return Err(self.refused(
                format!("it is for {}, this is {here}", manifest.platform),
                "get the package for this platform",
            ));
        }
        let name = self.name.as_ref().is_none_or(|n| *n == manifest.name);
        let version = self.version.as_ref().is_none_or(|v| *v == manifest.version);
        if name && version {
            return Ok(());
        }
        Err(self.refused(
            format!(
                "it holds {} {}, not {} {}",
                manifest.name,
                manifest.version,
                self.name.as_deref().unwrap_or_default(),
                self.version
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            ),
            "tell whoever keeps the index",
        ))
    }
}

impl Root {
    /// Installs a package.
    ///
    /// # Errors
    /// Why it was refused; then nothing has changed.
    pub fn add(&self, wanted: &Wanted, how: &How, smoke: Smoke<'_>) -> Result<Added> {
        let mut choice = Choice::of(wanted)?;
        if let Some(sha256) = &how.sha256 {
            choice
                .digests
                .insert(0, (sha256.trim().to_ascii_lowercase(), SHA256.to_string()));
        }
        let locked = self.lock()?;
        let state = self.state()?;
        let staged = tempfile::Builder::new()
            .prefix(NEW)
            .tempdir_in(self.store())
            .at("create a directory in", &self.store())?;
        let file = staged
            .path()
            .join(format!("package.{}", package::EXTENSION));
        let sha256 = choice.fetch(&file)?;
        let by_digest = how.sha256.is_some() || matches!(wanted, Wanted::Locked(..));
        let key = choice.signer(self, &file, by_digest)?;
        let opened = package::open(&file)?;
        choice.fits(&opened.manifest)?;
        locked.put(
            state,
            &choice,
            how,
            (sha256, key),
            opened,
            staged.path(),
            smoke,
        )
    }

    /// Makes the version that was active before active again.
    ///
    /// # Errors
    /// When there is none.
    pub fn rollback(&self, name: &str) -> Result<(Version, Version, Package)> {
        let locked = self.lock()?;
        let mut state = self.state()?;
        let installed = state.installed(name)?;
        let (Some(now), Some(before)) = (installed.active.clone(), installed.previous.clone())
        else {
            return Err(PackageError::usage(
                format!("\"{name}\" was not updated, so there is nothing to go back to"),
                format!("\"dsperse plugin add NAME@VERSION {ALLOW_DOWNGRADE}\" takes any version"),
            ));
        };
        installed.active = Some(before.clone());
        installed.previous = Some(now.clone());
        let package = installed.versions.get(&before).cloned();
        let package = package.ok_or_else(|| {
            PackageError::usage(
                format!("{name} {before} is not installed any more"),
                format!("type: dsperse plugin add {name}@{before} {ALLOW_DOWNGRADE}"),
            )
        })?;
        locked.write(&state)?;
        Ok((now, before, package))
    }

    /// Removes a backend, or one version of it. Returns what was removed, and what is active
    /// now.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, name: &str, version: Option<&Version>) -> Result<Removed> {
        let locked = self.lock()?;
        let mut state = self.state()?;
        let installed = state.installed(name)?;
        let gone: Vec<Version> = match version {
            None => installed.versions.keys().cloned().collect(),
            Some(version) if installed.versions.contains_key(version) => vec![version.clone()],
            Some(version) => {
                let there: Vec<String> =
                    installed.versions.keys().map(ToString::to_string).collect();
                return Err(PackageError::usage(
                    format!("{name} {version} is not installed"),
                    format!("installed: {}", there.join(", ")),
                ));
            }
        };
        installed.versions.retain(|v, _| !gone.contains(v));
        let there = |v: &Version| installed.versions.contains_key(v);
        let previous = installed.previous.take().filter(|v| there(v));
        // Of what is left, what was active before, or the newest.
        let active = installed.active.take().filter(|v| there(v));
        installed.active = active
            .or_else(|| previous.clone())
            .or_else(|| installed.versions.keys().next_back().cloned());
        installed.previous = previous.filter(|p| Some(p) != installed.active.as_ref());
        let now = installed.active.clone();
        let now = now.and_then(|v| Some((v.clone(), installed.versions.get(&v)?.clone())));
        if installed.versions.is_empty() {
            state.plugins.remove(name);
        }
        locked.write(&state)?;
        locked.clear();
        Ok(Removed {
            versions: gone,
            active: now,
        })
    }
}

impl State {
    fn installed(&mut self, name: &str) -> Result<&mut installed::Installed> {
        let there: Vec<String> = self.plugins.keys().cloned().collect();
        self.plugins.get_mut(name).ok_or_else(|| {
            PackageError::usage(
                format!("\"{name}\" was not installed by \"dsperse plugin add\""),
                match there.is_empty() {
                    true => "nothing was".to_owned(),
                    false => format!("installed: {}", there.join(", ")),
                },
            )
        })
    }
}

impl Locked<'_> {
    /// The last steps: unpack, try out, put in place, make it count.
    #[allow(clippy::too_many_arguments)]
    fn put(
        &self,
        mut state: State,
        choice: &Choice,
        how: &How,
        (sha256, key): (String, Option<Key>),
        mut opened: Opened,
        staged: &Path,
        smoke: Smoke<'_>,
    ) -> Result<Added> {
        let manifest = opened.manifest.clone();
        let (name, version) = (manifest.name.clone(), manifest.version.clone());
        let installed = state.plugins.entry(name.clone()).or_default();
        let before = installed.active.clone();
        // What a project has locked becomes what the name means only where nothing else is.
        let activate = how.activate || before.is_none();
        if let Some(active) = before.as_ref().filter(|a| activate && **a > version)
            && !how.allow_downgrade
        {
            return Err(choice.refused(
                format!("{name} {version} is older than {active}, which is active"),
                format!("add {ALLOW_DOWNGRADE} to go back to it, or {NO_ACTIVATE} to have it beside, as NAME@VERSION"),
            ));
        }
        let known = match installed.versions.get(&version) {
            Some(there) if there.sha256 != sha256 => {
                return Err(choice.refused(
                    format!(
                        "{name} {version} is installed already, from another package (SHA-256 {})",
                        there.sha256
                    ),
                    format!("if this one is right, type: dsperse plugin remove {name}@{version}"),
                ));
            }
            Some(there) => intact(self.root, there),
            None => false,
        };
        let dir = format!("{name}/{version}-{}", &sha256[..16]);
        if !known {
            let content = staged.join("content");
            fs::create_dir(&content).at("create", &content)?;
            let library = opened.unpack(&content)?;
            smoke(&library, &manifest).map_err(|why| {
                choice.refused(
                    format!("its library fails the checks before it is used: {why}"),
                    "tell its author; \"dsperse plugin test\" on the library shows every check",
                )
            })?;
            self.place(&content, &dir)?;
        }
        let package = Package {
            source: choice.source.to_string(),
            file: choice.file.clone(),
            sha256,
            key,
            platforms: choice.platforms.clone(),
            dir,
            library: manifest.library,
            library_sha256: manifest.library_sha256,
        };
        installed.versions.insert(version.clone(), package.clone());
        if activate && before.as_ref() != Some(&version) {
            installed.previous.clone_from(&before);
            installed.active = Some(version.clone());
        }
        let active = installed.active.as_ref() == Some(&version);
        self.write(&state)?;
        Ok(Added {
            name,
            version,
            package,
            before,
            active,
            known,
        })
    }

    /// Gives a complete folder its place, so that it is there after a power failure too.
    fn place(&self, content: &Path, dir: &str) -> Result<()> {
        let place = self.root.store().join(dir);
        let parent = place.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        fs::create_dir_all(&parent).at("create", &parent)?;
        // No version names it: it is of a command that died, or was damaged.
        if place.exists() {
            fs::remove_dir_all(&place).at("remove", &place)?;
        }
        sync(content)?;
        fs::rename(content, &place).at("create", &place)?;
        sync(&parent)?;
        sync(&self.root.store())
    }
}

/// Whether an installed version is still what was installed.
fn intact(root: &Root, package: &Package) -> bool {
    file_digest(&root.library(package)).is_ok_and(|(_, d)| d == package.library_sha256)
}

/// Makes the names in a directory durable.
fn sync(dir: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(dir)
        .and_then(|d| d.sync_all())
        .at("write", dir)?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

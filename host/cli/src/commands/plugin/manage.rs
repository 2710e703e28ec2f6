//! `plugin remove`, `plugin rollback`, `plugin trust` and `plugin lock`.

use crate::app::App;
use crate::console::shown;
use crate::console::table::Table;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_packages::{Key, LockFile, Source};
use semver::Version;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// A line about the lock file, when there is one.
fn locked(file: Option<PathBuf>) -> String {
    file.map_or_else(String::new, |f| format!("locked in {}\n", shown(&f)))
}

/// Removes a backend or a version of it.
pub fn remove(app: &App, what: &str) -> Result<Exit> {
    let (name, version) = match what.split_once('@') {
        Some((name, text)) => {
            let version = Version::parse(text).map_err(|e| {
                UserError::usage(
                    format!("\"{text}\" is no version: {e}"),
                    "write the whole version: NAME@0.1.0",
                )
            })?;
            (name, Some(version))
        }
        None => (what, None),
    };
    let removed = app.packages()?.remove(name, version.as_ref())?;
    let file = app.enter(|lock| {
        let gone = |v: &Version| removed.versions.contains(v);
        let hit = |p: &&dsperse_packages::Entry| p.name == name && gone(&p.version);
        if lock.plugins.iter().any(|p| hit(&p)) {
            match &removed.active {
                Some((version, package)) => lock.set(name, version, package),
                None => lock.remove(name),
            }
        }
    })?;
    let versions: Vec<String> = removed.versions.iter().map(ToString::to_string).collect();
    let mut out = format!("{name} {} is removed\n", versions.join(", "));
    if let Some((version, _)) = &removed.active {
        let _ = writeln!(out, "{name} {version} is active");
    }
    out.push_str(&locked(file));
    app.print(
        &out,
        &json!({
            "schema": SCHEMA,
            "command": "plugin remove",
            "name": name,
            "removed": versions,
            "active": removed.active.as_ref().map(|(v, _)| v),
        }),
    );
    Ok(Exit::Done)
}

/// Goes back to the version before.
pub fn rollback(app: &App, name: &str) -> Result<Exit> {
    let (from, to, package) = app.packages()?.rollback(name)?;
    let file = app.enter(|lock| lock.set(name, &to, &package))?;
    app.print(
        &format!(
            "{name} {to} is active again, in place of {from}\n{}",
            locked(file)
        ),
        &json!({
            "schema": SCHEMA,
            "command": "plugin rollback",
            "name": name,
            "before": from,
            "active": to,
        }),
    );
    Ok(Exit::Done)
}

/// Pins a key, takes a source's keys away, or lists all.
pub fn trust(app: &App, source: Option<&str>, key: Option<&str>, remove: bool) -> Result<Exit> {
    let root = app.packages()?;
    let mut trust = root.trust()?;
    let mut out = String::new();
    if let Some(text) = source {
        // What is trusted no longer may be gone.
        let place = match Source::read(text) {
            Ok(source) => source.to_string(),
            Err(_) if remove => text.to_owned(),
            Err(e) => return Err(e.into()),
        };
        let rights = root.lock()?;
        trust = root.trust()?;
        match key {
            _ if remove => {
                if !trust.forget(&place) {
                    return Err(UserError::usage(
                        format!("no key is pinned for {place}"),
                        "\"dsperse plugin trust\" lists the pinned keys",
                    ));
                }
                let _ = writeln!(out, "no key is pinned for {place} any more");
            }
            Some(key) => {
                let key = Key::read(key)?;
                let new = trust.pin(&place, key.clone());
                let _ = writeln!(
                    out,
                    "packages of {place} {} when they are signed by key {}",
                    if new {
                        "are accepted now"
                    } else {
                        "were accepted already"
                    },
                    key.id()
                );
            }
            None => {
                return Err(UserError::usage(
                    "the key is missing",
                    format!("type: dsperse plugin trust {text} KEY, or --remove"),
                ));
            }
        }
        rights.write_trust(&trust)?;
    } else if trust.sources.is_empty() {
        out.push_str("no key is pinned\n");
    } else {
        let mut table = Table::new(&["source", "key", "public key"], &[]);
        for pinned in &trust.sources {
            for key in &pinned.keys {
                table.row(vec![
                    pinned.source.clone(),
                    key.id(),
                    key.as_str().to_owned(),
                ]);
            }
        }
        out = table.render();
    }
    app.print(
        &out,
        &json!({"schema": SCHEMA, "command": "plugin trust", "sources": trust.sources}),
    );
    Ok(Exit::Done)
}

/// Locks the active version of every installed backend, or of those that the project
/// requires.
pub fn lock(app: &App) -> Result<Exit> {
    let state = app.packages()?.state()?;
    let required = app.config()?.require;
    let mut lock = LockFile::default();
    for (name, installed) in &state.plugins {
        if !required.is_empty() && !required.contains_key(name) {
            continue;
        }
        let fits = |v: &&Version| required.get(name).is_none_or(|r| r.matches(v));
        let active = installed.active.as_ref().filter(fits);
        // Else the newest version that is as it is required.
        let chosen = active.or_else(|| installed.versions.keys().rev().find(fits));
        if let Some((version, package)) = chosen.and_then(|v| Some((v, installed.versions.get(v)?)))
        {
            lock.set(name, version, package);
        }
    }
    if lock.plugins.is_empty() {
        return Err(UserError::usage(
            "nothing that this project could lock was installed by \"dsperse plugin add\"",
            "install the backends first: dsperse plugin add NAME",
        ));
    }
    let path = app.lock_file();
    lock.write(&path)?;
    let mut out = String::new();
    for p in &lock.plugins {
        let platforms: Vec<&str> = p.platforms.keys().map(String::as_str).collect();
        let _ = writeln!(out, "{} {} ({})", p.name, p.version, platforms.join(", "));
    }
    let _ = writeln!(out, "locked in {}", shown(&path));
    app.print(
        &out,
        &json!({
            "schema": SCHEMA,
            "command": "plugin lock",
            "path": shown(&path),
            "plugins": lock.plugins,
        }),
    );
    Ok(Exit::Done)
}

//! `plugin add`, `plugin update`, `plugin install`, and what `plugin list --outdated` shows.

use crate::app::App;
use crate::console::shown;
use crate::console::table::Table;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::locked::exactly;
use crate::output::SCHEMA;
use dsperse_packages::{Added, How, Index, LockFile, PackageError, Root, Source, Wanted};
use semver::{Version, VersionReq};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The flags of `plugin add`.
pub struct Flags<'a> {
    pub index: Option<&'a str>,
    pub sha256: Option<&'a str>,
    pub allow_downgrade: bool,
    pub activate: bool,
}

/// Installs a package.
pub fn add(app: &App, what: &str, flags: &Flags<'_>) -> Result<Exit> {
    let root = app.packages()?;
    let wanted = wanted(&root, what, flags.index)?;
    let how = How {
        sha256: flags.sha256.map(str::to_owned),
        allow_downgrade: flags.allow_downgrade,
        activate: flags.activate,
    };
    let added = root.add(&wanted, &how, &|library, manifest| {
        app.smoke(library, manifest)
    })?;
    let mut out = told(&added);
    if added.active {
        out.push_str(&locked(app, &added)?);
    }
    app.print(
        &out,
        &json!({"schema": SCHEMA, "command": "plugin add", "plugin": document(&added)}),
    );
    Ok(Exit::Done)
}

/// What the first argument of `add` means.
fn wanted(root: &Root, what: &str, index: Option<&str>) -> Result<Wanted> {
    let path = Path::new(what);
    let is_file = what.contains(['/', '\\']) || path.extension().is_some_and(|e| e == "dsplugin");
    if !is_file {
        let (name, range) = named(what)?;
        let sources = match index {
            Some(index) => vec![Source::read(index)?],
            None => {
                let pinned = root.trust()?.sources;
                pinned
                    .iter()
                    .map(|p| Source::read(&p.source))
                    .collect::<Result<_, _>>()?
            }
        };
        return Ok(Wanted::Named(name, range, sources));
    }
    if index.is_some() {
        return Err(UserError::usage(
            "--index is for backends by name, and a package is given",
            "leave --index out, or give the name",
        ));
    }
    let library = [".so", ".dylib", ".dll"].iter().any(|e| what.ends_with(e));
    if library {
        return Err(UserError::usage(
            format!("\"{what}\" is a library, not a package"),
            "make a package of it with \"dsperse plugin pack\", or put it into a directory that \"dsperse plugin list\" searches",
        ));
    }
    if path.is_dir() {
        return Err(UserError::usage(
            format!("\"{what}\" is a folder"),
            format!("name the backend: dsperse plugin add NAME --index {what}"),
        ));
    }
    let (source, file) = Source::of_file(what)?;
    Ok(Wanted::File(source, file))
}

/// `NAME`, `NAME@VERSION` or `NAME@RANGE`.
fn named(what: &str) -> Result<(String, VersionReq)> {
    let (name, version) = match what.split_once('@') {
        Some((name, version)) => (name, Some(version.trim())),
        None => (what, None),
    };
    let wrong =
        |message: String| UserError::usage(message, "write NAME, NAME@0.2.1 or \"NAME@^0.2\"");
    if !dsperse_packages::package::is_name(name) {
        return Err(wrong(format!("\"{name}\" is no name of a backend")));
    }
    let range = match version {
        None => VersionReq::STAR,
        // A whole version means that one.
        Some(text) => match Version::parse(text) {
            Ok(version) => exactly(&version),
            Err(_) => VersionReq::parse(text)
                .map_err(|e| wrong(format!("\"{text}\" is no version: {e}")))?,
        },
    };
    Ok((name.to_owned(), range))
}

/// Enters what is active now into the project's lock file.
fn locked(app: &App, added: &Added) -> Result<String> {
    let file = app.enter(|lock| lock.set(&added.name, &added.version, &added.package))?;
    Ok(file.map_or_else(String::new, |f| format!("locked in {}\n", shown(&f))))
}

fn told(added: &Added) -> String {
    let what = format!("{} {}", added.name, added.version);
    let mut out = match (added.known, added.active, &added.before) {
        (true, true, Some(before)) if *before == added.version => {
            format!("{what} is installed and active already\n")
        }
        (_, true, Some(before)) if *before != added.version => {
            format!("{what} is active now, in place of {before}\n")
        }
        (_, true, _) => format!("{what} is installed\n"),
        (_, false, before) => format!(
            "{what} is installed beside {}, as {}@{}\n",
            before.as_ref().map(ToString::to_string).unwrap_or_default(),
            added.name,
            added.version
        ),
    };
    let by = match &added.package.key {
        Some(key) => format!("signed by key {}", key.id()),
        None => "accepted by its digest".to_owned(),
    };
    let _ = writeln!(out, "{by}; SHA-256 {}", added.package.sha256);
    out
}

fn document(added: &Added) -> Value {
    json!({
        "name": added.name,
        "version": added.version,
        "before": added.before,
        "active": added.active,
        "source": added.package.source,
        "file": added.package.file,
        "sha256": added.package.sha256,
        "key": added.package.key.as_ref().map(|k| k.id()),
    })
}

/// A newer version of an installed backend, or why nobody knows of one.
struct News {
    name: String,
    active: Version,
    newest: Result<Option<Version>, PackageError>,
    source: String,
}

/// Asks the indexes.
fn news(app: &App, root: &Root, names: &[String], index: Option<&str>) -> Result<Vec<News>> {
    let state = root.state()?;
    let required = app.config()?.require;
    let mut out = Vec::new();
    for name in names {
        if !state.plugins.contains_key(name) {
            let there: Vec<&str> = state.plugins.keys().map(String::as_str).collect();
            return Err(UserError::usage(
                format!("\"{name}\" was not installed by \"dsperse plugin add\""),
                match there.is_empty() {
                    true => "nothing was".to_owned(),
                    false => format!("installed: {}", there.join(", ")),
                },
            ));
        }
    }
    for (name, installed) in &state.plugins {
        if !names.is_empty() && !names.contains(name) {
            continue;
        }
        let Some((active, package)) = installed
            .active
            .as_ref()
            .and_then(|v| Some((v, installed.versions.get(v)?)))
        else {
            continue;
        };
        let source = index.unwrap_or(&package.source);
        let range = required.get(name).cloned().unwrap_or(VersionReq::STAR);
        let found = Source::read(source).and_then(|s| Index::fetch(&s));
        let newest = found.map(|index| {
            let newest = index.newest(name, &range, &dsperse_packages::platform());
            newest.map(|r| r.version.clone()).filter(|v| v > active)
        });
        out.push(News {
            name: name.clone(),
            active: active.clone(),
            newest,
            source: source.to_owned(),
        });
    }
    Ok(out)
}

/// Shows newer versions.
pub fn outdated(app: &App) -> Result<Exit> {
    let root = app.packages()?;
    let news = news(app, &root, &[], None)?;
    let mut table = Table::new(&["backend", "active", "newest", "source"], &[]);
    for n in &news {
        let newest = match &n.newest {
            Ok(Some(version)) => version.to_string(),
            Ok(None) => "up to date".to_owned(),
            Err(e) => e.to_string(),
        };
        table.row(vec![
            n.name.clone(),
            n.active.to_string(),
            newest,
            n.source.clone(),
        ]);
    }
    let mut out = if news.is_empty() {
        "nothing was installed by \"dsperse plugin add\"\n".to_owned()
    } else {
        table.render()
    };
    if news.iter().any(|n| matches!(n.newest, Ok(Some(_)))) {
        out.push_str("type: dsperse plugin update\n");
    }
    let documents: Vec<Value> = news
        .iter()
        .map(|n| {
            json!({
                "name": n.name,
                "active": n.active,
                "newest": n.newest.as_ref().ok().cloned().flatten(),
                "source": n.source,
                "error": n.newest.as_ref().err().map(ToString::to_string),
            })
        })
        .collect();
    app.print(
        &out,
        &json!({"schema": SCHEMA, "command": "plugin list", "outdated": documents}),
    );
    Ok(Exit::Done)
}

/// Installs newer versions.
pub fn update(app: &App, names: &[String], index: Option<&str>) -> Result<Exit> {
    let root = app.packages()?;
    let mut out = String::new();
    let mut documents = Vec::new();
    let mut exit = Exit::Done;
    for n in news(app, &root, names, index)? {
        match n.newest {
            Ok(Some(version)) => {
                let source = Source::read(&n.source)?;
                let wanted = Wanted::Named(n.name, exactly(&version), vec![source]);
                let how = How {
                    sha256: None,
                    allow_downgrade: false,
                    activate: true,
                };
                let added = root.add(&wanted, &how, &|l, m| app.smoke(l, m))?;
                out.push_str(&told(&added));
                out.push_str(&locked(app, &added)?);
                documents.push(document(&added));
            }
            Ok(None) => {
                let _ = writeln!(out, "{} {} is up to date", n.name, n.active);
            }
            // Others may have an index.
            Err(e) => {
                exit = Exit::BadInput;
                let _ = writeln!(out, "{} {}: {e}", n.name, n.active);
            }
        }
    }
    if out.is_empty() {
        out.push_str("nothing was installed by \"dsperse plugin add\"\n");
    }
    app.print(
        &out,
        &json!({"schema": SCHEMA, "command": "plugin update", "updated": documents}),
    );
    Ok(exit)
}

/// Installs what the lock file names.
pub fn install(app: &App, from: Option<&str>) -> Result<Exit> {
    let root = app.packages()?;
    let path = app.lock_file();
    let Some(lock) = LockFile::read(&path)? else {
        return Err(UserError {
            exit: Exit::BadInput,
            message: format!("there is no lock file \"{}\"", shown(&path)),
            hint: Some("write it where the backends are installed: dsperse plugin lock".to_owned()),
        });
    };
    let from = from.map(Source::read).transpose()?;
    let mut out = String::new();
    let mut documents = Vec::new();
    for entry in lock.plugins {
        let source = match &from {
            Some(source) => source.clone(),
            None => Source::read(&placed(&entry.source, &path))?,
        };
        let how = How {
            sha256: None,
            allow_downgrade: false,
            // The lock file says which version this project's name means.
            activate: false,
        };
        let added = root.add(&Wanted::Locked(entry, source), &how, &|l, m| {
            app.smoke(l, m)
        })?;
        let _ = writeln!(
            out,
            "{} {} is {} (SHA-256 {})",
            added.name,
            added.version,
            if added.known { "there" } else { "installed" },
            added.package.sha256
        );
        documents.push(document(&added));
    }
    app.print(
        &out,
        &json!({"schema": SCHEMA, "command": "plugin install", "plugins": documents}),
    );
    Ok(Exit::Done)
}

/// A folder of a lock file is relative to it.
fn placed(source: &str, lock: &Path) -> String {
    if dsperse_packages::source::is_url(source) || Path::new(source).is_absolute() {
        return source.to_owned();
    }
    let dir: PathBuf = lock.parent().unwrap_or(Path::new("")).join(source);
    dir.display().to_string()
}

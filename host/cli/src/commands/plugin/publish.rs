//! `plugin pack`, `plugin index` and `plugin keygen`.

use crate::app::App;
use crate::commands::keygen::create;
use crate::console::numbers;
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_packages::{Index, Manifest, keys, package, platform};
use dsperse_plugin_api::conformance::Caller as _;
use dsperse_plugin_host::{Isolation, WorkerCaller};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Makes the package of a library.
pub fn pack(
    app: &App,
    library: &Path,
    output: &Path,
    sign: Option<&Path>,
    include: &[PathBuf],
) -> Result<Exit> {
    if !library.is_file() {
        return Err(UserError {
            exit: Exit::BadInput,
            message: format!("there is no library at \"{}\"", library.display()),
            hint: Some("build it first: \"cargo build --release\"".to_owned()),
        });
    }
    let mut options = app.host_options();
    options.isolation = Isolation::Process;
    let described = WorkerCaller::new(library, &options)
        .describe()
        .and_then(|raw| raw.descriptor());
    let d = described.map_err(|e| UserError {
        exit: Exit::Backend,
        message: format!("\"{}\" is no backend: {}", library.display(), e.message),
        hint: Some("\"dsperse plugin test\" on it shows every check".to_owned()),
    })?;
    let files = match include.is_empty() {
        true => licences()?,
        false => include.to_vec(),
    };
    if files.is_empty() {
        app.tell(
            "no licence file goes into the package: put LICENSE here, or name one with --include"
                .to_owned(),
        );
    }
    std::fs::create_dir_all(output).map_err(|e| dsperse_stages::Error::io("create", output, &e))?;
    let manifest = Manifest {
        format: package::FORMAT,
        name: d.name,
        version: d.version,
        api: d.api_version,
        platform: platform(),
        library: String::new(),
        library_sha256: String::new(),
        licence: d.licence,
        summary: d.summary,
        files: BTreeMap::new(),
    };
    let packed = package::pack(library, &files, manifest, output)?;
    let signature = sign
        .map(|key| keys::sign(&packed.path, key, app.prompt.may_ask()))
        .transpose()?;
    let mut out = format!(
        "{} ({})\nSHA-256 {}\n",
        shown(&packed.path),
        numbers::bytes(packed.size),
        packed.sha256
    );
    if let Some(path) = &signature {
        let _ = writeln!(out, "signature {}", shown(path));
    }
    app.print(
        &out,
        &json!({
            "schema": SCHEMA,
            "command": "plugin pack",
            "path": shown(&packed.path),
            "size": packed.size,
            "sha256": packed.sha256,
            "signature": signature.as_deref().map(shown),
            "manifest": packed.manifest,
        }),
    );
    Ok(Exit::Done)
}

/// Licence files of the working directory.
fn licences() -> Result<Vec<PathBuf>> {
    let here = Path::new(".");
    let entries =
        std::fs::read_dir(here).map_err(|e| dsperse_stages::Error::io("read", here, &e))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|e| PathBuf::from(e.file_name()))
        .filter(|f| {
            let name = f.to_string_lossy().to_ascii_uppercase();
            let licence = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];
            f.is_file() && licence.iter().any(|l| name.starts_with(l))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// Writes a folder's index.
pub fn index(app: &App, dir: &Path) -> Result<Exit> {
    let index = Index::write(dir)?;
    let mut out = String::new();
    for r in &index.plugins {
        let platforms: Vec<&str> = r.platforms.keys().map(String::as_str).collect();
        let _ = writeln!(out, "{} {} ({})", r.name, r.version, platforms.join(", "));
    }
    let path = dir.join(dsperse_packages::index::INDEX);
    let _ = writeln!(
        out,
        "{}: {} release{}",
        shown(&path),
        index.plugins.len(),
        if index.plugins.len() == 1 { "" } else { "s" }
    );
    app.print(
        &out,
        &json!({"schema": SCHEMA, "command": "plugin index", "path": shown(&path), "index": index}),
    );
    Ok(Exit::Done)
}

/// Makes a key pair.
pub fn keygen(app: &App, output: &Path) -> Result<Exit> {
    let (secret, public, key) = keys::generate()?;
    let name = |extension: &str| {
        let mut name = output.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    };
    let (secret_file, public_file) = (name(".key"), name(".pub"));
    create(&secret_file, &secret, true)?;
    if let Err(e) = create(&public_file, &public, false) {
        let _ = std::fs::remove_file(&secret_file);
        return Err(e);
    }
    app.print(
        &format!(
            "secret key {}: it has no password, so keep the file safe\npublic key {}: publish it with your packages\n{} (key {})",
            shown(&secret_file),
            shown(&public_file),
            key.as_str(),
            key.id()
        ),
        &json!({
            "schema": SCHEMA,
            "command": "plugin keygen",
            "secret_key": shown(&secret_file),
            "public_key": shown(&public_file),
            "key": key,
            "key_id": key.id(),
        }),
    );
    Ok(Exit::Done)
}

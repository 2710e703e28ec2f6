//! `plugin new`.

use crate::app::App;
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_plugin_api::template::{ApiSource, render};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Writes a new backend from the template.
pub fn execute(app: &App, name: &str, output: Option<&Path>, api: Option<&str>) -> Result<Exit> {
    let api = api_source(api)?;
    let files =
        render(name, &api).map_err(|e| UserError::usage(e.to_string(), "choose another name"))?;
    let dir = output.map_or_else(|| PathBuf::from(name), Path::to_path_buf);
    if dir.read_dir().is_ok_and(|mut d| d.next().is_some()) || dir.is_file() {
        return Err(UserError::usage(
            format!("\"{}\" exists already", dir.display()),
            "choose another place with -o DIR",
        ));
    }
    for (path, text) in &files {
        let path = dir.join(path);
        let written = match path.parent() {
            Some(parent) => std::fs::create_dir_all(parent),
            None => Ok(()),
        }
        .and_then(|()| std::fs::write(&path, text));
        written.map_err(|e| dsperse_stages::Error::io("write", &path, &e))?;
    }
    let library = format!("libdsperse_backend_{}.so", name.replace('-', "_"));
    app.print(
        &format!(
            "a new backend is at {}\nbuild it:  cd {} && cargo test && cargo build\ncheck it:  dsperse plugin test target/debug/{library}\nship it:   README.md says how\n",
            shown(&dir),
            shown(&dir)
        ),
        &json!({
            "schema": SCHEMA,
            "command": "plugin new",
            "path": shown(&dir),
            "files": files.iter().map(|(path, _)| path).collect::<Vec<_>>(),
        }),
    );
    Ok(Exit::Done)
}

/// Where the new crate gets `dsperse-plugin-api` from: as given, or the source tree in
/// which this program was built.
fn api_source(given: Option<&str>) -> Result<ApiSource> {
    if let Some(text) = given {
        if text == "registry" {
            return Ok(ApiSource::Registry);
        }
        if text.contains("://") {
            let (url, tag) = match text.split_once('#') {
                Some((url, tag)) => (url, tag.to_owned()),
                None => (text, concat!("v", env!("CARGO_PKG_VERSION")).to_owned()),
            };
            let url = url.to_owned();
            return Ok(ApiSource::Git { url, tag });
        }
        return local(Path::new(text)).ok_or_else(|| {
            UserError::usage(
                format!("there is no crate \"dsperse-plugin-api\" at \"{text}\""),
                "give the directory plugin-api of a copy of DSperse, the URL of its repository, or \"registry\"",
            )
        });
    }
    let exe = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    [exe, here]
        .iter()
        .flatten()
        .flat_map(|p| p.ancestors())
        .find_map(|dir| local(&dir.join("plugin-api")))
        .ok_or_else(|| {
            UserError::usage(
                "the crate \"dsperse-plugin-api\" was not found near this program",
                "say where it is with --api DIR, --api URL or --api registry",
            )
        })
}

fn local(dir: &Path) -> Option<ApiSource> {
    let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).ok()?;
    if !manifest.contains("name = \"dsperse-plugin-api\"") {
        return None;
    }
    let dir = dir.canonicalize().ok()?;
    Some(ApiSource::Path(dir.to_str()?.to_owned()))
}

//! `keygen`.

use crate::app::App;
use crate::args::stages::Keygen;
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_attest::SigningKey;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

pub fn execute(app: &App, args: &Keygen) -> Result<Exit> {
    let failed = |e: dsperse_attest::AttestError| UserError {
        exit: Exit::Failed,
        message: format!("no key could be made: {e}"),
        hint: None,
    };
    let private = &args.output;
    let public = private.with_extension("pub.pem");
    let key = SigningKey::generate().map_err(failed)?;
    // A key that is there is never replaced: what it signed could not be checked any more.
    create(private, &key.to_pem().map_err(failed)?, true)?;
    if let Err(e) = create(&public, &key.public().to_pem().map_err(failed)?, false) {
        let _ = std::fs::remove_file(private);
        return Err(e);
    }
    let id = key.public().id();
    app.print(
        &format!(
            "private key {}: keep it secret\npublic key {}: give it to those who check your attestations\nkey id {id}",
            shown(private),
            shown(&public)
        ),
        &json!({
            "schema": SCHEMA,
            "command": "keygen",
            "private_key": shown(private),
            "public_key": shown(&public),
            "key_id": id,
        }),
    );
    Ok(Exit::Done)
}

/// Writes a new file, which only its owner reads when it is secret.
pub fn create(path: &Path, text: &str, secret: bool) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if secret {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = secret;
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|e| UserError {
        exit: Exit::BadInput,
        message: format!("can't write the key \"{}\": {e}", shown(path)),
        hint: Some("choose another name with -o".to_owned()),
    })
}

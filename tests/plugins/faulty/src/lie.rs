//! Declarations that are not true.

use dsperse_plugin_api::{Artefact, Cx, Done, Error, Result, Role};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

/// A file that every system has, outside of every job's directory.
const OUTSIDE: &str = "/etc/passwd";

/// Changes the reply according to the fault; other faults leave it alone.
///
/// # Errors
/// When the fault can't be set up.
pub fn apply(fault: &str, done: &mut Done, cx: &Cx) -> Result<()> {
    let dir = cx.dir();
    let lie = |path: &str| Artefact::new("lie", Role::Public, path);
    match fault {
        "missing-artefact" => done.artefacts.push(lie("nowhere.bin")),
        "wrong-digest" => {
            std::fs::write(dir.join("lie.bin"), "one thing")?;
            let mut artefact = lie("lie.bin");
            artefact.size = 9;
            artefact.sha256 = "ab".repeat(32);
            done.artefacts.push(artefact);
        }
        "wrong-size" => {
            std::fs::write(dir.join("lie.bin"), "one thing")?;
            let mut artefact = lie("lie.bin");
            artefact.size = 10;
            done.artefacts.push(artefact);
        }
        "climb" => {
            let up = "../".repeat(dir.components().count());
            done.artefacts.push(lie(&format!("{up}{}", &OUTSIDE[1..])));
        }
        "absolute-path" => done.artefacts.push(lie(OUTSIDE)),
        "symlink" => {
            symlink(OUTSIDE, dir.join("lie.bin"))?;
            done.artefacts.push(lie("lie.bin"));
        }
        "symlink-dir" => {
            symlink("/etc", dir.join("lie"))?;
            done.artefacts.push(lie("lie/passwd"));
        }
        "fifo" => {
            let path = CString::new(dir.join("lie.bin").as_os_str().as_bytes())
                .map_err(|e| Error::internal(e.to_string()))?;
            // SAFETY: the path is a C string that outlives the call.
            if unsafe { libc::mkfifo(path.as_ptr(), 0o600) } != 0 {
                return Err(std::io::Error::last_os_error().into());
            }
            done.artefacts.push(lie("lie.bin"));
        }
        "directory" => {
            std::fs::create_dir(dir.join("lie"))?;
            done.artefacts.push(lie("lie"));
        }
        "duplicate" => {
            std::fs::write(dir.join("lie.bin"), "one thing")?;
            done.artefacts.extend([lie("lie.bin"), lie("lie.bin")]);
        }
        "short-tensor" => {
            if let Some(output) = done.outputs.first() {
                std::fs::write(dir.join(&output.path), [0])?;
            }
        }
        "no-outputs" => done.outputs.clear(),
        "huge" => {
            std::fs::File::create(dir.join("lie.bin"))?.set_len(1 << 40)?;
            done.artefacts.push(lie("lie.bin"));
        }
        _ => {}
    }
    Ok(())
}

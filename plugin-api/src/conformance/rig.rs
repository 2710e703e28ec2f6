//! Directories, requests and files around the calls of the checks.

use super::Caller;
use crate::abi::{CallRequest, Op};
use crate::{Artefact, ArtefactRef, Done, Error, Level, Result, Role, TensorFile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A caller with a directory of its own, which is removed at the end.
pub(super) struct Rig<'a> {
    pub(super) caller: &'a dyn Caller,
    base: PathBuf,
    made: Cell<u32>,
    /// Files that a call touched outside of its job's directory.
    pub(super) strays: RefCell<Vec<String>>,
}

impl Drop for Rig<'_> {
    fn drop(&mut self) {
        // What can't be removed lies in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

impl<'a> Rig<'a> {
    pub(super) fn new(caller: &'a dyn Caller) -> std::io::Result<Self> {
        let temp = std::env::temp_dir();
        let process = std::process::id();
        for n in 0..10_000 {
            let base = temp.join(format!("dsperse-conformance-{process}-{n}"));
            // Fails on anything that exists already, so nobody can prepare it for us.
            match std::fs::create_dir(&base) {
                Ok(()) => {
                    return Ok(Self {
                        caller,
                        base: base.canonicalize()?,
                        made: Cell::new(0),
                        strays: RefCell::default(),
                    });
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(std::io::Error::other("10 000 directories are taken"))
    }

    /// A new, empty directory.
    pub(super) fn fresh_dir(&self, purpose: &str) -> Result<PathBuf> {
        let n = self.made.replace(self.made.get() + 1);
        let dir = self.base.join(format!("{n:03}-{purpose}"));
        std::fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// A request in a new directory.
    pub(super) fn request<Job: Serialize>(
        &self,
        op: Op,
        job: &Job,
    ) -> Result<(serde_json::Value, PathBuf)> {
        let dir = self.fresh_dir(op.as_str())?;
        let request = CallRequest {
            job,
            dir: text(&dir)?,
            threads: 2,
            memory: None,
            log_level: Level::Info,
        };
        Ok((serde_json::to_value(request).map_err(json)?, dir))
    }

    /// Runs an operation; returns its reply and the job's directory.
    pub(super) fn call<Job: Serialize, Reply: DeserializeOwned>(
        &self,
        op: Op,
        job: &Job,
        cancel_after: Option<Duration>,
    ) -> Result<(Reply, PathBuf)> {
        let (request, dir) = self.request(op, job)?;
        let request = serde_json::to_vec(&request).map_err(json)?;
        let before = self.snapshot(&dir);
        let reply = self.caller.call(op.as_str(), &request, cancel_after);
        let after = self.snapshot(&dir);
        let mut strays = self.strays.borrow_mut();
        for path in before.keys().chain(after.keys()) {
            let what = match (before.get(path), after.get(path)) {
                (a, b) if a == b => continue,
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "removed",
                _ => "made",
            };
            let line = format!("\"{op}\" {what} \"{}\"", path.display());
            if !strays.contains(&line) {
                strays.push(line);
            }
        }
        drop(strays);
        Ok((reply?.reply(op)?, dir))
    }

    /// Sizes and times of all files except those of one directory.
    fn snapshot(&self, except: &Path) -> BTreeMap<PathBuf, (u64, Option<SystemTime>)> {
        let mut files = BTreeMap::new();
        let mut todo = vec![self.base.clone()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let Ok(meta) = entry.metadata() else { continue };
                if path == except {
                    continue;
                }
                if meta.is_dir() {
                    todo.push(path);
                } else {
                    files.insert(path, (meta.len(), meta.modified().ok()));
                }
            }
        }
        files
    }
}

/// A path as text, for a request.
pub(super) fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::internal(format!("\"{}\" is not UTF-8", path.display())))
}

#[allow(clippy::needless_pass_by_value)] // shaped for map_err
pub(super) fn json(e: serde_json::Error) -> Error {
    Error::internal(e.to_string())
}

/// Checks each declared file of a reply. Returns references for a later stage, or what is
/// wrong.
pub(super) fn artefacts(done: &Done, dir: &Path) -> (Vec<ArtefactRef>, Vec<String>) {
    let mut refs: Vec<ArtefactRef> = Vec::new();
    let mut complaints = Vec::new();
    for Artefact {
        name,
        role,
        path,
        size,
        sha256,
    } in &done.artefacts
    {
        let mut complain = |what: String| complaints.push(format!("artefact \"{name}\": {what}"));
        if refs.iter().any(|r| r.name == *name) {
            complain("declared twice".into());
            continue;
        }
        let (file, digest, found) = match inside(dir, path) {
            Ok(read) => read,
            Err(what) => {
                complain(what);
                continue;
            }
        };
        if !sha256.is_empty() && *sha256 != digest {
            complain(format!("declared SHA-256 {sha256}, found {digest}"));
        }
        if (*size != 0 || !sha256.is_empty()) && *size != found {
            complain(format!("declared {size} bytes, found {found}"));
        }
        refs.push(ArtefactRef {
            name: name.clone(),
            role: *role,
            path: file,
            sha256: digest,
        });
    }
    (refs, complaints)
}

/// A regular file inside a directory: absolute path, digest and size.
pub(super) fn inside(dir: &Path, path: &str) -> std::result::Result<(String, String, u64), String> {
    let relative = Path::new(path);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if path.is_empty() || path.contains('\\') || !relative.components().all(plain) {
        return Err(format!(
            "the path \"{path}\" does not stay in the job's directory"
        ));
    }
    let mut whole = dir.to_path_buf();
    for component in relative.components() {
        whole.push(component);
        let meta = std::fs::symlink_metadata(&whole).map_err(|e| format!("\"{path}\": {e}"))?;
        if meta.is_symlink() {
            return Err(format!("\"{path}\" is a link or lies behind one"));
        }
    }
    if !whole.is_file() {
        return Err(format!("\"{path}\" is not a regular file"));
    }
    let bytes = std::fs::read(&whole).map_err(|e| format!("\"{path}\": {e}"))?;
    let file = text(&whole).map_err(|e| e.to_string())?;
    Ok((
        file,
        hex::encode(Sha256::digest(&bytes)),
        bytes.len() as u64,
    ))
}

/// Checks the output tensors of a witness against the slice; returns them with absolute
/// paths, and what is wrong.
pub(super) fn outputs(
    done: &Done,
    dir: &Path,
    expected: &[crate::TensorInfo],
) -> (Vec<TensorFile>, Vec<String>) {
    let mut tensors = Vec::new();
    let mut complaints = Vec::new();
    if done.outputs.len() != expected.len() {
        complaints.push(format!(
            "{} output tensors, expected {}",
            done.outputs.len(),
            expected.len()
        ));
    }
    for (tensor, expected) in done.outputs.iter().zip(expected) {
        let info = &tensor.info;
        let mut complain =
            |what: String| complaints.push(format!("output \"{}\": {what}", info.name));
        if (&info.name, &info.shape) != (&expected.name, &expected.shape) {
            complain(format!(
                "shape {:?}, expected \"{}\" with shape {:?}",
                info.shape, expected.name, expected.shape
            ));
            continue;
        }
        let size = info
            .len()
            .and_then(|n| n.checked_mul(info.encoding.element_size() as u64));
        match inside(dir, &tensor.path) {
            Ok((_, _, found)) if Some(found) != size => {
                complain(format!("its file has {found} bytes, expected {size:?}"));
            }
            Ok((path, sha256, _)) => tensors.push(TensorFile {
                info: info.clone(),
                path,
                sha256,
            }),
            Err(what) => complain(what),
        }
    }
    (tensors, complaints)
}

/// The artefacts that a verifier gets.
pub(super) fn for_verifier(artefacts: &[ArtefactRef]) -> Vec<ArtefactRef> {
    let needed = |a: &&ArtefactRef| a.role == Role::Verifying;
    artefacts.iter().filter(needed).cloned().collect()
}

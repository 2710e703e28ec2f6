//! Checks what a plugin declares to have made before anybody believes it.
//!
//! A declared file must lie in the job's directory, be reached without a symbolic link,
//! be a regular file, and have the size and digest that were declared. What was left open
//! is filled in. A lie is an `internal` error of the backend that names file and fault.
//!
//! Reading what a job handed back belongs to the job: it ends with the job's time, and more
//! bytes than the job may make are not read at all.

use crate::judge::{bytes, took_too_long};
use crate::state::hash_file_while;
use crate::{CancelToken, Request};
use dsperse_plugin_api::{Artefact, Done, Error, TensorFile, TensorInfo};
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// What the files of an answer may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// The operation, for messages.
    pub op: &'a str,
    /// Most bytes of all files together.
    pub bytes: u64,
    /// When the call began.
    pub began: Instant,
    /// How long it may take, reading its files included.
    pub timeout: Option<Duration>,
    /// Ends the reading.
    pub cancel: &'a CancelToken,
}

impl Bounds<'_> {
    fn go_on(&self) -> Result<(), Fault> {
        if self.cancel.is_cancelled() {
            return Err(Fault::Ended(Error::cancelled()));
        }
        match self.timeout.filter(|limit| self.began.elapsed() > *limit) {
            Some(limit) => Err(Fault::Ended(took_too_long(self.op, limit))),
            None => Ok(()),
        }
    }
}

/// Why an answer does not count.
enum Fault {
    /// It is not true; the end of a sentence about the file.
    Lie(String),
    /// It was not read to its end.
    Ended(Error),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Lie(reason)
    }
}

impl From<std::io::Error> for Fault {
    fn from(e: std::io::Error) -> Self {
        Self::Lie(format!("can't be read: {e}"))
    }
}

impl Fault {
    fn of(self, file: &str) -> Error {
        match self {
            Self::Lie(reason) => lie(format!("{file} {reason}")),
            Self::Ended(error) => error,
        }
    }
}

/// Checks and completes the answer of `compile`, `witness` or `prove`.
pub(crate) fn done(
    request: &Request,
    dir: &Path,
    done: &mut Done,
    bounds: &Bounds<'_>,
) -> Result<(), Error> {
    let outputs = match request {
        Request::Witness(job) => Some(job.slice.outputs.as_slice()),
        _ => None,
    };
    check_done(outputs, dir, done, bounds)
}

/// Checks that what is declared in `done` is in the directory `dir`, reading every file
/// whole, and fills in what was left open. `outputs` are those of the slice, for a witness.
///
/// # Errors
/// Names the file that is not as it was declared; or says that it is too much, or takes too
/// long.
pub fn check_done(
    outputs: Option<&[TensorInfo]>,
    dir: &Path,
    done: &mut Done,
    bounds: &Bounds<'_>,
) -> Result<(), Error> {
    check_sizes(dir, done, bounds)?;
    for artefact in &mut done.artefacts {
        let file = format!("artefact \"{}\" (\"{}\")", artefact.name, artefact.path);
        check_artefact(dir, artefact, bounds).map_err(|fault| fault.of(&file))?;
    }
    let mut names = HashSet::new();
    for artefact in &done.artefacts {
        if !names.insert(artefact.name.as_str()) {
            return Err(lie(format!(
                "artefact \"{}\" is declared twice",
                artefact.name
            )));
        }
    }
    for tensor in &mut done.outputs {
        let file = format!(
            "output tensor \"{}\" (\"{}\")",
            tensor.info.name, tensor.path
        );
        check_tensor(dir, tensor, bounds).map_err(|fault| fault.of(&file))?;
    }
    if let Some(expected) = outputs {
        if done.outputs.len() != expected.len() {
            return Err(lie(format!(
                "it returned {} output tensors, the slice has {}",
                done.outputs.len(),
                expected.len()
            )));
        }
        for (tensor, info) in done.outputs.iter().zip(expected) {
            if tensor.info.shape != info.shape {
                return Err(lie(format!(
                    "output tensor \"{}\" has the shape {:?}, the slice says {:?}",
                    info.name, tensor.info.shape, info.shape
                )));
            }
        }
    }
    Ok(())
}

fn lie(what: String) -> Error {
    Error::internal(format!("the backend's answer is wrong: {what}"))
}

/// Adds up the files before any is read. What can't be found is told by whoever reads it.
///
/// # Errors
/// When they are more than the bounds allow.
pub fn check_sizes(dir: &Path, done: &Done, bounds: &Bounds<'_>) -> Result<(), Error> {
    let artefacts = done.artefacts.iter().map(|a| a.path.as_str());
    let outputs = done.outputs.iter().map(|t| t.path.as_str());
    let found = artefacts
        .chain(outputs)
        .filter_map(|path| std::fs::symlink_metadata(resolve(dir, path).ok()?).ok())
        .fold(0u64, |sum, file| sum.saturating_add(file.len()));
    if found <= bounds.bytes {
        return Ok(());
    }
    Err(Error::resource(format!(
        "\"{}\" handed back {} of files, more than its limit of {}",
        bounds.op,
        bytes(found),
        bytes(bounds.bytes)
    ))
    .with_hint("raise \"artefacts\" in [limits] of dsperse.toml, if the backend needs so much"))
}

fn check_artefact(dir: &Path, artefact: &mut Artefact, bounds: &Bounds<'_>) -> Result<(), Fault> {
    if artefact.name.is_empty() {
        return Err(Fault::Lie("has no name".into()));
    }
    let path = resolve(dir, &artefact.path)?;
    let (size, digest) = hash_file_while(&path, &|| bounds.go_on())?;
    // 0 means "not measured".
    if artefact.size != 0 && artefact.size != size {
        return Err(Fault::Lie(format!(
            "has {size} bytes, but {} were declared",
            artefact.size
        )));
    }
    compare_digest(&artefact.sha256, &digest)?;
    artefact.size = size;
    artefact.sha256 = digest;
    Ok(())
}

fn check_tensor(dir: &Path, tensor: &mut TensorFile, bounds: &Bounds<'_>) -> Result<(), Fault> {
    let path = resolve(dir, &tensor.path)?;
    let expected = tensor
        .info
        .len()
        .and_then(|n| n.checked_mul(tensor.info.encoding.element_size() as u64))
        .ok_or_else(|| format!("has the impossible shape {:?}", tensor.info.shape))?;
    let size = std::fs::symlink_metadata(&path)?.len();
    if size != expected {
        return Err(Fault::Lie(format!(
            "has {size} bytes, but its shape {:?} and type need {expected}",
            tensor.info.shape
        )));
    }
    let (_, digest) = hash_file_while(&path, &|| bounds.go_on())?;
    compare_digest(&tensor.sha256, &digest)?;
    tensor.sha256 = digest;
    Ok(())
}

fn compare_digest(declared: &str, found: &str) -> Result<(), String> {
    if declared.is_empty() || declared == found {
        Ok(())
    } else {
        Err(format!(
            "has the SHA-256 {found}, but \"{declared}\" was declared"
        ))
    }
}

/// The file behind a declared path: relative, below `dir`, no symbolic link on the way.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn resolve(dir: &Path, declared: &str) -> Result<PathBuf, String> {
    if declared.is_empty() || declared.contains('\0') {
        return Err("has no usable path".into());
    }
    let mut path = dir.to_path_buf();
    let mut kind = None;
    for component in Path::new(declared).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => continue,
            _ => {
                return Err(
                    "is outside the job's directory: paths are relative and have no \"..\"".into(),
                );
            }
        }
        let meta = std::fs::symlink_metadata(&path)
            .map_err(|e| format!("was declared but can't be found: {e}"))?;
        if meta.file_type().is_symlink() {
            return Err("is reached over a symbolic link".into());
        }
        kind = Some(meta.file_type());
    }
    match kind {
        Some(kind) if kind.is_file() => Ok(path),
        _ => Err("is not a regular file".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_plugin_api::{Encoding, ProveJob, Role, SliceInfo, WitnessJob};

    fn info(shape: &[u64]) -> TensorInfo {
        TensorInfo {
            name: "y".into(),
            encoding: Encoding::F32,
            shape: shape.to_vec(),
        }
    }

    fn slice() -> SliceInfo {
        SliceInfo {
            index: 0,
            model: None,
            sha256: String::new(),
            model_sha256: String::new(),
            inputs: Vec::new(),
            outputs: vec![info(&[2])],
        }
    }

    fn prove() -> Request {
        Request::Prove(ProveJob {
            slice: slice(),
            circuit: Vec::new(),
            witness: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            options: serde_json::Map::new(),
        })
    }

    fn artefacts(list: Vec<Artefact>) -> Done {
        Done {
            artefacts: list,
            ..Done::default()
        }
    }

    fn bounds(cancel: &CancelToken) -> Bounds<'_> {
        Bounds {
            op: "prove",
            bytes: 1 << 20,
            began: Instant::now(),
            timeout: Some(Duration::from_secs(600)),
            cancel,
        }
    }

    fn verdict(dir: &Path, artefact: Artefact) -> Result<Artefact, String> {
        let mut answer = artefacts(vec![artefact]);
        done(&prove(), dir, &mut answer, &bounds(&CancelToken::new()))
            .map(|()| answer.artefacts.remove(0))
            .map_err(|e| e.message)
    }

    /// A file of a terabyte with nothing in it: reading it would take an hour.
    fn huge(dir: &Path) -> Done {
        let file = std::fs::File::create(dir.join("huge")).unwrap();
        file.set_len(1 << 40).unwrap();
        artefacts(vec![Artefact::new("huge", Role::Public, "huge")])
    }

    #[test]
    fn more_bytes_than_allowed_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut answer = huge(dir.path());
        let error = done(
            &prove(),
            dir.path(),
            &mut answer,
            &bounds(&CancelToken::new()),
        );
        let error = error.unwrap_err();
        assert_eq!(error.kind, dsperse_plugin_api::ErrorKind::Resource);
        assert!(
            error.message.contains("1048576 MiB") && error.message.contains("1048576 bytes"),
            "{error}"
        );
        // Many names for one file are as many files.
        std::fs::write(dir.path().join("small"), vec![0; 600 << 10]).unwrap();
        let twice = ["a", "b"].map(|name| Artefact::new(name, Role::Public, "small"));
        let mut answer = artefacts(twice.to_vec());
        let error = done(
            &prove(),
            dir.path(),
            &mut answer,
            &bounds(&CancelToken::new()),
        );
        assert!(error.unwrap_err().message.contains("handed back"));
    }

    #[test]
    fn reading_ends_with_the_time_of_the_job_and_when_the_user_interrupts() {
        let dir = tempfile::tempdir().unwrap();
        let cancel = CancelToken::new();
        let mut limits = bounds(&cancel);
        limits.bytes = u64::MAX;
        limits.timeout = Some(Duration::from_millis(200));
        let error = done(&prove(), dir.path(), &mut huge(dir.path()), &limits).unwrap_err();
        assert_eq!(error.kind, dsperse_plugin_api::ErrorKind::Resource);
        assert!(error.message.contains("0.2 s"), "{error}");
        cancel.cancel();
        let error = done(&prove(), dir.path(), &mut huge(dir.path()), &limits).unwrap_err();
        assert_eq!(error.kind, dsperse_plugin_api::ErrorKind::Cancelled);
    }

    #[test]
    fn sizes_and_digests_are_filled_in() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/p"), b"abc").unwrap();
        let checked = verdict(dir.path(), Artefact::new("proof", Role::Public, "./sub/p")).unwrap();
        assert_eq!(checked.size, 3);
        assert_eq!(
            checked.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // What was filled in holds when it is declared.
        assert!(verdict(dir.path(), checked).is_ok());
    }

    #[test]
    fn lies_are_named() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("job");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(outer.path().join("secret"), b"abc").unwrap();
        std::fs::write(dir.join("real"), b"abc").unwrap();
        std::os::unix::fs::symlink("real", dir.join("link")).unwrap();
        std::os::unix::fs::symlink("..", dir.join("up")).unwrap();
        let absolute = outer.path().join("secret").display().to_string();
        for (path, words) in [
            ("missing", "can't be found"),
            ("../secret", "outside"),
            (absolute.as_str(), "outside"),
            ("link", "symbolic link"),
            ("up/secret", "symbolic link"),
            (".", "not a regular file"),
            ("", "no usable path"),
        ] {
            let error = verdict(&dir, Artefact::new("a", Role::Public, path)).unwrap_err();
            assert!(error.contains(words), "{path}: {error}");
        }
        let mut wrong = Artefact::new("a", Role::Public, "real");
        wrong.size = 4;
        assert!(verdict(&dir, wrong).unwrap_err().contains("3 bytes, but 4"));
        let mut wrong = Artefact::new("a", Role::Public, "real");
        wrong.sha256 = "00".into();
        assert!(verdict(&dir, wrong).unwrap_err().contains("SHA-256"));
    }

    #[test]
    fn a_pipe_is_refused_without_opening_it() {
        let dir = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(dir.path().join("p"))
            .status()
            .unwrap();
        assert!(made.success());
        let error = verdict(dir.path(), Artefact::new("a", Role::Public, "p")).unwrap_err();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn tensors_have_the_size_of_their_shape() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("y"), [0u8; 8]).unwrap();
        let witness = Request::Witness(WitnessJob {
            slice: slice(),
            circuit: Vec::new(),
            inputs: Vec::new(),
            options: serde_json::Map::new(),
        });
        let check = |shapes: &[&[u64]]| {
            let outputs = shapes.iter().map(|shape| TensorFile {
                info: info(shape),
                path: "y".into(),
                sha256: String::new(),
            });
            let mut answer = Done {
                outputs: outputs.collect(),
                ..Done::default()
            };
            done(
                &witness,
                dir.path(),
                &mut answer,
                &bounds(&CancelToken::new()),
            )
            .map_err(|e| e.message)
        };
        assert!(check(&[&[2]]).is_ok());
        assert!(check(&[&[3]]).unwrap_err().contains("need 12"));
        assert!(check(&[&[2, 1]]).unwrap_err().contains("the slice says"));
        assert!(check(&[]).unwrap_err().contains("0 output tensors"));
        let error = check(&[&[u64::MAX, 2]]).unwrap_err();
        assert!(error.contains("impossible shape"), "{error}");
    }
}

//! Checks what a plugin declares to have made before anybody believes it.
//!
//! A declared file must lie in the job's directory, be reached without a symbolic link,
//! be a regular file, and have the size and digest that were declared. What was left open
//! is filled in. A lie is an `internal` error of the backend that names file and fault.

use crate::Request;
use crate::state::hash_file;
use dsperse_plugin_api::{Artefact, Done, Error, TensorFile, TensorInfo};
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

/// Checks and completes the answer of `compile`, `witness` or `prove`.
pub(crate) fn done(request: &Request, dir: &Path, done: &mut Done) -> Result<(), Error> {
    let outputs = match request {
        Request::Witness(job) => Some(job.slice.outputs.as_slice()),
        _ => None,
    };
    check_done(outputs, dir, done)
}

/// Checks that what is declared in `done` is in the directory `dir`, reading every file
/// whole, and fills in what was left open. `outputs` are those of the slice, for a witness.
///
/// # Errors
/// Names the file that is not as it was declared.
pub fn check_done(
    outputs: Option<&[TensorInfo]>,
    dir: &Path,
    done: &mut Done,
) -> Result<(), Error> {
    for artefact in &mut done.artefacts {
        check_artefact(dir, artefact).map_err(|reason| {
            lie(format!(
                "artefact \"{}\" (\"{}\") {reason}",
                artefact.name, artefact.path
            ))
        })?;
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
        check_tensor(dir, tensor).map_err(|reason| {
            lie(format!(
                "output tensor \"{}\" (\"{}\") {reason}",
                tensor.info.name, tensor.path
            ))
        })?;
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

fn check_artefact(dir: &Path, artefact: &mut Artefact) -> Result<(), String> {
    if artefact.name.is_empty() {
        return Err("has no name".into());
    }
    let path = resolve(dir, &artefact.path)?;
    let (size, digest) = measure(&path)?;
    // 0 means "not measured".
    if artefact.size != 0 && artefact.size != size {
        return Err(format!(
            "has {size} bytes, but {} were declared",
            artefact.size
        ));
    }
    compare_digest(&artefact.sha256, &digest)?;
    artefact.size = size;
    artefact.sha256 = digest;
    Ok(())
}

fn check_tensor(dir: &Path, tensor: &mut TensorFile) -> Result<(), String> {
    let path = resolve(dir, &tensor.path)?;
    let expected = tensor
        .info
        .len()
        .and_then(|n| n.checked_mul(tensor.info.encoding.element_size() as u64))
        .ok_or_else(|| format!("has the impossible shape {:?}", tensor.info.shape))?;
    let (size, digest) = measure(&path)?;
    if size != expected {
        return Err(format!(
            "has {size} bytes, but its shape {:?} and type need {expected}",
            tensor.info.shape
        ));
    }
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

fn measure(path: &Path) -> Result<(u64, String), String> {
    hash_file(path).map_err(|e| format!("can't be read: {e}"))
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

    fn verdict(dir: &Path, artefact: Artefact) -> Result<Artefact, String> {
        let mut answer = artefacts(vec![artefact]);
        done(&prove(), dir, &mut answer)
            .map(|()| answer.artefacts.remove(0))
            .map_err(|e| e.message)
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
            done(&witness, dir.path(), &mut answer).map_err(|e| e.message)
        };
        assert!(check(&[&[2]]).is_ok());
        assert!(check(&[&[3]]).unwrap_err().contains("need 12"));
        assert!(check(&[&[2, 1]]).unwrap_err().contains("the slice says"));
        assert!(check(&[]).unwrap_err().contains("0 output tensors"));
        let error = check(&[&[u64::MAX, 2]]).unwrap_err();
        assert!(error.contains("impossible shape"), "{error}");
    }
}

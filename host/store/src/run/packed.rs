//! Packed proofs (`.dsproof`): what a verifier needs of slices and a run, in one file.
//!
//! Nothing goes in that only a prover has use for: no witnesses, no proving artefacts, no
//! ONNX files that no verifier opens, no files that nobody declares.

use crate::files::atomic::{AtomicFile, document_bytes, parent_of, scratch_in};
use crate::files::error::{BundleError, IoContext, Result};
use crate::files::pack::Packer;
use crate::files::paths::{files_below, join};
use crate::run::run_dir::RunDir;
use crate::slices::export::write_target;
use crate::slices::location::Shape;
use crate::slices::store::SliceStore;
use dsperse_archive::{Archive, Limits};
use dsperse_documents::packed::{MARK, PackedProof, belongs};
use dsperse_documents::{Document, Role, RunResults, SliceRun, StageOutcome, TensorIndex};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Packs slices and a run into `target`, which is replaced in one step. Every file is
/// compared with its recorded digest on the way.
///
/// # Errors
/// When the slices are not a whole model's, a file is missing or was changed, or the disk is
/// full.
pub fn pack(store: &SliceStore, run: &RunDir, target: &Path) -> Result<()> {
    let model = store.require_model()?;
    let tmp = scratch_in(&std::env::temp_dir(), "dsperse-export-")?;
    let slices = tmp.path().join("slices");
    write_target(store, &slices, &[Shape::Dirs], true)?;

    let results = stripped(&run.results());
    let mut index = TensorIndex::default();
    let outputs = model.slices.iter().flat_map(|s| &s.outputs);
    for t in model.inputs.iter().chain(outputs) {
        index.tensors.push(run.tensors().record(&t.name)?);
    }

    let mut out = AtomicFile::create(target)?;
    let mut zip = Packer::new(out.file(), target);
    let mark = PackedProof {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..PackedProof::default()
    };
    zip.bytes(MARK, &document_bytes(target, &mark)?)?;
    zip.bytes("run/run_results.json", &document_bytes(target, &results)?)?;
    zip.bytes("run/tensors/index.json", &document_bytes(target, &index)?)?;
    for t in &index.tensors {
        let file = run.tensors().file(&t.name)?;
        zip.file(&format!("run/tensors/{}", t.path), file.path.as_ref())?;
    }
    for a in results.slices.iter().flat_map(proof_files) {
        let file = run.artefact(a)?;
        zip.file(&format!("run/{}", a.path), file.path.as_ref())?;
    }
    for name in files_below(&slices)? {
        zip.file(&format!("slices/{name}"), &slices.join(&name))?;
    }
    zip.finish()?;
    out.commit()
}

fn proof_files(s: &SliceRun) -> &[dsperse_documents::Artefact] {
    s.proof_execution.as_ref().map_or(&[], |p| &p.files)
}

/// The record of a run with what a verifier looks at: which slices, whose proofs, and the
/// prover's notes on fidelity.
fn stripped(results: &RunResults) -> RunResults {
    let slice = |s: &SliceRun| {
        let verifying = |role| matches!(role, Role::Verifying | Role::Public);
        let proof = s.proof_execution.as_ref().map(|p| StageOutcome {
            success: p.success,
            usage: p.usage,
            files: p
                .files
                .iter()
                .filter(|a| verifying(a.role))
                .cloned()
                .collect(),
            ..StageOutcome::default()
        });
        SliceRun {
            index: s.index,
            backend: s.backend.clone(),
            backend_version: s.backend_version.clone(),
            claim: s.claim.clone(),
            proof_execution: proof,
            fidelity: s.fidelity.clone(),
            ..SliceRun::default()
        }
    };
    let mut out = RunResults {
        slices: results.slices.iter().map(slice).collect(),
        ..results.clone()
    };
    out.key = None;
    out.extra.clear();
    out.update_totals();
    out
}

/// A packed proof, unpacked into a directory that goes away with it.
#[derive(Debug)]
pub struct Unpacked {
    dir: TempDir,
}

impl Unpacked {
    /// The verifier's slices.
    #[must_use]
    pub fn slices(&self) -> PathBuf {
        self.dir.path().join("slices")
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }
}

/// Whether a path is named as packed proofs are.
#[must_use]
pub fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "dsproof") && path.is_file()
}

/// Unpacks a packed proof. It is read as hostile input, as all archives are; sizes and
/// digests are compared when slices and run are used.
///
/// # Errors
/// When it is damaged, refused, or no packed proof.
pub fn unpack(path: &Path, limits: Limits) -> Result<Unpacked> {
    let mut archive = Archive::open(path, limits)?;
    if !archive.contains(MARK) {
        return Err(BundleError::archive(
            path,
            format!("it is no packed proof: entry \"{MARK}\" is missing"),
        ));
    }
    PackedProof::parse(&archive.read_document(MARK)?).map_err(|e| BundleError::Document {
        path: path.join(MARK),
        source: Box::new(e),
    })?;
    let names: Vec<String> = archive.names().map(str::to_owned).collect();
    if let Some(odd) = names.iter().find(|n| !belongs(n)) {
        return Err(BundleError::archive(
            path,
            format!(
                "entry \"{}\" does not belong into a packed proof",
                odd.escape_debug()
            ),
        ));
    }
    let dir = scratch_in(&std::env::temp_dir(), "dsperse-dsproof-")?;
    for name in names {
        let to = join(dir.path(), &name, path)?;
        let parent = parent_of(&to);
        fs::create_dir_all(&parent).at("create", &parent)?;
        let mut out = fs::File::create_new(&to).at("create", &to)?;
        archive.extract(&name, &mut out)?;
    }
    Ok(Unpacked { dir })
}

//! The verifier for browsers.
//!
//! A packed proof is read in memory, with the rules and limits for archives of the program
//! (`dsperse-archive`), judged by the program's trust kernel (`dsperse-verify`), and each
//! sumcheck proof by the code of the plugin (`dsperse-sumcheck-judge`). Nothing here decides
//! anything.
//!
//! JavaScript makes an instance of the module for each file, so that a trap or a lack of
//! memory ends that verification, as rejected, and nothing else. See `npm/index.js`.

mod checker;
mod options;

pub use checker::Sumcheck;
pub use options::Options;

use dsperse_archive::{Archive, Limits, Section};
use dsperse_documents::SliceVerdict;
use dsperse_documents::packed::belongs;
use dsperse_verify::memory::{Bytes, Memory};
use dsperse_verify::{Given, Verification};
use std::collections::BTreeMap;
use std::path::Path;
use wasm_bindgen::prelude::wasm_bindgen;

/// A browser has less memory than a machine.
const LIMITS: Limits = Limits {
    entries: 65_536,
    total_bytes: 1 << 30,
    ratio: 200,
    document_bytes: 32 << 20,
};

/// What an archive in memory holds.
///
/// # Errors
/// Why it is refused.
pub fn read(file: &[u8]) -> Result<Memory, String> {
    let refused = |e: dsperse_archive::ArchiveError| e.to_string();
    let section = Section::bytes(file.into());
    let label = Path::new("file");
    let mut archive = Archive::of(section, label, LIMITS).map_err(refused)?;
    let names: Vec<String> = archive.names().map(str::to_owned).collect();
    let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
    for name in names {
        // What does not belong is refused by its name, unread.
        let mut content = Vec::new();
        if belongs(&name) {
            archive.extract(&name, &mut content).map_err(refused)?;
        }
        files.insert(name, content.into());
    }
    Memory::new(files).map_err(dsperse_verify::Defect::reason)
}

/// A verification of one packed proof, slice by slice.
#[wasm_bindgen]
pub struct Proof {
    verification: Verification<'static, Memory, Sumcheck>,
    verdicts: Vec<SliceVerdict>,
}

#[wasm_bindgen]
impl Proof {
    /// Reads a packed proof. `options` is JSON, see [`Options`]; `digest` is the SHA-256 of
    /// this module.
    ///
    /// # Errors
    /// Why no verdict is given at all.
    #[wasm_bindgen(constructor)]
    pub fn new(file: &[u8], options: &str, digest: &str) -> Result<Self, String> {
        let options: Options =
            serde_json::from_str(options).map_err(|e| format!("the options are wrong: {e}"))?;
        // They live as long as the instance, which judges one file.
        let evidence: &'static Memory = Box::leak(Box::new(read(file)?));
        let checker: &'static Sumcheck = Box::leak(Box::new(Sumcheck::new(digest)));
        let begun = Verification::begin(evidence, checker, options.demands(), Given::default());
        Ok(Self {
            verification: begun.map_err(|e| e.to_string())?,
            verdicts: Vec::new(),
        })
    }

    /// The number of slices.
    #[wasm_bindgen(getter)]
    pub fn slices(&self) -> usize {
        self.verification.slices()
    }

    /// Judges a slice and returns its verdict as JSON.
    pub fn slice(&mut self, index: usize) -> String {
        let Ok(verdict) = self.verification.slice(index);
        let json = serde_json::to_string(&verdict).unwrap_or_default();
        self.verdicts.push(verdict);
        json
    }

    /// The report over all slices as JSON, the same document that `dsperse verify --json`
    /// prints. Slices that were not judged are `unchecked`.
    pub fn report(self) -> String {
        let Ok(report) = self.verification.conclude(self.verdicts);
        serde_json::to_string(&report).unwrap_or_default()
    }
}

//! Who checks a proof in a browser: the judge of sumcheck proofs, and nobody else.

use dsperse_documents::Usage;
use dsperse_plugin_api::{Descriptor, SliceInfo, Stage};
use dsperse_sumcheck_judge::claim::Claimed;
use dsperse_sumcheck_judge::{NAME, VERSION, judge, properties};
use dsperse_tensor::{TensorInfo, Values};
use dsperse_verify::memory::Bytes;
use dsperse_verify::{Again, Backend, Checked, Checker, File, Held, Need, Question};
use std::convert::Infallible;

/// The judge of sumcheck proofs.
pub struct Sumcheck {
    descriptor: Descriptor,
    digest: String,
}

impl Sumcheck {
    /// `digest` is the SHA-256 of the module that this is in.
    #[must_use]
    pub fn new(digest: &str) -> Self {
        let mut descriptor = Descriptor::new(NAME, VERSION, "sumcheck proofs, verified here");
        // What the proofs offer does not depend on who checks them.
        descriptor.capabilities.stages = vec![Stage::Prove, Stage::Verify];
        descriptor.capabilities.proof = Some(properties());
        Self {
            descriptor,
            digest: digest.to_owned(),
        }
    }
}

/// A tensor of a claim whose elements are in memory.
struct InMemory<'a>(&'a Held<Bytes>);

impl Claimed for InMemory<'_> {
    fn info(&self) -> &TensorInfo {
        &self.0.info
    }
    fn values(&self) -> Result<Values, String> {
        let info = &self.0.info;
        let bytes = &self.0.file;
        info.check_len(bytes.len() as u64)
            .map_err(|e| e.to_string())?;
        Values::from_bytes(bytes, info.encoding)
            .ok_or_else(|| format!("tensor \"{}\" holds an integer beyond 2^63", info.name))
    }
}

fn find(list: &[File<Bytes>], name: &str, most: u64) -> Result<Vec<u8>, String> {
    let file = list.iter().find(|f| f.name == name);
    let bytes = &file
        .ok_or_else(|| format!("the artefact \"{name}\" is missing"))?
        .file;
    let size = bytes.len();
    if size as u64 > most {
        return Err(format!(
            "the artefact \"{name}\" has {size} bytes, more than the {most} that it can have"
        ));
    }
    Ok(bytes.to_vec())
}

impl Checker<Bytes> for Sumcheck {
    type Stop = Infallible;

    fn backend(&self, name: &str) -> Option<Backend<'_>> {
        (name == NAME).then_some(Backend {
            descriptor: &self.descriptor,
            digest: &self.digest,
        })
    }

    fn check(&self, q: Question<'_, Bytes>) -> Result<Checked, Infallible> {
        let slice: SliceInfo = q.slice.slice_info(None);
        let inputs: Vec<InMemory<'_>> = q.inputs.iter().map(InMemory).collect();
        let outputs: Vec<InMemory<'_>> = q.outputs.iter().map(InMemory).collect();
        let verdict = judge(
            &slice,
            &inputs,
            &outputs,
            &|name, most| find(&q.circuit, name, most),
            &|name, most| find(&q.proof, name, most),
        );
        Ok(Checked {
            answer: Ok(verdict),
            // A browser tells neither the time nor the memory.
            usage: Usage::default(),
        })
    }

    fn advice(&self, need: Need) -> Option<String> {
        let advice = match need {
            Need::Backend => {
                "only sumcheck proofs are checked here: verify this file with the program, \"dsperse verify FILE\""
            }
            Need::Version => "use the verifier of that version",
            Need::Saturation => "allow clamped inputs, if such a proof is enough for you",
            Need::Tolerance => {
                "nothing is recomputed here: verify this file with the program, \"dsperse verify FILE\""
            }
            Need::Keys | Need::Calibration => {
                "name the digest of the keys, which whoever compiled the model can tell"
            }
        };
        Some(advice.to_owned())
    }
}

impl Again<Bytes> for Sumcheck {}

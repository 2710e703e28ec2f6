//! The verdict: files for [`dsperse_sumcheck_judge`], which decides. The slice's payload is
//! never opened.

use dsperse_plugin_api::{ArtefactRef, Verdict, VerifyJob};
use dsperse_sumcheck_judge::judge;

/// Judges a claim.
#[must_use]
pub fn verify(job: &VerifyJob) -> Verdict {
    judge(
        &job.slice,
        &job.inputs,
        &job.outputs,
        &|name, most| read(&job.circuit, name, most),
        &|name, most| read(&job.proof, name, most),
    )
}

fn read(list: &[ArtefactRef], name: &str, most: u64) -> Result<Vec<u8>, String> {
    let file = list
        .iter()
        .find(|a| a.name == name)
        .ok_or_else(|| format!("the artefact \"{name}\" is missing"))?;
    let broken = |e: std::io::Error| format!("the artefact \"{name}\" can't be read: {e}");
    let size = std::fs::metadata(&file.path).map_err(broken)?.len();
    if size > most {
        return Err(format!(
            "the artefact \"{name}\" has {size} bytes, more than the {most} that it can have"
        ));
    }
    std::fs::read(&file.path).map_err(broken)
}

//! Witness and proof.

use crate::compile::WEIGHTS;
use crate::{kept, verify, weights};
use dsperse_plugin_api::job::SATURATED_INPUTS;
use dsperse_plugin_api::job::artefact;
use dsperse_plugin_api::{
    Artefact, ArtefactRef, Cx, Done, Error, Number, ProveJob, Result, Role, TensorFile, TensorInfo,
    Verdict, VerifyJob, WitnessJob,
};
use dsperse_sumcheck_evaluator::outputs;
use dsperse_sumcheck_judge::key::SliceKey;
use dsperse_sumcheck_judge::{PROOF, VERIFYING_KEY, claim};
use dsperse_sumcheck_prover::{ProvingKey, prove_once};
use dsperse_sumcheck_verifier::program::Tensor;
use serde_json::{Map, Value};

fn read(circuit: &[ArtefactRef], name: &str) -> Result<Vec<u8>> {
    let file = artefact(circuit, name)?;
    std::fs::read(&file.path)
        .map_err(|e| Error::invalid_input(format!("artefact \"{name}\" at \"{}\": {e}", file.path)))
}

fn wrong(e: impl ToString) -> Error {
    Error::invalid_input(e.to_string()).with_hint("compile the slice again")
}

/// The verifying key: its bytes, and what they say.
fn verifying_key(circuit: &[ArtefactRef]) -> Result<(Vec<u8>, SliceKey)> {
    let bytes = read(circuit, VERIFYING_KEY)?;
    let key = SliceKey::from_bytes(&bytes).map_err(wrong)?;
    Ok((bytes, key))
}

fn weights(circuit: &[ArtefactRef]) -> Result<Vec<Tensor>> {
    weights::from_bytes(&read(circuit, WEIGHTS)?).map_err(wrong)
}

/// Evaluates the integer program on the job's inputs and writes the outputs.
///
/// # Errors
/// `invalid_input` when inputs or artefacts do not fit.
pub fn witness(job: &WitnessJob, cx: &Cx) -> Result<Done> {
    let (_, key) = verifying_key(&job.circuit)?;
    let weights = weights(&job.circuit)?;
    let (inputs, saturated) = claim::inputs(&key, &job.inputs).map_err(Error::invalid_input)?;
    cx.check_cancelled()?;
    let outputs = outputs(&key.key.program, &key.key.checked, &weights, &inputs)
        .map_err(|e| Error::unsupported(e.to_string()))?;
    let mut done = Done::default();
    if saturated > 0 {
        let total: usize = inputs.iter().map(|t| t.data.len()).sum();
        done.warnings.push(format!(
            "{saturated} of {total} input values of slice {} are beyond the calibrated range and \
             saturate; calibrate with inputs like this one for better fidelity",
            job.slice.index
        ));
    }
    done.facts.insert(SATURATED_INPUTS.into(), saturated.into());
    for (i, (tensor, port)) in outputs.iter().zip(&key.outputs).enumerate() {
        let mut bytes = Vec::new();
        for &v in &tensor.data {
            Number::Int(v.into())
                .write(port.encoding, &mut bytes)
                .map_err(|e| Error::unsupported(format!("output \"{}\": {e}", port.name)))?;
        }
        let path = format!("output_{i}.bin");
        std::fs::write(cx.dir().join(&path), bytes)?;
        done.outputs.push(TensorFile {
            info: TensorInfo {
                name: port.name.clone(),
                encoding: port.encoding,
                shape: tensor.shape.iter().map(|&d| d as u64).collect(),
            },
            path,
            sha256: String::new(),
        });
    }
    Ok(done)
}

/// Proves the claim and checks the proof before handing it out.
///
/// # Errors
/// `invalid_input` when the claim is not what the slice computes.
pub fn prove(job: &ProveJob, cx: &Cx) -> Result<Done> {
    let (key_bytes, key) = verifying_key(&job.circuit)?;
    let context = claim::context(&job.slice, &key_bytes).map_err(Error::invalid_input)?;
    let (inputs, _) = claim::inputs(&key, &job.inputs).map_err(Error::invalid_input)?;
    let claimed = claim::outputs(&key, &job.outputs).map_err(Error::invalid_input)?;
    let weights = weights(&job.circuit)?;
    let proven = if kept::is_worth(&key.key) {
        let proving = match kept::take(&key_bytes, &weights) {
            Some(proving) => proving,
            None => {
                cx.progress(0.1, "committing to weights");
                ProvingKey::from_key(&key.key.to_bytes(), weights).map_err(wrong)?
            }
        };
        cx.check_cancelled()?;
        cx.progress(0.3, "proving");
        let proven = dsperse_sumcheck_prover::prove(&proving, &context, &inputs);
        kept::put(key_bytes, proving);
        proven
    } else {
        cx.progress(0.1, "proving");
        prove_once(&key.key.to_bytes(), weights, &context, &inputs)
    };
    let (outputs, proof) = proven.map_err(|e| Error::internal(e.to_string()))?;
    if outputs != claimed {
        return Err(Error::invalid_input(format!(
            "the claimed outputs of slice {} are not what it computes on the claimed inputs",
            job.slice.index
        ))
        .with_hint("make the witness again"));
    }
    cx.check_cancelled()?;
    cx.progress(0.9, "checking the proof");
    let file = "proof.bin";
    let path = cx.dir().join(file);
    std::fs::write(&path, &proof)?;
    let check = VerifyJob {
        slice: job.slice.clone(),
        circuit: job.circuit.clone(),
        proof: vec![ArtefactRef {
            name: PROOF.into(),
            role: Role::Verifying,
            path: path.to_string_lossy().into_owned(),
            sha256: String::new(),
        }],
        inputs: job.inputs.clone(),
        outputs: job.outputs.clone(),
        tolerance: 0.0,
        options: job.options.clone(),
    };
    if let Verdict::Invalid { reason } = verify::verify(&check) {
        return Err(Error::internal(format!(
            "the proof that was just made is not valid: {reason}"
        )));
    }
    let mut facts = Map::new();
    facts.insert("proof_bytes".into(), Value::from(proof.len()));
    Ok(Done {
        artefacts: vec![Artefact::new(PROOF, Role::Verifying, file)],
        facts,
        ..Done::default()
    })
}

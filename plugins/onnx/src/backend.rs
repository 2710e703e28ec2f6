//! The backend: what each operation does with a slice.

use crate::cache::Cache;
use crate::compare::{self, Difference, Outcome};
use crate::engine;
use crate::values;
use dsperse_plugin_api::{
    Artefact, Backend, Capabilities, CompileJob, Cost, Cx, Descriptor, Done, Error, ErrorKind,
    Result, Role, Stage, Support, SupportsJob, TensorFile, TensorInfo, Verdict, VerifyJob,
    WitnessJob,
};
use serde_json::{Map, Value, json};

/// Version of `settings.json`.
const SETTINGS_SCHEMA: &str = "1.0.0";

/// What a worker needs beside the slice itself, in bytes: the process, the library and
/// the engine's operator tables.
const BASE_BYTES: u64 = 40 << 20;

/// Runs slices with tract.
#[derive(Debug, Default)]
pub struct OnnxBackend {
    cache: Cache,
}

impl OnnxBackend {
    /// How many prepared slices this worker keeps.
    #[must_use]
    pub fn kept_plans(&self) -> usize {
        self.cache.len()
    }
}

impl Backend for OnnxBackend {
    fn describe() -> Descriptor {
        let mut d = Descriptor::new(
            "onnx",
            env!("CARGO_PKG_VERSION"),
            "Runs slices with tract and verifies by running them again; makes no proofs",
        );
        d.licence = env!("CARGO_PKG_LICENSE").into();
        d.capabilities = Capabilities {
            stages: vec![Stage::Compile, Stage::Witness, Stage::Recompute],
            reusable_worker: true,
            verify_needs_payload: true,
            ..Capabilities::default()
        };
        // The only artefact is a readable note; nothing depends on its version.
        d.compatible_artefacts = Some("*".into());
        d.facts.insert("engine".into(), json!(engine::NAME));
        d.facts
            .insert("engine_version".into(), json!(engine::VERSION));
        d
    }

    fn open(_: &Cx) -> Result<Self> {
        Ok(Self::default())
    }

    fn supports(&self, job: &SupportsJob, cx: &Cx) -> Result<Support> {
        match self.cache.plan(&job.slice, cx.memory_limit()) {
            Ok(plan) => Ok(Support::Yes {
                cost: Cost {
                    prove_cpu_seconds: 0.0,
                    peak_bytes: plan.peak_bytes.saturating_add(BASE_BYTES),
                },
            }),
            Err(e) if e.kind == ErrorKind::Unsupported => Ok(Support::No {
                node: e.node,
                op: e.op,
                reason: e.message,
            }),
            Err(e) => Err(e),
        }
    }

    /// Checks and prepares the slice, and writes a note of what did so.
    fn compile(&self, job: &CompileJob, cx: &Cx) -> Result<Done> {
        cx.progress(0.0, "prepare");
        self.cache.plan(&job.slice, cx.memory_limit())?;
        cx.check_cancelled()?;
        let settings = json!({
            "schema": SETTINGS_SCHEMA,
            "engine": engine::identity(),
            "form": "optimized",
            "slice": job.slice.index,
            "slice_sha256": job.slice.sha256,
        });
        std::fs::write(cx.dir().join("settings.json"), format!("{settings:#}\n"))?;
        Ok(Done {
            artefacts: vec![Artefact::new("settings", Role::Public, "settings.json")],
            facts: facts(),
            ..Done::default()
        })
    }

    /// Inference.
    fn witness(&self, job: &WitnessJob, cx: &Cx) -> Result<Done> {
        cx.progress(0.0, "prepare");
        let plan = self.cache.plan(&job.slice, cx.memory_limit())?;
        let mut inputs = Vec::with_capacity(job.inputs.len());
        count("inputs", job.inputs.len(), job.slice.inputs.len()).map_err(Error::invalid_input)?;
        for (file, wanted) in job.inputs.iter().zip(&job.slice.inputs) {
            let bytes = file.read_bytes()?;
            inputs.push(values::to_engine(&file.info, &bytes, wanted)?);
        }
        cx.check_cancelled()?;
        cx.progress(0.3, "run");
        let results = plan.run(inputs)?;
        cx.check_cancelled()?;
        std::fs::create_dir_all(cx.dir().join("outputs"))?;
        let mut outputs = Vec::with_capacity(results.len());
        for (index, (tensor, info)) in results.iter().zip(&job.slice.outputs).enumerate() {
            let path = format!("outputs/{index}.bin");
            std::fs::write(cx.dir().join(&path), values::to_bytes(tensor)?)?;
            outputs.push(TensorFile {
                info: info.clone(),
                path,
                sha256: String::new(),
            });
        }
        Ok(Done {
            outputs,
            facts: facts(),
            ..Done::default()
        })
    }

    /// Runs the slice on the claimed inputs and compares.
    fn verify(&self, job: &VerifyJob, cx: &Cx) -> Result<Verdict> {
        if !(job.tolerance >= 0.0 && job.tolerance.is_finite()) {
            return Err(Error::invalid_input(format!(
                "the tolerance is {}, expected 0 (bit for bit) or a small positive number",
                job.tolerance
            )));
        }
        cx.progress(0.0, "prepare");
        let plan = match self.cache.plan(&job.slice, cx.memory_limit()) {
            Ok(plan) => plan,
            // A payload that is not the slice is part of a false claim.
            Err(e) if e.kind == ErrorKind::InvalidInput => return Ok(Verdict::invalid(e.message)),
            Err(e) => return Err(e),
        };
        let slice = &job.slice;
        for (what, found, expected) in [
            ("inputs", job.inputs.len(), slice.inputs.len()),
            ("outputs", job.outputs.len(), slice.outputs.len()),
        ] {
            if let Err(reason) = count(what, found, expected) {
                return Ok(Verdict::invalid(reason));
            }
        }
        let mut inputs = Vec::with_capacity(job.inputs.len());
        for (file, wanted) in job.inputs.iter().zip(&slice.inputs) {
            match file
                .read_bytes()
                .map_err(Error::from)
                .and_then(|b| values::to_engine(&file.info, &b, wanted))
            {
                Ok(tensor) => inputs.push(tensor),
                Err(e) if e.kind == ErrorKind::InvalidInput => {
                    return Ok(Verdict::invalid(e.message));
                }
                Err(e) => return Err(e),
            }
        }
        cx.check_cancelled()?;
        cx.progress(0.3, "run");
        let results = plan.run(inputs)?;
        cx.check_cancelled()?;
        let mut total = Difference {
            identical: true,
            ..Difference::default()
        };
        let mut undecided = None;
        for ((file, declared), own) in job.outputs.iter().zip(&slice.outputs).zip(&results) {
            match judge(file, declared, own, job.tolerance)? {
                Outcome::Agrees(d) => total = total.join(d),
                Outcome::Differs(reason) => {
                    return Ok(Verdict::invalid(explain(reason, job.tolerance)));
                }
                Outcome::Undecided(reason) => {
                    undecided.get_or_insert(reason);
                }
            }
        }
        if let Some(reason) = undecided {
            return Err(Error::unsupported(reason)
                .with_hint("set a tolerance, or verify the proof with the backend that made it"));
        }
        let mut facts = facts();
        facts.insert("tolerance".into(), json!(job.tolerance));
        facts.insert("bit_for_bit".into(), json!(total.identical));
        facts.insert("largest_absolute_difference".into(), json!(total.absolute));
        facts.insert("largest_relative_difference".into(), json!(total.relative));
        Ok(Verdict::Valid {
            facts,
            warnings: Vec::new(),
        })
    }
}

/// Compares one claimed output; a claim that can't be read is a wrong claim.
fn judge(
    file: &TensorFile,
    declared: &TensorInfo,
    own: &tract_onnx::prelude::Tensor,
    tolerance: f64,
) -> Result<Outcome> {
    let compared = file
        .read_bytes()
        .map_err(Error::from)
        .and_then(|b| compare::output(&file.info, &b, declared, own, tolerance));
    match compared {
        Err(e) if e.kind == ErrorKind::InvalidInput => Ok(Outcome::Differs(e.message)),
        other => other,
    }
}

/// Without a tolerance, another processor is an honest cause of a small difference.
fn explain(reason: String, tolerance: f64) -> String {
    if tolerance > 0.0 {
        return reason;
    }
    format!(
        "{reason}. Recomputed by {} {} on {}; when the claim was made by another version or \
         on another processor, verify with a tolerance such as 1e-4",
        engine::NAME,
        engine::VERSION,
        engine::instruction_set()
    )
}

fn facts() -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("engine".into(), engine::identity());
    facts
}

fn count(what: &str, found: usize, expected: usize) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("the slice has {expected} {what}, found {found}"))
    }
}

//! The plugin's operations.

use crate::claim::{Proof, Settings, field, integer, integers};
use crate::driver::{Ezkl, INSTALL_HINT, LICENCE_NOTE, VERSION};
use crate::model::{normalise, operators};
use crate::srs::{self, LOGROWS, Places, Srs};
use dsperse_plugin_api::job::{Options, artefact};
use dsperse_plugin_api::{
    Artefact, ArtefactRef, Backend, BindsPublicIo, Capabilities, CompileJob, Cost, Cx, Descriptor,
    Done, Encoding, Error, ErrorKind, OptionSpec, Probe, ProbeJob, ProofProperties, ProveJob,
    Result, Role, Setup, SliceInfo, Stage, Support, SupportsJob, TensorFile, TensorInfo,
    ToolRequirement, ToolStatus, Verdict, VerifyJob, WitnessJob,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const CIRCUIT: &str = "circuit";
const SETTINGS: &str = "settings";
const KEYS: &str = "keys";
const PK: &str = "proving_key";
const VK: &str = "verifying_key";
const SRS: &str = "verifying_srs";
const WITNESS: &str = "witness";
const PROOF: &str = "proof";

/// Bits after the binary point of inputs and weights when the user sets nothing.
const DEFAULT_SCALE: i64 = 13;

/// Largest error against the float model when the user sets nothing, relative to the
/// largest output (or to 1, when that is larger).
const DEFAULT_MAX_ERROR: f64 = 0.02;

/// More blocks of columns than this make a proof long and its verification slow.
const MAX_BLOCKS: u64 = 64;

/// The backend. It keeps nothing between calls.
pub struct EzklBackend;

/// What a verdict must say of the keys.
#[derive(Debug, Serialize, Deserialize)]
struct Keys {
    logrows: u32,
    insecure_test_srs: bool,
    srs_fingerprint: String,
}

impl Backend for EzklBackend {
    fn describe() -> Descriptor {
        let mut d = Descriptor::new(
            "ezkl",
            env!("CARGO_PKG_VERSION"),
            "Proofs by an installed EZKL 23 (Halo2 with KZG over BN254).",
        );
        d.licence = "MIT OR Apache-2.0 (this plugin); EZKL publishes no open licence".into();
        d.capabilities = Capabilities {
            stages: vec![Stage::Compile, Stage::Witness, Stage::Prove, Stage::Verify],
            operators: operators(),
            proof: Some(ProofProperties {
                zero_knowledge: true,
                succinct: true,
                // Weights are fixed columns: the verifying key commits to them, unblinded.
                hides_weights: false,
                setup: Setup::Universal,
                binds_public_io: BindsPublicIo::Strong,
                post_quantum: false,
                reproducible_compile: true,
                security_bits: None,
                caveats: vec![
                    "Whoever knows the secret of the SRS can forge proofs: pin its fingerprint with the option srs_fingerprint".into(),
                ],
            }),
            tools: vec![ToolRequirement {
                name: "ezkl".into(),
                version: VERSION.into(),
                install_hint: INSTALL_HINT.into(),
                licence_note: LICENCE_NOTE.into(),
            }],
            reusable_worker: false,
            verify_needs_payload: false,
        };
        d.options = options();
        d
    }

    fn open(_: &Cx) -> Result<Self> {
        Ok(Self)
    }

    fn probe(&self, job: &ProbeJob, cx: &Cx) -> Result<Probe> {
        let mut notes = vec![LICENCE_NOTE.to_owned()];
        let found = Ezkl::find(&job.options).and_then(|e| {
            let version = e.version(cx)?;
            let checked = e.check(cx);
            Ok((e, version, checked))
        });
        let tool = match found {
            Ok((ezkl, version, checked)) => ToolStatus {
                name: "ezkl".into(),
                wanted: VERSION.into(),
                found: Some(version),
                path: Some(ezkl.python().display().to_string()),
                ok: checked.is_ok(),
                hint: checked.err().and_then(|e| e.hint),
            },
            Err(e) => {
                notes.push(e.message);
                ToolStatus {
                    name: "ezkl".into(),
                    wanted: VERSION.into(),
                    found: None,
                    path: None,
                    ok: false,
                    hint: e.hint,
                }
            }
        };
        let srs = match Places::new(&job.options) {
            Ok(places) => {
                let sizes = places.available();
                if places.insecure() {
                    notes.push(
                        "insecure_test_srs is on: proofs made here prove nothing to anybody else"
                            .into(),
                    );
                }
                ToolStatus {
                    name: "ezkl SRS".into(),
                    wanted: format!("kzg{}.srs or larger", LOGROWS.start()),
                    found: (!sizes.is_empty()).then(|| format!("2^{sizes:?} rows")),
                    path: None,
                    ok: !sizes.is_empty() || places.insecure(),
                    hint: places.find(*LOGROWS.start()).err().and_then(|e| e.hint),
                }
            }
            Err(e) => ToolStatus {
                name: "ezkl SRS".into(),
                wanted: "a directory".into(),
                found: None,
                path: None,
                ok: false,
                hint: e.hint,
            },
        };
        Ok(Probe {
            ready: tool.ok && srs.ok,
            can_verify: tool.ok,
            tools: vec![tool, srs],
            notes,
        })
    }

    fn supports(&self, job: &SupportsJob, cx: &Cx) -> Result<Support> {
        match normalise(payload(&job.slice)?) {
            Ok(_) => {}
            Err(e) if e.kind == ErrorKind::Unsupported => {
                return Ok(Support::No {
                    node: e.node,
                    op: e.op,
                    reason: e.message,
                });
            }
            Err(e) => return Err(e),
        }
        Ezkl::find(&job.options)?.check(cx)?;
        let places = Places::new(&job.options)?;
        if !places.insecure() && places.available().is_empty() {
            places.find(*LOGROWS.start())?;
        }
        Ok(Support::Yes {
            cost: Cost::default(),
        })
    }

    fn compile(&self, job: &CompileJob, cx: &Cx) -> Result<Done> {
        let ezkl = Ezkl::find(&job.options)?;
        let work = Work::new(cx)?;
        std::fs::write(work.file("model.onnx"), normalise(payload(&job.slice)?)?)?;
        let scale = integer_option(&job.options, "scale", 1..=30)?.unwrap_or(DEFAULT_SCALE);
        let places = Places::new(&job.options)?;

        cx.progress(0.05, "settings");
        let make_settings = |logrows: u32| -> Result<Settings> {
            let request = json!({
                "model": work.file("model.onnx"),
                "settings": work.file("settings.json"),
                "scale": scale,
                "logrows": logrows,
            });
            refused(ezkl.run("settings", request, cx)?)?;
            read_settings(&work.file("settings.json"))
        };
        let wish = integer_option(&job.options, "logrows", 15..=24)?;
        let first = wish.map_or(*LOGROWS.start(), |k| k as u32);
        let rows = make_settings(first)?.num_rows;
        let logrows = if wish.is_some() {
            first
        } else {
            choose_logrows(rows, &places)
        };
        let estimate = peak_estimate(rows, logrows);
        if let Some(limit) = cx.memory_limit().filter(|limit| *limit < estimate) {
            return Err(Error::resource(format!(
                "EZKL needs about {} MB to prove this slice ({rows} rows), the limit is {} MB",
                estimate >> 20,
                limit >> 20
            )));
        }
        let settings = make_settings(logrows)?;
        let srs = find_srs(&ezkl, &places, logrows, &work, cx)?;

        cx.progress(0.1, "circuit");
        let request = json!({
            "model": work.file("model.onnx"),
            "circuit": work.file("circuit.ezkl"),
            "settings": work.file("settings.json"),
        });
        refused(ezkl.run("compile_circuit", request, cx)?)?;
        let (facts, warnings) = self.fidelity(&ezkl, job, &settings, &work, cx)?;

        cx.progress(0.2, "keys");
        let request = json!({
            "circuit": work.file("circuit.ezkl"),
            "vk": work.file("vk.key"),
            "pk": work.file("pk.key"),
            "srs": srs.path,
        });
        refused(ezkl.run("setup", request, cx)?)?;

        // The time of day is the one thing in the settings that differs between two
        // compilations of the same slice.
        let mut document: Value = read_json(&work.file("settings.json"))?;
        if let Some(map) = document.as_object_mut() {
            map.insert("timestamp".into(), json!(0));
            // EZKL writes this list in no fixed order.
            if let Some(Value::Array(list)) = map.get_mut("required_range_checks") {
                list.sort_by_key(ToString::to_string);
            }
            if let Some(Value::Array(list)) = map.get_mut("required_lookups") {
                list.sort_by_key(ToString::to_string);
            }
            sort_maps(map);
        }
        let keys = Keys {
            logrows,
            insecure_test_srs: srs.insecure,
            srs_fingerprint: srs::fingerprint(&srs.verifying),
        };
        write_json(&work.file("settings.json"), &document)?;
        write_json(&cx.dir().join("keys.json"), &json!(keys))?;
        std::fs::write(cx.dir().join("verifying.srs"), &srs.verifying)?;
        work.keep(&["settings.json", "circuit.ezkl", "vk.key", "pk.key"])?;
        Ok(Done {
            artefacts: vec![
                Artefact::new(CIRCUIT, Role::Proving, "circuit.ezkl"),
                Artefact::new(PK, Role::Proving, "pk.key"),
                Artefact::new(VK, Role::Verifying, "vk.key"),
                Artefact::new(SETTINGS, Role::Verifying, "settings.json"),
                Artefact::new(SRS, Role::Verifying, "verifying.srs"),
                Artefact::new(KEYS, Role::Verifying, "keys.json"),
            ],
            facts: facts
                .into_iter()
                .chain([
                    ("logrows".to_owned(), json!(logrows)),
                    ("rows".to_owned(), json!(rows)),
                    ("scale".to_owned(), json!(scale)),
                    ("srs_fingerprint".to_owned(), json!(keys.srs_fingerprint)),
                ])
                .collect(),
            warnings: warnings
                .into_iter()
                .chain(srs.insecure.then(|| insecure_warning(&keys)))
                .collect(),
            ..Done::default()
        })
    }

    fn witness(&self, job: &WitnessJob, cx: &Cx) -> Result<Done> {
        let ezkl = Ezkl::find(&job.options)?;
        let settings = read_settings(Path::new(&artefact(&job.circuit, SETTINGS)?.path))?;
        let circuit = PathBuf::from(&artefact(&job.circuit, CIRCUIT)?.path);
        let work = Work::new(cx)?;
        let outputs = make_witness(
            &ezkl,
            &circuit,
            &integers_of(&job.inputs, &settings)?,
            &settings,
            &work,
            cx,
        )?;
        if job.options.get("mock").and_then(Value::as_bool) == Some(true) {
            let request = json!({"witness": work.file("witness.json"), "circuit": circuit});
            refused(ezkl.run("mock", request, cx)?)?;
        }
        let (_, exponents) = settings.exponents();
        if outputs.len() != job.slice.outputs.len() {
            return Err(Error::internal(format!(
                "EZKL's witness has {} outputs, the slice has {}",
                outputs.len(),
                job.slice.outputs.len()
            )));
        }
        let mut files = Vec::new();
        for (i, ((ints, info), exponent)) in outputs
            .iter()
            .zip(&job.slice.outputs)
            .zip(exponents)
            .enumerate()
        {
            let path = format!("output_{i}.bin");
            let bytes: Vec<u8> = ints.iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(cx.dir().join(&path), bytes)?;
            files.push(TensorFile {
                info: TensorInfo {
                    encoding: Encoding::Fixed { exponent },
                    ..info.clone()
                },
                path,
                sha256: String::new(),
            });
        }
        work.keep(&["witness.json"])?;
        Ok(Done {
            artefacts: vec![Artefact::new(WITNESS, Role::Secret, "witness.json")],
            outputs: files,
            ..Done::default()
        })
    }

    fn prove(&self, job: &ProveJob, cx: &Cx) -> Result<Done> {
        let ezkl = Ezkl::find(&job.options)?;
        let circuit = Circuit::read(&job.circuit)?;
        let instances = circuit
            .settings
            .instances(&job.inputs, &job.outputs)
            .map_err(Error::invalid_input)?;
        let srs = Places::new(&job.options)?.find(circuit.keys.logrows)?;
        if srs::fingerprint(&srs.verifying) != circuit.keys.srs_fingerprint {
            return Err(Error::tool_missing(
                "ezkl SRS",
                format!(
                    "the SRS \"{}\" is not of the ceremony that the keys were made with",
                    srs.path.display()
                ),
            )
            .with_hint("use the same SRS, or compile the slice again"));
        }
        let work = Work::new(cx)?;
        cx.progress(0.1, "proof");
        let request = json!({
            "witness": artefact(&job.witness, WITNESS)?.path,
            "circuit": artefact(&job.circuit, CIRCUIT)?.path,
            "pk": artefact(&job.circuit, PK)?.path,
            "proof": work.file("proof.json"),
            "srs": srs.path,
        });
        refused(ezkl.run("prove", request, cx)?)?;
        // EZKL proves a wrong witness without a word: only verification tells.
        cx.progress(0.9, "check");
        let verdict = judge(
            &ezkl,
            &circuit,
            &work.file("proof.json"),
            &instances,
            &work,
            cx,
        )?;
        if let Err(reason) = verdict {
            return Err(Error::internal(format!(
                "the proof that was made is invalid: {reason}"
            )));
        }
        work.keep(&["proof.json"])?;
        Ok(Done {
            artefacts: vec![Artefact::new(PROOF, Role::Verifying, "proof.json")],
            ..Done::default()
        })
    }

    fn verify(&self, job: &VerifyJob, cx: &Cx) -> Result<Verdict> {
        let circuit = match Circuit::read(&job.circuit) {
            Ok(circuit) => circuit,
            Err(e) => return Ok(Verdict::invalid(e.message)),
        };
        let instances = match circuit.settings.instances(&job.inputs, &job.outputs) {
            Ok(instances) => instances,
            Err(reason) => return Ok(Verdict::invalid(reason)),
        };
        let Ok(proof) = artefact(&job.proof, PROOF) else {
            return Ok(Verdict::invalid("there is no proof"));
        };
        let srs = match circuit.check_srs(&job.options) {
            Ok(warning) => warning,
            Err(reason) => return Ok(Verdict::invalid(reason)),
        };
        let ezkl = Ezkl::find(&job.options)?;
        let work = Work::new(cx)?;
        let path = Path::new(&proof.path);
        Ok(match judge(&ezkl, &circuit, path, &instances, &work, cx)? {
            Ok(()) => Verdict::Valid {
                facts: Map::from_iter([(
                    "srs_fingerprint".to_owned(),
                    json!(circuit.keys.srs_fingerprint),
                )]),
                warnings: srs.into_iter().collect(),
            },
            Err(reason) => Verdict::invalid(reason),
        })
    }
}

impl EzklBackend {
    /// Compares the circuit's outputs with the float model's on the calibration samples,
    /// and looks how much larger inputs may be.
    fn fidelity(
        &self,
        ezkl: &Ezkl,
        job: &CompileJob,
        settings: &Settings,
        work: &Work,
        cx: &Cx,
    ) -> Result<(Map<String, Value>, Vec<String>)> {
        let bound = match job.options.get("max_error") {
            None => DEFAULT_MAX_ERROR,
            Some(v) => v
                .as_f64()
                .filter(|v| *v > 0.0)
                .ok_or_else(|| bad_option("max_error", "a positive number"))?,
        };
        let (_, exponents) = settings.exponents();
        let circuit = work.file("circuit.ezkl");
        let mut worst = 0f64;
        let mut warnings = Vec::new();
        for (i, sample) in job.calibration.iter().enumerate() {
            let inputs = integers_of(sample, settings)?;
            let outputs = make_witness(ezkl, &circuit, &inputs, settings, work, cx)?;
            if let Some(expected) = job.calibration_outputs.get(i) {
                for ((ints, file), exponent) in outputs.iter().zip(expected).zip(&exponents) {
                    worst = worst.max(error(ints, *exponent, &file.read_values()?.to_f64()));
                }
            }
            if i == 0 {
                let twice: Vec<Vec<i64>> = inputs
                    .iter()
                    .map(|t| t.iter().map(|v| v.saturating_mul(2)).collect())
                    .collect();
                if make_witness(ezkl, &circuit, &twice, settings, work, cx).is_err() {
                    warnings.push(
                        "the circuit fails on inputs twice as large as the calibration data: lower \"scale\", or calibrate with larger data"
                            .to_owned(),
                    );
                }
            }
        }
        if worst > bound {
            return Err(Error::unsupported(format!(
                "EZKL's result differs from the float model by {worst:.3e} of the largest output, allowed is {bound:.3e}"
            ))
            .with_hint("raise \"scale\" or \"max_error\" in [backend.ezkl]"));
        }
        let mut facts = Map::new();
        if job.calibration_outputs.is_empty() {
            warnings.push(
                "EZKL's result is not compared with the float model: there is no calibration input"
                    .to_owned(),
            );
        } else {
            facts.insert("max_error".into(), json!(worst));
        }
        Ok((facts, warnings))
    }
}

/// Largest difference, relative to the largest float output or to 1.
fn error(ints: &[i64], exponent: i32, floats: &[f64]) -> f64 {
    if ints.len() != floats.len() {
        return f64::INFINITY;
    }
    let largest = floats.iter().fold(1f64, |m, v| m.max(v.abs()));
    let scale = 2f64.powi(exponent);
    ints.iter()
        .zip(floats)
        .map(|(i, f)| {
            let difference = (*i as f64 * scale - f).abs() / largest;
            if difference.is_nan() {
                f64::INFINITY
            } else {
                difference
            }
        })
        .fold(0.0, f64::max)
}

/// The verifying artefacts of a circuit.
struct Circuit {
    settings: Settings,
    keys: Keys,
    settings_path: PathBuf,
    vk: PathBuf,
    srs: PathBuf,
}

impl Circuit {
    fn read(list: &[ArtefactRef]) -> Result<Self> {
        let path = |name: &str| artefact(list, name).map(|a| PathBuf::from(&a.path));
        let keys: Keys = serde_json::from_value(read_json(&path(KEYS)?)?)
            .map_err(|e| Error::invalid_input(format!("the keys' description is corrupt: {e}")))?;
        let circuit = Self {
            settings: read_settings(&path(SETTINGS)?)?,
            keys,
            settings_path: path(SETTINGS)?,
            vk: path(VK)?,
            srs: path(SRS)?,
        };
        let srs = std::fs::read(&circuit.srs)?;
        if !srs::check_verifying(&srs) || srs::fingerprint(&srs) != circuit.keys.srs_fingerprint {
            return Err(Error::invalid_input("the verifying SRS is corrupt"));
        }
        Ok(circuit)
    }

    /// Decides whether the SRS may be trusted: `Ok` with a warning, or why not.
    fn check_srs(&self, options: &Options) -> std::result::Result<Option<String>, String> {
        let fingerprint = &self.keys.srs_fingerprint;
        if let Some(pinned) = options.get("srs_fingerprint").and_then(Value::as_str) {
            return if pinned.eq_ignore_ascii_case(fingerprint) {
                Ok(self
                    .keys
                    .insecure_test_srs
                    .then(|| insecure_warning(&self.keys)))
            } else {
                Err(format!(
                    "the keys rest on an SRS with fingerprint {fingerprint}, expected {pinned}"
                ))
            };
        }
        if self.keys.insecure_test_srs {
            return if srs::insecure(options) {
                Ok(Some(insecure_warning(&self.keys)))
            } else {
                Err("the keys rest on an insecure test SRS, which insecure_test_srs = true would allow".into())
            };
        }
        // The verifier's own file of the same ceremony settles it.
        let own = Places::new(options)
            .map_err(|e| e.message)?
            .find(self.keys.logrows);
        if own.is_ok_and(|srs| srs::fingerprint(&srs.verifying) == *fingerprint) {
            return Ok(None);
        }
        Ok(Some(format!(
            "the SRS with fingerprint {fingerprint} comes with the proof and is not checked: whoever knows its secret can forge proofs; pin it with srs_fingerprint"
        )))
    }
}

fn insecure_warning(keys: &Keys) -> String {
    format!(
        "insecure test SRS (fingerprint {}): its secret existed on the prover's machine, so this proof convinces nobody else",
        keys.srs_fingerprint
    )
}

/// Lets EZKL judge the proof's bytes together with the claim's values.
fn judge(
    ezkl: &Ezkl,
    circuit: &Circuit,
    proof: &Path,
    instances: &[String],
    work: &Work,
    cx: &Cx,
) -> Result<std::result::Result<(), String>> {
    let document: Proof = match std::fs::read(proof)
        .map_err(|e| e.to_string())
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string()))
    {
        Ok(document) => document,
        Err(e) => return Ok(Err(format!("the proof file can't be read: {e}"))),
    };
    match document.instances.as_slice() {
        [own] if own == instances => {}
        [own] => {
            let at = own.iter().zip(instances).position(|(a, b)| a != b);
            return Ok(Err(format!(
                "the proof's public values are not the claimed tensors: {} values, {} claimed, the first difference at {}",
                own.len(),
                instances.len(),
                at.map_or_else(|| "the end".to_owned(), |i| i.to_string())
            )));
        }
        other => {
            return Ok(Err(format!(
                "the proof has {} lists of public values, expected 1",
                other.len()
            )));
        }
    }
    let accepts = |bytes: &[u8]| -> Result<std::result::Result<(), String>> {
        let file = work.file("judged.json");
        write_json(&file, &Proof::document(bytes, instances))?;
        let request = json!({
            "proof": file,
            "settings": circuit.settings_path,
            "vk": circuit.vk,
            "srs": circuit.srs,
        });
        Ok(match ezkl.run("verify", request, cx)? {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(other) => Err(format!("EZKL answers {other}")),
            Err(e) => Err(format!("EZKL rejects the proof: {e}")),
        })
    };
    if let Err(reason) = accepts(&document.proof)? {
        return Ok(Err(reason));
    }
    // EZKL ignores bytes behind a proof; a proof without its last byte must be no proof.
    let shorter = document
        .proof
        .split_last()
        .map_or(&[][..], |(_, rest)| rest);
    Ok(match accepts(shorter)? {
        Ok(()) => Err("the proof has trailing bytes".into()),
        Err(_) => Ok(()),
    })
}

/// Makes `witness.json` in the work directory and returns the outputs' integers.
fn make_witness(
    ezkl: &Ezkl,
    circuit: &Path,
    inputs: &[Vec<i64>],
    settings: &Settings,
    work: &Work,
    cx: &Cx,
) -> Result<Vec<Vec<i64>>> {
    let data: Vec<Vec<String>> = inputs
        .iter()
        .map(|t| t.iter().map(|v| field(*v)).collect())
        .collect();
    write_json(&work.file("input.json"), &json!({"input_data": data}))?;
    let request = json!({
        "data": work.file("input.json"),
        "circuit": circuit,
        "witness": work.file("witness.json"),
    });
    refused(ezkl.run("witness", request, cx)?)?;
    let document = read_json(&work.file("witness.json"))?;
    let tensors = |key: &str| -> Option<Vec<Vec<i64>>> {
        let list = document.get(key)?.as_array()?;
        list.iter()
            .map(|t| {
                t.as_array()?
                    .iter()
                    .map(|v| integer(v.as_str()?))
                    .collect::<Option<Vec<i64>>>()
            })
            .collect()
    };
    let unreadable = || Error::internal("EZKL's witness file can't be read");
    if tensors("inputs").ok_or_else(unreadable)? != inputs {
        return Err(Error::internal(
            "EZKL's witness is of other inputs than those given",
        ));
    }
    let outputs = tensors("outputs").ok_or_else(unreadable)?;
    if outputs.len() != settings.model_output_scales.len() {
        return Err(unreadable());
    }
    Ok(outputs)
}

fn integers_of(files: &[TensorFile], settings: &Settings) -> Result<Vec<Vec<i64>>> {
    let (exponents, _) = settings.exponents();
    if files.len() != exponents.len() {
        return Err(Error::invalid_input(format!(
            "{} inputs, the circuit has {}",
            files.len(),
            exponents.len()
        )));
    }
    files
        .iter()
        .zip(exponents)
        .map(|(f, e)| integers(f, e))
        .collect()
}

/// Blocks of 2^logrows rows.
fn blocks(rows: u64, logrows: u32) -> u64 {
    rows.div_ceil(1 << logrows).max(1)
}

/// Few rows and more columns cost the prover least; a size whose SRS is there is preferred
/// to a smaller one whose SRS is not.
fn choose_logrows(rows: u64, places: &Places) -> u32 {
    let fits = |k: &u32| blocks(rows, *k) <= MAX_BLOCKS;
    let least = LOGROWS.clone().find(fits).unwrap_or(*LOGROWS.end());
    let there = places.available();
    there.into_iter().find(|k| *k >= least).unwrap_or(least)
}

/// Peak memory of `prove` in bytes: measured 11 to 22 kB for each row of each block.
fn peak_estimate(rows: u64, logrows: u32) -> u64 {
    (blocks(rows, logrows) << logrows) * 16_000
}

/// Finds the SRS, making a test SRS first when that was asked for.
fn find_srs(ezkl: &Ezkl, places: &Places, logrows: u32, work: &Work, cx: &Cx) -> Result<Srs> {
    if let Some(path) = places.test_file(logrows).filter(|p| !p.exists()) {
        cx.progress(0.06, "test SRS");
        let made = work.file("test.srs");
        ezkl.must("test_srs", json!({"srs": made, "logrows": logrows}), cx)?;
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        // Several slices may make the file at once: each writes its own copy whole, and
        // the first one stays, so that all keys rest on one SRS.
        let own = path.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::copy(&made, &own)?;
        let linked = std::fs::hard_link(&own, &path);
        std::fs::remove_file(&own)?;
        match linked {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e.into()),
            _ => {}
        }
    }
    places.find(logrows)
}

/// A refusal of EZKL while it makes something means that it can't do this slice.
fn refused(result: std::result::Result<Value, String>) -> Result<Value> {
    match result {
        Ok(Value::Bool(false)) => Err(Error::unsupported("EZKL reports failure")),
        Ok(value) => Ok(value),
        Err(e) => Err(Error::unsupported(format!("EZKL can't do this slice: {e}"))),
    }
}

/// A directory for files that EZKL makes; what is worth keeping is moved out at the end.
struct Work {
    dir: PathBuf,
    out: PathBuf,
}

impl Work {
    fn new(cx: &Cx) -> Result<Self> {
        let dir = cx.dir().join("work");
        std::fs::create_dir_all(&dir)?;
        Ok(Self {
            dir: dir.canonicalize()?,
            out: cx.dir().to_owned(),
        })
    }
    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
    fn keep(&self, names: &[&str]) -> Result<()> {
        for name in names {
            std::fs::rename(self.file(name), self.out.join(name))?;
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // The host throws the job's directory away in any case.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn payload(slice: &SliceInfo) -> Result<Vec<u8>> {
    let path = slice
        .model
        .as_ref()
        .ok_or_else(|| Error::invalid_input("the slice's ONNX file is needed and not there"))?;
    std::fs::read(path).map_err(|e| Error::invalid_input(format!("\"{path}\" can't be read: {e}")))
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid_input(format!("\"{}\" is corrupt: {e}", path.display())))
}

fn read_settings(path: &Path) -> Result<Settings> {
    serde_json::from_value(read_json(path)?)
        .map_err(|e| Error::invalid_input(format!("the circuit's settings are corrupt: {e}")))
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(std::fs::write(path, value.to_string())?)
}

fn sort_maps(map: &mut Map<String, Value>) {
    map.sort_keys();
    for value in map.values_mut() {
        sort_value(value);
    }
}

fn sort_value(value: &mut Value) {
    match value {
        Value::Object(map) => sort_maps(map),
        Value::Array(list) => list.iter_mut().for_each(sort_value),
        _ => {}
    }
}

fn bad_option(key: &str, expected: &str) -> Error {
    Error::invalid_input(format!(
        "the option \"{key}\" of the ezkl backend is not {expected}"
    ))
}

fn integer_option(
    options: &Options,
    key: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>> {
    match options.get(key) {
        None => Ok(None),
        Some(v) => v
            .as_i64()
            .filter(|v| range.contains(v))
            .map(Some)
            .ok_or_else(|| {
                bad_option(
                    key,
                    &format!("an integer from {} to {}", range.start(), range.end()),
                )
            }),
    }
}

fn options() -> Vec<OptionSpec> {
    let option =
        |key: &str, kind: &str, default: Option<Value>, compile: bool, help: &str| OptionSpec {
            key: key.into(),
            kind: kind.into(),
            help: help.into(),
            default,
            affects_compile: compile,
        };
    vec![
        option(
            "python",
            "path",
            None,
            false,
            "A Python that has the module ezkl; the Python environments are searched when it is not set.",
        ),
        option(
            "scale",
            "integer",
            Some(json!(DEFAULT_SCALE)),
            true,
            "Bits after the binary point of inputs and weights.",
        ),
        option(
            "logrows",
            "integer",
            None,
            true,
            "Rows of the circuit as a power of two (15 to 24); chosen from the slice and the SRS files when it is not set.",
        ),
        option(
            "max_error",
            "number",
            Some(json!(DEFAULT_MAX_ERROR)),
            true,
            "Largest difference from the float model, relative to the largest output; a slice beyond it goes to the next backend.",
        ),
        option(
            "mock",
            "bool",
            Some(json!(false)),
            false,
            "Check every constraint of a witness before it is proven.",
        ),
        option(
            "srs_dir",
            "path",
            None,
            false,
            "Directory with kzg<k>.srs; default: the places that EZKL uses.",
        ),
        option(
            "insecure_test_srs",
            "bool",
            Some(json!(false)),
            true,
            "Make and use a test SRS in srs_dir. For trials only: such proofs convince nobody.",
        ),
        option(
            "srs_fingerprint",
            "string",
            None,
            false,
            "SHA-256 of the SRS's s·G2 that a verifier insists on.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_spread_over_columns() {
        assert_eq!(blocks(1, 15), 1);
        assert_eq!(blocks(342_986, 15), 11);
        let options = Map::from_iter([("srs_dir".to_owned(), json!("/nonexistent"))]);
        let places = Places::new(&options).unwrap();
        assert_eq!(choose_logrows(342_986, &places), 15);
        assert_eq!(choose_logrows(64 << 15, &places), 15);
        assert_eq!(choose_logrows((64 << 15) + 1, &places), 16);
    }

    #[test]
    fn the_error_is_relative_to_the_largest_output() {
        assert_eq!(error(&[2, 4], -1, &[1.0, 2.5]), 0.2);
        assert_eq!(error(&[1], 0, &[f64::NAN]), f64::INFINITY);
        assert_eq!(error(&[1], 0, &[]), f64::INFINITY);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let options = Map::from_iter([("logrows".to_owned(), json!(40))]);
        let e = integer_option(&options, "logrows", 15..=24).unwrap_err();
        assert!(e.message.contains("\"logrows\""));
        assert!(e.message.contains("15 to 24"));
    }
}

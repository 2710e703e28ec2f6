//! The plugin's operations.

use crate::claim::Proof;
use crate::driver::{Ezkl, INSTALL_HINT, LICENCE_NOTE, VERSION};
use crate::files::{Work, payload, write_json};
use crate::model::{normalise, operators};
use crate::options::options;
use crate::prepare::{build, integers_of, make_witness, refused, settle};
use crate::srs::{self, LOGROWS, Places, Srs};
use crate::verdict::{
    Circuit, KEYS, Keys, SETTINGS, SRS, VK, digest, insecure_warning, judge, read_settings,
};
use dsperse_plugin_api::job::artefact;
use dsperse_plugin_api::{
    Artefact, Backend, BindsPublicIo, Capabilities, CompileJob, Cost, Cx, Descriptor, Done,
    Encoding, Error, ErrorKind, Probe, ProbeJob, ProofProperties, ProveJob, Result, Role, Setup,
    Stage, Support, SupportsJob, TensorFile, TensorInfo, ToolRequirement, ToolStatus, Verdict,
    VerifyJob, WitnessJob,
};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const CIRCUIT: &str = "circuit";
const PK: &str = "proving_key";
const WITNESS: &str = "witness";
const PROOF: &str = "proof";

/// The backend. It keeps nothing between calls.
pub struct EzklBackend;

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
        let places = Places::new(&job.options)?;
        cx.progress(0.05, "settings");
        let settled = settle(&ezkl, job, &places, &work, cx)?;
        let srs = find_srs(&ezkl, &places, settled.logrows, &work, cx)?;
        cx.progress(0.1, "circuit");
        let fidelity = build(&ezkl, job, &settled, &work, cx)?;

        cx.progress(0.2, "keys");
        let request = json!({
            "circuit": work.file("circuit.ezkl"),
            "vk": work.file("vk.key"),
            "pk": work.file("pk.key"),
            "srs": srs.path,
        });
        refused(ezkl.run("setup", request, cx)?)?;

        let keys = Keys {
            logrows: settled.logrows,
            insecure_test_srs: srs.insecure,
            srs_fingerprint: srs::fingerprint(&srs.verifying),
            verifying_key_sha256: digest(&work.file("vk.key"))?,
            settings_sha256: digest(&work.file("settings.json"))?,
        };
        write_json(&cx.dir().join("keys.json"), &json!(keys))?;
        std::fs::write(cx.dir().join("verifying.srs"), &srs.verifying)?;
        work.keep(&["settings.json", "circuit.ezkl", "vk.key", "pk.key"])?;
        let facts = [
            ("logrows", json!(settled.logrows)),
            ("rows", json!(settled.rows)),
            ("scale", json!(settled.scale)),
            ("srs_fingerprint", json!(keys.srs_fingerprint)),
        ];
        let facts = facts
            .into_iter()
            .chain(fidelity.max_error.map(|e| ("max_error", json!(e))));
        let warnings = fidelity.warnings.into_iter();
        Ok(Done {
            artefacts: vec![
                Artefact::new(CIRCUIT, Role::Proving, "circuit.ezkl"),
                Artefact::new(PK, Role::Proving, "pk.key"),
                Artefact::new(VK, Role::Verifying, "vk.key"),
                Artefact::new(SETTINGS, Role::Verifying, "settings.json"),
                Artefact::new(SRS, Role::Verifying, "verifying.srs"),
                Artefact::new(KEYS, Role::Verifying, "keys.json"),
            ],
            facts: facts.map(|(k, v)| (k.to_owned(), v)).collect(),
            warnings: warnings
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
        ezkl.must("prove", request, cx)?;
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
        let made: Proof = serde_json::from_slice(&std::fs::read(work.file("proof.json"))?)
            .map_err(|e| Error::internal(format!("EZKL's proof file can't be read: {e}")))?;
        let kept = Proof::document(&made.proof, &instances);
        write_json(&cx.dir().join("proof.json"), &kept)?;
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

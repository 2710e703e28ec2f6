//! Checks 8 to 13: the sample slices that the backend claims, through every stage.

use super::rig::{self, Rig};
use super::tampering;
use super::{Book, CANCEL_GRACE, Outcome, SampleSlice};
use crate::abi::Op;
use crate::job::Options;
use crate::{
    ArtefactRef, CompileJob, Descriptor, Done, Encoding, Error, ErrorKind, Probe, ProbeJob,
    ProveJob, Result, Role, SliceInfo, Stage, Support, SupportsJob, TensorFile, Verdict, VerifyJob,
    WitnessJob,
};
use std::time::{Duration, Instant};

/// A slice and input that went through every stage.
#[derive(Clone)]
pub(super) struct Trip {
    pub(super) slice: SliceInfo,
    pub(super) circuit: Vec<ArtefactRef>,
    pub(super) proof: Vec<ArtefactRef>,
    pub(super) inputs: Vec<TensorFile>,
    pub(super) outputs: Vec<TensorFile>,
    pub(super) witness: Vec<ArtefactRef>,
}

impl Trip {
    /// Asks for the verdict on this trip, as a verifier would: without the files that
    /// only a prover has.
    pub(super) fn verify(&self, rig: &Rig<'_>, needs_payload: bool) -> Result<Verdict> {
        let mut slice = self.slice.clone();
        if !needs_payload {
            slice.model = None;
        }
        let job = VerifyJob {
            slice,
            circuit: rig::for_verifier(&self.circuit),
            proof: self.proof.clone(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            tolerance: 0.0,
            options: Options::new(),
        };
        rig.call(Op::Verify, &job, None).map(|(verdict, _)| verdict)
    }
}

/// Runs the checks of this module and of [`tampering`].
pub(super) fn check(
    rig: &Rig<'_>,
    descriptor: &Descriptor,
    samples: &[SampleSlice],
    book: &mut Book,
) {
    let probe = rig.call::<_, Probe>(Op::Probe, &ProbeJob::default(), None);
    let ready = matches!(&probe, Ok((probe, _)) if probe.ready);
    let mut unsure = Vec::new();
    let mut claimed = Vec::new();
    for sample in samples {
        match supports(rig, sample) {
            Ok(Some(slice)) => claimed.push((sample, slice)),
            Ok(None) => {}
            // Without its tools a backend may be unable to tell.
            Err(e) if e.kind == ErrorKind::ToolMissing && !ready => {}
            Err(e) => unsure.push(format!("{}: {}", sample.name, e.message)),
        }
    }
    book.enter(8, unsure);
    book.claimed = claimed.iter().map(|(s, _)| s.name.clone()).collect();
    if !ready {
        return book.rest("the backend is not ready here, see \"dsperse plugin doctor\"");
    }
    if claimed.is_empty() {
        return book.rest("the backend claims none of the sample slices");
    }

    let mut notes = Notes::default();
    let mut trips: Vec<(&SampleSlice, Vec<Trip>)> = Vec::new();
    for (sample, slice) in &claimed {
        match round_trip(rig, descriptor, sample, slice, &mut notes) {
            Ok(pair) => trips.push((sample, pair)),
            Err(e) => notes.trips.push(format!("{}: {}", sample.name, e.message)),
        }
    }
    book.enter(9, notes.trips);
    book.enter(10, notes.declarations);
    book.enter(12, notes.far);
    book.enter(13, cancel(rig, descriptor, &trips));
    if let Some((sample, pair)) = trips.first()
        && let Some(trip) = pair.first()
    {
        let exact = &sample.cases[0].output;
        book.push(17, fixed_point(rig, descriptor, trip, exact));
    }
    match trips.first() {
        Some((_, pair)) => tampering::check(rig, descriptor, pair, book),
        None => book.rest("no sample slice went through every stage"),
    }
    book.enter(11, rig.strays.take());
}

/// Complaints, by check.
#[derive(Default)]
struct Notes {
    /// The sample that is worked on.
    sample: String,
    trips: Vec<String>,
    declarations: Vec<String>,
    far: Vec<String>,
}

impl Notes {
    fn declared(&mut self, stage: &str, complaints: Vec<String>) {
        for c in complaints {
            self.declarations
                .push(format!("{} {stage}: {c}", self.sample));
        }
    }
}

fn supports(rig: &Rig<'_>, sample: &SampleSlice) -> Result<Option<SliceInfo>> {
    let path = rig.fresh_dir("model")?.join("model.onnx");
    std::fs::write(&path, &sample.model)?;
    let slice = sample.info(Some(rig::text(&path)?));
    let job = SupportsJob {
        slice: slice.clone(),
        options: Options::new(),
    };
    let (first, _): (Support, _) = rig.call(Op::Supports, &job, None)?;
    let (second, _): (Support, _) = rig.call(Op::Supports, &job, None)?;
    match (&first, &second) {
        (Support::Yes { .. }, Support::Yes { .. }) => Ok(Some(slice)),
        (Support::No { reason, .. }, _) if reason.is_empty() => {
            Err(Error::internal("the answer is no, without a reason"))
        }
        (Support::No { .. }, Support::No { .. }) => Ok(None),
        _ => Err(Error::internal("two questions got two answers")),
    }
}

/// Takes both inputs of a sample through every stage.
fn round_trip(
    rig: &Rig<'_>,
    descriptor: &Descriptor,
    sample: &SampleSlice,
    slice: &SliceInfo,
    notes: &mut Notes,
) -> Result<Vec<Trip>> {
    let mut inputs = Vec::new();
    for case in &sample.cases {
        inputs.push(vec![input(rig, slice, &case.input)?]);
    }
    let job = CompileJob {
        slice: slice.clone(),
        calibration: inputs.clone(),
        calibration_outputs: Vec::new(),
        options: Options::new(),
    };
    let (compiled, dir) = staged(rig, Op::Compile, &job)?;
    let (circuit, complaints) = rig::artefacts(&compiled, &dir);
    notes.sample.clone_from(&sample.name);
    notes.declared("compile", complaints);

    let mut trips = Vec::new();
    for (inputs, case) in inputs.into_iter().zip(&sample.cases) {
        let exact = &case.output;
        trips.push(one_input(
            rig, descriptor, slice, &circuit, inputs, exact, notes,
        )?);
    }
    Ok(trips)
}

/// Takes one input through the stages after `compile`.
fn one_input(
    rig: &Rig<'_>,
    descriptor: &Descriptor,
    slice: &SliceInfo,
    circuit: &[ArtefactRef],
    inputs: Vec<TensorFile>,
    exact: &[f32],
    notes: &mut Notes,
) -> Result<Trip> {
    let job = WitnessJob {
        slice: slice.clone(),
        circuit: circuit.to_vec(),
        inputs: inputs.clone(),
        options: Options::new(),
    };
    let (ran, dir) = staged(rig, Op::Witness, &job)?;
    let (witness, complaints) = rig::artefacts(&ran, &dir);
    notes.declared("witness", complaints);
    let (outputs, complaints) = rig::outputs(&ran, &dir, &slice.outputs);
    let whole = complaints.is_empty();
    notes.declared("witness", complaints);
    if !whole {
        return Err(Error::internal("its outputs are not those of the slice"));
    }
    if let Some(line) = distance(&outputs, exact)? {
        notes.far.push(format!("{}: {line}", notes.sample));
    }
    let mut trip = Trip {
        slice: slice.clone(),
        circuit: circuit.to_vec(),
        proof: Vec::new(),
        inputs,
        outputs,
        witness,
    };
    if descriptor.capabilities.stages.contains(&Stage::Prove) {
        let (proven, dir) = staged(rig, Op::Prove, &prove_job(&trip))?;
        let (proof, mut complaints) = rig::artefacts(&proven, &dir);
        if !proof.iter().any(|a| a.role == Role::Verifying) {
            complaints.push("no artefact has the role \"verifying\", the role of a proof".into());
        }
        notes.declared("prove", complaints);
        trip.proof = proof;
    }
    let needs_payload = descriptor.capabilities.verify_needs_payload;
    honest(trip.verify(rig, needs_payload))?;
    // As the executor that computes other backends' slices again it gets no artefacts.
    if descriptor.capabilities.stages.contains(&Stage::Recompute) && !trip.circuit.is_empty() {
        let bare = Trip {
            circuit: Vec::new(),
            ..trip.clone()
        };
        honest(bare.verify(rig, needs_payload).map_err(|mut e| {
            e.message = format!("without artefacts, from the ONNX file alone: {}", e.message);
            e
        }))?;
    }
    Ok(trip)
}

fn honest(verdict: Result<Verdict>) -> Result<()> {
    match verdict.map_err(|e| at("verify", e))? {
        Verdict::Valid { .. } => Ok(()),
        Verdict::Invalid { reason } => Err(Error::internal(format!(
            "an honest claim is Invalid: {reason}"
        ))),
    }
}

/// Check 17: the first input again, as an earlier proven slice would hand it over.
fn fixed_point(rig: &Rig<'_>, descriptor: &Descriptor, trip: &Trip, exact: &[f32]) -> Outcome {
    const EXPONENT: i32 = -12;
    let convert = || -> Result<TensorFile> {
        let mut tensor = trip.inputs.first().cloned().unwrap_or_else(|| TensorFile {
            info: trip.slice.inputs[0].clone(),
            path: String::new(),
            sha256: String::new(),
        });
        let fixed = tensor.read_values()?.to_fixed(EXPONENT)?;
        let bytes: Vec<u8> = fixed.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensor.info.encoding = Encoding::Fixed { exponent: EXPONENT };
        store(rig, tensor.info, &bytes)
    };
    let mut notes = Notes {
        sample: "fixed point".into(),
        ..Notes::default()
    };
    let outcome = convert().and_then(|input| {
        let (slice, circuit) = (&trip.slice, &trip.circuit);
        one_input(
            rig,
            descriptor,
            slice,
            circuit,
            vec![input],
            exact,
            &mut notes,
        )
    });
    match outcome {
        Ok(_) if notes.far.is_empty() && notes.declarations.is_empty() => Outcome::Passed,
        Ok(_) => Outcome::Failed([notes.far, notes.declarations].concat()),
        Err(e) if e.kind == ErrorKind::Unsupported => {
            Outcome::Skipped("the backend takes no fixed-point inputs".into())
        }
        Err(e) => Outcome::Failed(vec![e.message]),
    }
}

fn prove_job(trip: &Trip) -> ProveJob {
    ProveJob {
        slice: trip.slice.clone(),
        circuit: trip.circuit.clone(),
        witness: trip.witness.clone(),
        inputs: trip.inputs.clone(),
        outputs: trip.outputs.clone(),
        options: Options::new(),
    }
}

fn staged<Job: serde::Serialize>(
    rig: &Rig<'_>,
    op: Op,
    job: &Job,
) -> Result<(Done, std::path::PathBuf)> {
    rig.call(op, job, None).map_err(|e| at(op.as_str(), e))
}

fn at(stage: &str, mut e: Error) -> Error {
    e.message = format!("\"{stage}\": {}", e.message);
    e
}

fn input(rig: &Rig<'_>, slice: &SliceInfo, values: &[f32]) -> Result<TensorFile> {
    let info = slice
        .inputs
        .first()
        .ok_or_else(|| Error::internal("a sample has one input"))?;
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    store(rig, info.clone(), &bytes)
}

fn store(rig: &Rig<'_>, info: crate::TensorInfo, bytes: &[u8]) -> Result<TensorFile> {
    let dir = rig.fresh_dir("input")?;
    std::fs::write(dir.join("x.bin"), bytes)?;
    let (path, sha256, _) = rig::inside(&dir, "x.bin").map_err(Error::internal)?;
    Ok(TensorFile { info, path, sha256 })
}

/// Says by how much the outputs miss the exact ones, when it is too much.
fn distance(outputs: &[TensorFile], exact: &[f32]) -> Result<Option<String>> {
    let Some(tensor) = outputs.first() else {
        return Ok(Some("no output".into()));
    };
    for (i, (found, exact)) in tensor.read_values()?.to_f32().iter().zip(exact).enumerate() {
        let near = (found - exact).abs() <= 0.05 * exact.abs().max(1.0);
        if !near {
            return Ok(Some(format!("element {i} is {found}, expected {exact}")));
        }
    }
    Ok(None)
}

/// Check 13, on the last (largest) sample that works.
fn cancel(
    rig: &Rig<'_>,
    descriptor: &Descriptor,
    trips: &[(&SampleSlice, Vec<Trip>)],
) -> Vec<String> {
    const AFTER: Duration = Duration::from_millis(20);
    let Some(trip) = trips.last().and_then(|(_, pair)| pair.first()) else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    let mut time = |op: Op, job: serde_json::Value| {
        let start = Instant::now();
        // Done or cancelled are both fine; only the time counts.
        let _ = rig.call::<_, serde_json::Value>(op, &job, Some(AFTER));
        let late = start.elapsed().saturating_sub(AFTER);
        if late > CANCEL_GRACE {
            complaints.push(format!(
                "\"{op}\" went on for {:.1} s after it was cancelled",
                late.as_secs_f64()
            ));
        }
    };
    let compile = CompileJob {
        slice: trip.slice.clone(),
        calibration: vec![trip.inputs.clone()],
        calibration_outputs: Vec::new(),
        options: Options::new(),
    };
    if let Ok(job) = serde_json::to_value(compile) {
        time(Op::Compile, job);
    }
    if descriptor.capabilities.stages.contains(&Stage::Prove)
        && let Ok(job) = serde_json::to_value(prove_job(trip))
    {
        time(Op::Prove, job);
    }
    complaints
}

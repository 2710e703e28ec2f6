//! Checks 8 to 13: the sample slices that the backend claims, through every stage.

use super::rig::{self, Rig};
use super::tampering;
use super::{Book, CANCEL_GRACE, SampleSlice};
use crate::abi::Op;
use crate::job::Options;
use crate::{
    ArtefactRef, CompileJob, Descriptor, Done, Encoding, Error, Probe, ProbeJob, ProveJob, Result,
    Role, SliceInfo, Stage, Support, SupportsJob, TensorFile, Verdict, VerifyJob, WitnessJob,
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
    let mut unsure = Vec::new();
    let mut claimed = Vec::new();
    for sample in samples {
        match supports(rig, sample) {
            Ok(Some(slice)) => claimed.push((sample, slice)),
            Ok(None) => {}
            Err(e) => unsure.push(format!("{}: {}", sample.name, e.message)),
        }
    }
    book.enter(8, unsure);
    book.claimed = claimed.iter().map(|(s, _)| s.name.clone()).collect();

    match rig.call::<_, Probe>(Op::Probe, &ProbeJob::default(), None) {
        Ok((probe, _)) if probe.ready => {}
        Ok(_) => return book.rest("the backend is not ready here, see \"dsperse plugin doctor\""),
        Err(_) => return book.rest("\"probe\" failed"),
    }
    if claimed.is_empty() {
        return book.rest("the backend claims none of the sample slices");
    }

    let mut notes = Notes::default();
    let mut trips: Vec<Vec<Trip>> = Vec::new();
    for (sample, slice) in &claimed {
        match round_trip(rig, descriptor, sample, slice, &mut notes) {
            Ok(pair) => trips.push(pair),
            Err(e) => notes.trips.push(format!("{}: {}", sample.name, e.message)),
        }
    }
    book.enter(9, notes.trips);
    book.enter(10, notes.declarations);
    book.enter(12, notes.far);
    book.enter(13, cancel(rig, descriptor, &trips));
    match trips.first() {
        Some(pair) => tampering::check(rig, descriptor, pair, book),
        None => book.rest("no sample slice went through every stage"),
    }
    book.enter(11, rig.strays.take());
    book.results.sort_by_key(|r| r.check.number);
}

/// Complaints, by check.
#[derive(Default)]
struct Notes {
    trips: Vec<String>,
    declarations: Vec<String>,
    far: Vec<String>,
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
    let mut declared = |stage: &str, complaints: Vec<String>| {
        for c in complaints {
            notes
                .declarations
                .push(format!("{} {stage}: {c}", sample.name));
        }
    };
    let (circuit, complaints) = rig::artefacts(&compiled, &dir);
    declared("compile", complaints);

    let mut trips = Vec::new();
    for (inputs, case) in inputs.into_iter().zip(&sample.cases) {
        let job = WitnessJob {
            slice: slice.clone(),
            circuit: circuit.clone(),
            inputs: inputs.clone(),
            options: Options::new(),
        };
        let (ran, dir) = staged(rig, Op::Witness, &job)?;
        let (witness, complaints) = rig::artefacts(&ran, &dir);
        declared("witness", complaints);
        let (outputs, complaints) = rig::outputs(&ran, &dir, &slice.outputs);
        let whole = complaints.is_empty();
        declared("witness", complaints);
        if !whole {
            return Err(Error::internal("its outputs are not those of the slice"));
        }
        if let Some(line) = distance(&outputs, &case.output)? {
            notes.far.push(format!("{}: {line}", sample.name));
        }
        let mut trip = Trip {
            slice: slice.clone(),
            circuit: circuit.clone(),
            proof: Vec::new(),
            inputs,
            outputs,
            witness,
        };
        if descriptor.capabilities.stages.contains(&Stage::Prove) {
            let (proven, dir) = staged(rig, Op::Prove, &prove_job(&trip))?;
            let (proof, complaints) = rig::artefacts(&proven, &dir);
            declared("prove", complaints);
            if !proof.iter().any(|a| a.role == Role::Verifying) {
                declared(
                    "prove",
                    vec!["no artefact has the role \"verifying\", the role of a proof".into()],
                );
            }
            trip.proof = proof;
        }
        let verdict = trip
            .verify(rig, descriptor.capabilities.verify_needs_payload)
            .map_err(|e| at("verify", e))?;
        if let Verdict::Invalid { reason } = verdict {
            return Err(Error::internal(format!(
                "an honest claim is Invalid: {reason}"
            )));
        }
        trips.push(trip);
    }
    Ok(trips)
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
    let dir = rig.fresh_dir("input")?;
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(dir.join("x.bin"), bytes)?;
    let (path, sha256, _) = rig::inside(&dir, "x.bin").map_err(Error::internal)?;
    Ok(TensorFile {
        info: info.clone(),
        path,
        sha256,
    })
}

/// Says by how much the outputs miss the exact ones, when it is too much.
fn distance(outputs: &[TensorFile], exact: &[f32]) -> Result<Option<String>> {
    let Some(tensor) = outputs.first() else {
        return Ok(Some("no output".into()));
    };
    let bytes = std::fs::read(&tensor.path)?;
    let found: Vec<f64> = match tensor.info.encoding {
        Encoding::F32 => (bytes.as_chunks().0.iter())
            .map(|b| f64::from(f32::from_le_bytes(*b)))
            .collect(),
        Encoding::F64 => (bytes.as_chunks().0.iter())
            .map(|b| f64::from_le_bytes(*b))
            .collect(),
        #[allow(clippy::cast_precision_loss)] // a comparison within 5 %
        Encoding::Fixed { exponent } => (bytes.as_chunks().0.iter())
            .map(|b| i64::from_le_bytes(*b) as f64 * f64::from(exponent).exp2())
            .collect(),
        other => {
            return Ok(Some(format!(
                "encoding {other:?}, expected a float or fixed point"
            )));
        }
    };
    for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
        let exact = f64::from(*exact);
        let near = (found - exact).abs() <= 0.05 * exact.abs().max(1.0);
        if !near {
            return Ok(Some(format!("element {i} is {found}, expected {exact}")));
        }
    }
    Ok(None)
}

/// Check 13, on the last (largest) sample that works.
fn cancel(rig: &Rig<'_>, descriptor: &Descriptor, trips: &[Vec<Trip>]) -> Vec<String> {
    const AFTER: Duration = Duration::from_millis(20);
    let Some(trip) = trips.last().and_then(|pair| pair.first()) else {
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

//! Models and runs made by a seed: the shapes of well-known networks with figures that are
//! plausible and always the same. No file and no backend takes part.

use dsperse_documents::{
    Artefact, BackendError, Claim, ComparedElement, ComparedTensor, Compilation, CompiledFidelity,
    Edge, Encoding, Engine, Fallback, Fidelity, KeyOrigin, MeasuredBy, ModelFile, ModelMetadata,
    ProofProperties, ReceiptFile, Require, Role, RunComparison, RunResults, SliceMetadata,
    SliceRun, SliceSummary, SliceVerdict, Stage, StageOutcome, Strategy, TensorInfo, Usage,
    Verdict, VerificationReport, WorstElement, derive_edges,
};
use dsperse_report::Subject;
use dsperse_report::subject::OutputValues;

/// Random numbers from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// From 0 to 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    /// 64 hexadecimal digits.
    pub fn digest(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next())).collect()
    }
}

/// A layer to be made into a slice.
pub struct Layer {
    /// Operators.
    pub ops: Vec<(&'static str, u64)>,
    /// Parameters.
    pub parameters: u64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Which earlier slices it reads; `None` is the model's input.
    pub reads: Vec<Option<usize>>,
    /// Shape of what it gives.
    pub shape: Vec<u64>,
}

fn tensor(name: String, shape: &[u64]) -> TensorInfo {
    TensorInfo {
        name,
        encoding: Encoding::F32,
        shape: shape.to_vec(),
    }
}

/// The sliced model of these layers.
pub fn model(name: &str, input: &[u64], layers: Vec<Layer>, random: &mut Random) -> Subject {
    let inputs = vec![tensor("image".to_owned(), input)];
    let out = |k: usize| format!("/features/layer_{k}/output");
    let mut slices: Vec<SliceSummary> = Vec::new();
    for (k, l) in layers.iter().enumerate() {
        slices.push(SliceSummary {
            index: k,
            payload_sha256: random.digest(),
            payload_size: l.parameters * 4 + 900,
            inputs: l
                .reads
                .iter()
                .map(|r| match r {
                    None => inputs[0].clone(),
                    Some(at) => tensor(out(*at), &layers[*at].shape),
                })
                .collect(),
            outputs: vec![tensor(out(k), &l.shape)],
            operators: l.ops.iter().map(|(o, n)| ((*o).to_owned(), *n)).collect(),
            parameters: l.parameters,
            macs: l.macs,
            ..SliceSummary::default()
        });
    }
    let outputs = slices.last().map(|s| s.outputs.clone()).unwrap_or_default();
    let edges: Vec<Edge> = derive_edges(&inputs, &outputs, &slices).expect("edges that fit");
    let mut model = ModelMetadata {
        tool_version: "0.1.0".to_owned(),
        model: ModelFile {
            name: name.to_owned(),
            size: layers.iter().map(|l| l.parameters * 4).sum(),
            sha256: random.digest(),
            ..ModelFile::default()
        },
        ir_version: 8,
        opset_imports: [(String::new(), 17)].into(),
        strategy: Strategy {
            name: "layer".to_owned(),
            ..Strategy::default()
        },
        inputs,
        outputs,
        nodes: layers.iter().flat_map(|l| &l.ops).map(|(_, n)| n).sum(),
        parameters: layers.iter().map(|l| l.parameters).sum(),
        macs: layers.iter().map(|l| l.macs).sum(),
        edges,
        slices,
        ..ModelMetadata::default()
    };
    model.identity = model.compute_identity();
    let slices = model
        .slices
        .iter()
        .map(|s| SliceMetadata::from_summary(s, &model.identity, "payload/slice.onnx"))
        .collect();
    Subject {
        name: name.to_owned(),
        model,
        slices,
        ..Subject::default()
    }
}

/// When everything began, so that pages do not change from day to day.
const BEGAN: f64 = 1_769_860_800.0;

/// Compiles every slice: those for which `takes` says so by sumcheck, the rest by onnx.
pub fn compile(subject: &mut Subject, random: &mut Random, takes: impl Fn(&SliceMetadata) -> bool) {
    let mut clock = [BEGAN, BEGAN];
    for s in &mut subject.slices {
        let proves = takes(s);
        s.fallbacks.push(Fallback::new(
            "jstprove",
            Stage::Compile,
            "no plugin of this name is loaded",
        ));
        let mut name = "sumcheck";
        if !proves {
            name = "onnx";
            let ops: Vec<String> = s
                .operators
                .keys()
                .map(|o| format!("\"{o}\" (opset 17)"))
                .collect();
            s.fallbacks.push(Fallback::new(
                "sumcheck",
                Stage::Compile,
                format!("operators {} are not in its list", ops.join(", ")),
            ));
        }
        let work = s.macs as f64 / 4e8 + 0.02;
        let lane = usize::from(clock[1] < clock[0]);
        let seconds = work * (0.8 + 0.4 * random.fraction());
        s.backend = Some(name.to_owned());
        s.compilations.insert(
            name.to_owned(),
            Compilation {
                backend_version: if proves { "0.2.0" } else { "0.1.0" }.to_owned(),
                plugin_sha256: "5a".repeat(32),
                options_sha256: "6b".repeat(32),
                payload_sha256: s.payload.sha256.clone(),
                artefacts: vec![Artefact {
                    size: s.parameters * 8 + 4000,
                    sha256: random.digest(),
                    ..Artefact::new("proving_key", Role::Proving, "sumcheck/proving_key")
                }],
                proof: proves.then(|| ProofProperties {
                    post_quantum: true,
                    security_bits: Some(100),
                    caveats: vec![
                        "proofs are not zero-knowledge: they reveal something of weights and activations"
                            .to_owned(),
                        "a proof speaks of the quantised slice; see the fidelity figures for its distance from the float model"
                            .to_owned(),
                    ],
                    ..ProofProperties::default()
                }),
                usage: Usage {
                    seconds,
                    cpu_seconds: seconds * 1.6,
                    peak_bytes: 40_000_000 + s.parameters * 24,
                    started_at: Some(clock[lane]),
                },
                fidelity: proves.then(|| CompiledFidelity {
                    samples: 1,
                    error: 0.002,
                    target: 0.004 + 0.006 * random.fraction(),
                    max_error: 0.01,
                    ..CompiledFidelity::default()
                }),
                ..Compilation::default()
            },
        );
        clock[lane] += seconds;
    }
}

/// How far a run gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Far {
    /// So many slices run, and then it was interrupted.
    Half(usize),
    /// All slices ran.
    Ran,
    /// And were proven.
    Proved,
    /// And verified.
    Verified,
}

/// Runs a compiled model.
pub fn run(subject: &mut Subject, random: &mut Random, far: Far) {
    subject.name = "run_20260131_120000".to_owned();
    let upto = match far {
        Far::Half(n) => n,
        _ => subject.slices.len(),
    };
    let mut run = RunResults {
        tool_version: "0.1.0".to_owned(),
        started: "2026-01-31T12:00:00+00:00".to_owned(),
        model_identity: subject.model.identity.clone(),
        model_sha256: subject.model.model.sha256.clone(),
        input_sha256: random.digest(),
        output_sha256: (upto == subject.slices.len()).then(|| random.digest()),
        engine: Engine {
            name: "tract".to_owned(),
            version: "0.23.9".to_owned(),
            instruction_set: "x86_64+fma+avx2".to_owned(),
            ..Engine::default()
        },
        output: subject
            .model
            .outputs
            .iter()
            .map(|t| t.name.clone())
            .collect(),
        ..RunResults::default()
    };
    let mut comparison = RunComparison {
        model_identity: run.model_identity.clone(),
        input_sha256: run.input_sha256.clone(),
        ..RunComparison::default()
    };
    let (mut at, mut proving, mut chain) = (BEGAN + 900.0, [BEGAN + 1000.0; 2], 0f64);
    let kept = (4000 / subject.slices.len().max(1)).clamp(24, 200);
    for s in &subject.slices {
        let mut r = SliceRun {
            index: s.index,
            claim: Claim {
                inputs: s.inputs.iter().map(|t| t.name.clone()).collect(),
                outputs: s.outputs.iter().map(|t| t.name.clone()).collect(),
            },
            ..SliceRun::default()
        };
        let proves = s.backend.as_deref() == Some("sumcheck");
        if s.index < upto {
            let seconds = s.macs as f64 / 3e9 + 0.01;
            r.backend.clone_from(&s.backend);
            r.backend_version = Some(if proves { "0.2.0" } else { "0.1.0" }.to_owned());
            r.witness_execution = Some(StageOutcome {
                success: true,
                usage: Usage {
                    seconds,
                    cpu_seconds: seconds,
                    peak_bytes: 30_000_000 + s.parameters * 8,
                    started_at: Some(at),
                },
                ..StageOutcome::default()
            });
            at += seconds;
            let own = if proves {
                2e-4 + 2e-3 * random.fraction()
            } else {
                0.0
            };
            chain = (chain * 0.97 + own * 0.6).min(0.008);
            if proves {
                r.fidelity = Some(fidelity(own, &s.outputs[0].name, random));
            }
            comparison.tensors.push(compared(s, chain, kept, random));
        }
        if matches!(far, Far::Proved | Far::Verified) && proves {
            let lane = usize::from(proving[1] < proving[0]);
            let seconds = (s.macs as f64 / 1.2e8 + 0.05) * (0.8 + 0.4 * random.fraction());
            r.proof_execution = Some(StageOutcome {
                success: true,
                usage: Usage {
                    seconds,
                    cpu_seconds: seconds * 1.8,
                    peak_bytes: 80_000_000 + s.macs / 3,
                    started_at: Some(proving[lane]),
                },
                files: vec![Artefact {
                    size: 60_000 + s.macs / 9000,
                    sha256: random.digest(),
                    ..Artefact::new("proof", Role::Public, "proof")
                }],
                ..StageOutcome::default()
            });
            proving[lane] += seconds;
        }
        run.slices.push(r);
    }
    if upto == subject.slices.len() {
        let mut whole = fidelity(chain, &run.output[0], random);
        whole.target = Some(0.01);
        run.fidelity = Some(whole);
        subject.comparison = Some(comparison);
        subject.outputs = vec![OutputValues {
            name: run.output[0].clone(),
            shape: subject.model.outputs[0].shape.clone(),
            largest: Some((281, 14.062)),
        }];
    }
    run.update_totals();
    subject.run = Some(run);
    if far == Far::Verified {
        verify(subject, random, None);
    }
}

fn fidelity(error: f64, output: &str, random: &mut Random) -> Fidelity {
    let expected = 4.0 * random.fraction() - 2.0;
    Fidelity {
        max_abs: Some(error * 8.0),
        max_rel: Some(error),
        same_argmax: Some(true),
        error: Some(error),
        worst: (error > 0.0).then(|| WorstElement {
            output: output.to_owned(),
            element: 17,
            expected: Some(expected),
            found: Some(expected + error * 8.0),
        }),
        top5: Some(1.0),
        ..Fidelity::default()
    }
}

fn compared(s: &SliceMetadata, error: f64, kept: usize, random: &mut Random) -> ComparedTensor {
    let name = s.outputs[0].name.clone();
    let sample = (0..kept as u64)
        .map(|k| {
            let v = f64::from(((random.fraction() - 0.5) * 9.0).max(-0.4) as f32);
            let d = (random.fraction() - 0.5) * 2.0 * error * 4.0;
            let seven = |v: f64| format!("{v:.6e}").parse().ok();
            ComparedElement {
                element: k * 97,
                expected: seven(v),
                found: seven(v + d),
            }
        })
        .collect();
    ComparedTensor {
        tensor: name.clone(),
        slice: s.index,
        elements: s.outputs[0].shape.iter().product(),
        error: Some(error),
        max_abs: Some(error * 4.0),
        worst: fidelity(error, &name, random).worst,
        sample: if error > 0.0 { sample } else { Vec::new() },
        ..ComparedTensor::default()
    }
}

/// Verifies a proven run; the proof of slice `wrong` does not hold.
pub fn verify(subject: &mut Subject, random: &mut Random, wrong: Option<usize>) {
    let run = subject.run.clone().expect("a run");
    let mut report = VerificationReport {
        tool_version: "0.1.0".to_owned(),
        model_identity: run.model_identity.clone(),
        model_sha256: run.model_sha256.clone(),
        input_sha256: run.input_sha256.clone(),
        output_sha256: run.output_sha256.clone().unwrap_or_default(),
        require: Require::Checked,
        fidelity: run.fidelity.clone(),
        fidelity_by: Some(MeasuredBy::Verifier),
        ..VerificationReport::default()
    };
    let mut at = BEGAN + 4000.0;
    for (s, r) in subject.slices.iter().zip(&run.slices) {
        let mut v = SliceVerdict::new(s.index, Verdict::Recomputed, &s.payload.sha256);
        let seconds = 0.02 + 0.02 * random.fraction();
        v.usage = Usage {
            seconds,
            cpu_seconds: seconds,
            peak_bytes: 12_000_000,
            started_at: Some(at),
        };
        at += seconds;
        v.backend = r.backend.clone();
        v.backend_version = r.backend_version.clone();
        v.plugin_sha256 = Some("5a".repeat(32));
        match &r.proof_execution {
            Some(p) => {
                v.verdict = Verdict::Proven;
                v.keys = Some(KeyOrigin::AsGiven);
                v.proof = s.compilations.get("sumcheck").and_then(|c| c.proof.clone());
                v.circuit = vec![ReceiptFile {
                    name: "verifying_key".to_owned(),
                    sha256: random.digest(),
                }];
                v.proof_files = p
                    .files
                    .iter()
                    .map(|f| ReceiptFile {
                        name: f.name.clone(),
                        sha256: f.sha256.clone(),
                    })
                    .collect();
            }
            None => {
                v.reason = Some("backend \"onnx\" makes no proofs".to_owned());
                v.tolerance = Some(0.0);
            }
        }
        if wrong == Some(s.index) {
            v.verdict = Verdict::Failed;
            v.proof = None;
            v.keys = None;
            v.reason = Some(
                "The proof does not hold: layer 1 of the lookup argument does not add up"
                    .to_owned(),
            );
        }
        report.slices.push(v);
    }
    report.conclude(&subject.model);
    let results = subject.run.as_mut().expect("a run");
    for (r, v) in results.slices.iter_mut().zip(&report.slices) {
        r.verification_execution = Some(StageOutcome {
            success: report.require.accepts(v.verdict),
            usage: v.usage,
            verdict: Some(v.verdict),
            ..StageOutcome::default()
        });
    }
    results.update_totals();
    subject.verification = Some(report);
}

fn conv(
    ops: &[(&'static str, u64)],
    cin: u64,
    cout: u64,
    k: u64,
    side: u64,
    reads: Vec<Option<usize>>,
) -> Layer {
    Layer {
        ops: ops.to_vec(),
        parameters: cin * cout * k * k + cout,
        macs: cin * cout * k * k * side * side,
        reads,
        shape: vec![1, cout, side, side],
    }
}

/// Bottlenecks in four stages, with residual connections.
pub fn resnet50(random: &mut Random) -> Subject {
    let mut layers = vec![conv(
        &[("Conv", 1), ("Relu", 1), ("MaxPool", 1)],
        3,
        64,
        7,
        112,
        vec![None],
    )];
    layers[0].shape = vec![1, 64, 56, 56];
    let (mut cin, mut last) = (64, 0);
    for (stage, blocks) in [3usize, 4, 6, 3].into_iter().enumerate() {
        let width = 64 << stage;
        let side = 56 >> stage;
        for block in 0..blocks {
            let entry = last;
            let n = layers.len();
            layers.push(conv(
                &[("Conv", 1), ("Relu", 1)],
                cin,
                width,
                1,
                side,
                vec![Some(entry)],
            ));
            layers.push(conv(
                &[("Conv", 1), ("Relu", 1)],
                width,
                width,
                3,
                side,
                vec![Some(n)],
            ));
            let mut skip = entry;
            if block == 0 {
                layers.push(conv(
                    &[("Conv", 1)],
                    cin,
                    width * 4,
                    1,
                    side,
                    vec![Some(entry)],
                ));
                skip = n + 2;
            }
            layers.push(conv(
                &[("Conv", 1), ("Add", 1), ("Relu", 1)],
                width,
                width * 4,
                1,
                side,
                vec![Some(n + 1), Some(skip)],
            ));
            last = layers.len() - 1;
            cin = width * 4;
        }
    }
    layers.push(Layer {
        ops: vec![("GlobalAveragePool", 1), ("Flatten", 1), ("Gemm", 1)],
        parameters: 2048 * 1000 + 1000,
        macs: 2048 * 1000,
        reads: vec![Some(last)],
        shape: vec![1, 1000],
    });
    model("resnet50-like.onnx", &[1, 3, 224, 224], layers, random)
}

/// Dense blocks of 6, 12, 24 and 16 pairs: 121 slices.
pub fn densenet121(random: &mut Random) -> Subject {
    let pair = [("BatchNormalization", 1), ("Relu", 1), ("Conv", 1)];
    let last = [
        ("BatchNormalization", 1),
        ("Relu", 1),
        ("Conv", 1),
        ("Concat", 1),
    ];
    let mut layers = vec![conv(
        &[("Conv", 1), ("MaxPool", 1)],
        3,
        64,
        7,
        112,
        vec![None],
    )];
    layers[0].shape = vec![1, 64, 56, 56];
    let (mut channels, mut from, mut side) = (64, 0, 56);
    for (k, pairs) in [6usize, 12, 24, 16].into_iter().enumerate() {
        for _ in 0..pairs {
            let n = layers.len();
            layers.push(conv(&pair, channels, 128, 1, side, vec![Some(from)]));
            channels += 32;
            let mut l = conv(&last, 128, 32, 3, side, vec![Some(n), Some(from)]);
            l.shape = vec![1, channels, side, side];
            layers.push(l);
            from = n + 1;
        }
        if k < 3 {
            let n = layers.len();
            channels /= 2;
            side /= 2;
            let mut l = conv(
                &[
                    ("BatchNormalization", 1),
                    ("Relu", 1),
                    ("Conv", 1),
                    ("AveragePool", 1),
                ],
                channels * 2,
                channels,
                1,
                side * 2,
                vec![Some(from)],
            );
            l.shape = vec![1, channels, side, side];
            layers.push(l);
            from = n;
        }
    }
    layers.push(Layer {
        ops: vec![("GlobalAveragePool", 1), ("Flatten", 1), ("Gemm", 1)],
        parameters: channels * 1000 + 1000,
        macs: channels * 1000,
        reads: vec![Some(from)],
        shape: vec![1, 1000],
    });
    model("densenet121-like.onnx", &[1, 3, 224, 224], layers, random)
}

/// Names that try to break out of whatever they stand in.
pub const HOSTILE: [&str; 8] = [
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)//'><svg onload=alert(1)>",
    "\u{202e}detpecca\u{1b}[2J\u{1b}[Hverdict: accepted",
    "a-name-without-any-place-to-break-a-line-that-goes-on-and-on-and-on-for-more-than-a-hundred-and-twenty-characters-and-then-some-more",
    "{{ 7*7 }}{% raw %}&lt;b&gt;",
    "=cmd|' /C calc'!A0",
    "名前 🙂 \u{0}\u{2028}--><!--",
];

/// Every name that a model or a run holds is one of [`HOSTILE`].
pub fn hostile(random: &mut Random) -> Subject {
    let layers = (0..6)
        .map(|k: usize| Layer {
            ops: vec![(HOSTILE[k], 1), (HOSTILE[(k + 3) % 8], 2)],
            parameters: 1000,
            macs: 1000 * (k as u64 + 1),
            reads: vec![k.checked_sub(1)],
            shape: vec![1, 10],
        })
        .collect();
    let mut s = model(HOSTILE[0], &[1, 10], layers, random);
    compile(&mut s, random, |s| s.index % 2 == 0);
    run(&mut s, random, Far::Proved);
    for slice in &mut s.slices {
        for (k, f) in slice.fallbacks.iter_mut().enumerate() {
            f.backend = HOSTILE[(slice.index + k) % 8].to_owned();
            f.reason = HOSTILE[(slice.index + k + 1) % 8].to_owned();
            f.hint = Some(HOSTILE[(slice.index + k + 2) % 8].to_owned());
        }
        for c in slice.compilations.values_mut() {
            c.warnings = HOSTILE.map(str::to_owned).to_vec();
        }
    }
    verify(&mut s, random, Some(3));
    s.name = HOSTILE[1].to_owned();
    s.remarks = vec![HOSTILE[2].to_owned()];
    for (k, t) in s.model.inputs.iter_mut().enumerate() {
        t.name = HOSTILE[k].to_owned();
    }
    let names: Vec<String> = s.model.edges.iter().map(|e| e.tensor.clone()).collect();
    let renamed = |n: &str| {
        let k = names.iter().position(|x| x == n).unwrap_or(0);
        format!("{} {k}", HOSTILE[k % 8])
    };
    for m in &mut s.model.slices {
        for t in m.inputs.iter_mut().chain(&mut m.outputs) {
            t.name = renamed(&t.name);
        }
    }
    for e in &mut s.model.edges {
        e.tensor = renamed(&e.tensor);
    }
    for m in &mut s.slices {
        for t in m.inputs.iter_mut().chain(&mut m.outputs) {
            t.name = renamed(&t.name);
        }
    }
    for t in s.model.outputs.iter_mut() {
        t.name = renamed(&t.name);
    }
    if let Some(v) = &mut s.verification {
        v.failures = vec![HOSTILE[3].to_owned()];
        v.tool_version = HOSTILE[5].to_owned();
        for x in &mut v.slices {
            x.backend = Some(HOSTILE[x.index % 8].to_owned());
            x.reason = Some(HOSTILE[(x.index + 4) % 8].to_owned());
            x.warnings = vec![HOSTILE[(x.index + 5) % 8].to_owned()];
        }
    }
    if let Some(r) = &mut s.run {
        r.started = HOSTILE[7].to_owned();
        r.engine.name = HOSTILE[0].to_owned();
        for x in &mut r.slices {
            x.backend = Some(HOSTILE[(x.index + 2) % 8].to_owned());
        }
    }
    for o in &mut s.outputs {
        o.name = HOSTILE[6].to_owned();
    }
    s
}

/// Every case of the browser's test, by the name of its file.
pub fn all() -> Vec<(&'static str, Subject)> {
    let heavy = |s: &SliceMetadata| !s.operators.contains_key("GlobalAveragePool");
    let mut cases = Vec::new();
    let mut seed = Random(1);
    let r = &mut seed;

    let s = resnet50(r);
    cases.push(("sliced", s.clone()));
    let mut compiled = s.clone();
    compile(&mut compiled, r, heavy);
    cases.push(("compiled", compiled.clone()));
    let mut verified = compiled.clone();
    run(&mut verified, r, Far::Verified);
    cases.push(("resnet50", verified));
    let mut no_proofs = compiled.clone();
    run(&mut no_proofs, r, Far::Ran);
    cases.push(("no-proofs", no_proofs));
    let mut unverified = compiled.clone();
    run(&mut unverified, r, Far::Proved);
    cases.push(("unverified", unverified.clone()));
    verify(&mut unverified, r, Some(17));
    cases.push(("failed", unverified));
    let mut half = compiled;
    run(&mut half, r, Far::Half(20));
    if let Some(x) = half.run.as_mut().and_then(|x| x.slices.get_mut(20)) {
        x.witness_execution = Some(StageOutcome {
            error: Some(
                BackendError::resource("the worker needed more than 4.0 GiB of memory")
                    .with_hint("give it more with --memory"),
            ),
            ..StageOutcome::default()
        });
    }
    cases.push(("half", half));
    let mut dense = densenet121(r);
    compile(&mut dense, r, heavy);
    run(&mut dense, r, Far::Verified);
    cases.push(("densenet121", dense));
    cases.push(("hostile", hostile(r)));
    cases
}

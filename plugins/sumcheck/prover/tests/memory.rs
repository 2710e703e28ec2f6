//! The estimate of a proof's memory against the truth, as the kernel counts it.
#![cfg(target_os = "linux")]

use dsperse_sumcheck_prover::{compile, memory, prove_once};
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::program::*;
use std::path::{Path, PathBuf};

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|l| l.starts_with(name));
    let number = line.and_then(|l| l.split_whitespace().nth(1));
    1024 * number
        .and_then(|n| n.parse::<u64>().ok())
        .expect("a number")
}

fn values(n: usize, lo: i64, hi: i64) -> Vec<i64> {
    (0..n as i64)
        .map(|i| lo + i * 7919 % (hi - lo + 1))
        .collect()
}

/// A layer of `rows` by `width` values with rounding after it.
fn dense(rows: usize, width: usize, bits: u32) -> (Program, Vec<Tensor>, Vec<Tensor>) {
    let mut program = Program::default();
    let half = 1i64 << (bits - 1);
    let (lo, hi) = (-half, half - 1);
    let shape = vec![rows, width];
    let x = program.push(Op::Input {
        shape: shape.clone(),
        lo,
        hi,
    });
    let square = vec![width, width];
    let w = program.push(Op::Weight {
        shape: square.clone(),
        lo,
        hi,
    });
    let product = program.push(Op::Einsum {
        a: x,
        b: w,
        a_labels: b"tc".to_vec(),
        b_labels: b"cn".to_vec(),
        out_labels: b"tn".to_vec(),
    });
    let rounded = program.push(Op::Requant {
        input: product,
        multiplier: 1,
        shift: bits + 4,
        lo,
        hi,
    });
    let negated = program.push(Op::Affine {
        terms: vec![(rounded, -1)],
        constant: -1,
    });
    let most = program.push(Op::Max {
        inputs: vec![rounded, negated],
    });
    program.outputs = vec![most];
    let tensor = |shape: Vec<usize>| {
        let data = values(shape.iter().product(), lo, hi);
        Tensor { shape, data }
    };
    (program, vec![tensor(square)], vec![tensor(shape)])
}

/// Rows, width and bits: values dominate, weights dominate, and sizes that are padded much.
const CASES: [(usize, usize, u32); 3] = [(4096, 64, 12), (16, 1024, 8), (700, 300, 11)];

/// Names the case for the process that measures it.
const CASE: &str = "DSPERSE_MEMORY_CASE";

/// Each case is a process of its own: the allocator keeps what was freed before.
#[test]
fn estimates_are_within_a_fifth() {
    if let Ok(case) = std::env::var(CASE) {
        return measure(case.parse().expect("a number"));
    }
    let this = std::env::current_exe().expect("a path");
    for (case, &(rows, width, bits)) in CASES.iter().enumerate() {
        let (program, weights, _) = dense(rows, width, bits);
        let key = compile(program, weights).expect("a valid program");
        std::fs::write(key_file(case), key.verifying_key().to_bytes()).expect("a file");
        let done = std::process::Command::new(&this)
            .args(["--exact", "estimates_are_within_a_fifth"])
            .env(CASE, case.to_string())
            .output()
            .expect("it starts");
        let told = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{told}");
        assert!(told.contains("1 passed"), "{told}");
    }
}

fn key_file(case: usize) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("memory-{case}.key"))
}

fn measure(case: usize) {
    let (rows, width, bits) = CASES[case];
    let before = status("VmRSS");
    let (_, weights, inputs) = dense(rows, width, bits);
    let bytes = std::fs::read(key_file(case)).expect("the key was made");
    let key = VerifyingKey::from_bytes(&bytes).expect("a key");
    // What the allocator holds back is in the plugin's estimate too.
    let expected = memory(&key).prove + (20 << 20);
    drop(key);
    prove_once(&bytes, weights, &[0; 32], &inputs).expect("a proof");
    let found = status("VmHWM") - before;
    let ratio = expected as f64 / found as f64;
    assert!(
        (0.8..1.2).contains(&ratio),
        "{rows} {width} {bits}: {expected} expected, {found} found"
    );
}

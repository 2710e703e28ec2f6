//! Prints what hostile proofs and keys cost a verifier beside honest ones of the same size, each
//! in a process of its own.
//!
//! `cargo run --release -p dsperse-sumcheck-prover --example hostile`

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use dsperse_sumcheck_prover::{compile, prove};
use dsperse_sumcheck_verifier::bytes::Writer;
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::program::{Factor, Op, Program, Tensor};
use dsperse_sumcheck_verifier::proof::{MAX_MESSAGES, Proof};
use dsperse_sumcheck_verifier::verify;
use dsperse_sumcheck_verifier::wire::FREE_ENTRIES;

/// A dense layer for some tokens.
fn dense(tokens: usize, width: usize) -> (Program, Vec<Tensor>, Vec<Tensor>) {
    let mut p = Program::default();
    let (lo, hi) = (-128, 127);
    let shape = vec![tokens, width];
    let x = p.push(Op::Input { shape, lo, hi });
    let shape = vec![width, width];
    let w = p.push(Op::Weight { shape, lo, hi });
    let sums = p.push(Op::Einsum {
        a: x,
        b: w,
        a_labels: b"tc".to_vec(),
        b_labels: b"cn".to_vec(),
        out_labels: b"tn".to_vec(),
    });
    let y = p.push(Op::Requant {
        input: sums,
        multiplier: 1,
        shift: 9,
        lo: 0,
        hi: 200,
    });
    p.outputs = vec![y];
    let spread = |rows: usize| {
        let data = (0..(rows * width) as i64).map(|i| i * i * 31 % 256 - 128);
        Tensor::new(vec![rows, width], data.collect()).expect("a matrix")
    };
    (p, vec![spread(width)], vec![spread(tokens)])
}

/// Mark and root, which every proof begins with.
fn head(honest: &[u8]) -> Writer {
    Writer {
        out: honest[..40].to_vec(),
    }
}

/// A proof of so many bytes whose openings are empty rows: a byte each here, 24 in memory.
fn empty_rows(honest: &[u8], bytes: usize) -> Vec<u8> {
    let mut w = head(honest);
    w.u32(0);
    // The opening up to its last list: no samples, rounds or polynomial, no work, base field.
    let mut opening = vec![0; 14];
    let mut rows = bytes - w.out.len() - 4 - opening.len() - 5;
    let total = rows;
    while rows >= 0x80 {
        opening.push(rows as u8 | 0x80);
        rows >>= 7;
    }
    opening.push(rows as u8);
    opening.resize(opening.len() + total, 0);
    w.size(opening.len());
    w.out.extend(opening);
    w.out
}

/// A proof of so many bytes that is all messages.
fn messages(honest: &[u8], bytes: usize) -> Vec<u8> {
    let mut w = head(honest);
    let count = (bytes - w.out.len() - 4) / 24;
    w.size(count);
    w.out.resize(w.out.len() + 24 * count, 0);
    w.out
}

/// A key of fewer bytes than any with weights, with as many entries of wires as its program may
/// have.
fn wires() -> Vec<u8> {
    let mut p = Program::default();
    let shape = vec![3];
    let input = p.push(Op::Input {
        shape,
        lo: 0,
        hi: 1,
    });
    let strided = |input, size| Op::Wire {
        input,
        factors: vec![Factor::Strided {
            dim: 0,
            size,
            start: 1,
            step: 1,
        }],
    };
    let big = p.push(strided(input, FREE_ENTRIES as usize));
    let last = p.push(strided(big, 1));
    p.outputs = vec![last];
    let (small, ..) = dense(2, 2);
    let parameters = compile(small, dense(2, 2).1)
        .expect("compiles")
        .verifying_key()
        .parameters;
    let key = VerifyingKey::new(p, parameters).expect("within all limits");
    key.to_bytes()
}

fn lines(tensors: &[Tensor]) -> String {
    let line = |t: &Tensor| format!("{:?}", (&t.shape, &t.data));
    tensors.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn tensors(text: &str) -> Vec<Tensor> {
    let numbers = |s: &str| -> Vec<i64> {
        s.split(|c: char| !c.is_ascii_digit() && c != '-')
            .filter_map(|w| w.parse().ok())
            .collect()
    };
    text.lines()
        .map(|line| {
            let (shape, data) = line.split_once("], [").expect("two lists");
            let shape = numbers(shape).into_iter().map(|d| d as usize).collect();
            Tensor::new(shape, numbers(data)).expect("a tensor")
        })
        .collect()
}

/// The child: checks a proof once, and prints milliseconds, MiB at the most and the verdict.
fn check(dir: &Path, key: &str, proof: &str) {
    let read = |name: &str| std::fs::read(dir.join(name)).expect("a file");
    let text = |name: &str| tensors(&String::from_utf8(read(name)).expect("text"));
    let (inputs, outputs) = (text("inputs"), text("outputs"));
    let (key, proof) = (read(key), read(proof));
    let start = Instant::now();
    let verdict = verify(&key, &[0; 32], &inputs, &outputs, &proof);
    let took = start.elapsed().as_secs_f64() * 1e3;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    let said = verdict.map_or_else(|e| e.to_string(), |()| "accepted".to_owned());
    let (key, proof) = (key.len(), proof.len());
    println!(
        "{key:9} {proof:9} {took:8.1} {:8.1}  {}",
        kib.unwrap_or(0.0) / 1024.0,
        said.chars().take(60).collect::<String>()
    );
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, dir, key, proof] = &args[..] {
        return check(Path::new(dir), key, proof);
    }
    let dir = std::env::temp_dir().join(format!("dsperse-hostile-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    println!(
        "{:38} {:>9} {:>9} {:>8} {:>8}  verdict",
        "what", "key/B", "proof/B", "ms", "MiB"
    );
    for (tokens, width) in [(16, 64), (64, 256), (256, 1024)] {
        let (program, weights, inputs) = dense(tokens, width);
        let pk = compile(program, weights).expect("compiles");
        let (outputs, proof) = prove(&pk, &[0; 32], &inputs).expect("proves");
        let key = pk.verifying_key();
        let (most, same) = (Proof::max_bytes(key).expect("a limit"), proof.len());
        let openings = most - MAX_MESSAGES * 24;
        for (name, bytes) in [
            ("key", key.to_bytes()),
            ("wires", wires()),
            ("inputs", lines(&inputs).into_bytes()),
            ("outputs", lines(&outputs).into_bytes()),
            ("rows", empty_rows(&proof, same)),
            ("most-rows", empty_rows(&proof, openings / 2)),
            ("messages", messages(&proof, same)),
            ("most-messages", messages(&proof, MAX_MESSAGES * 24 + 44)),
            ("proof", proof),
        ] {
            std::fs::write(dir.join(name), bytes).expect("a file");
        }
        for (what, key, proof) in [
            ("honest", "key", "proof"),
            ("empty rows, as long", "key", "rows"),
            ("empty rows, half of the longest", "key", "most-rows"),
            ("messages, as long", "key", "messages"),
            ("messages, as many as any", "key", "most-messages"),
            ("key with all wires allowed", "wires", "proof"),
        ] {
            let program = std::env::current_exe().expect("this program");
            let made = Command::new(program).arg(&dir).args([key, proof]).output();
            let made = String::from_utf8(made.expect("it runs").stdout).expect("text");
            print!("{:38} {made}", format!("{tokens} x {width}: {what}"));
        }
    }
    std::fs::remove_dir_all(&dir).expect("the files go");
}

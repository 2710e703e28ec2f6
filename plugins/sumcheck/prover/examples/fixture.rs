//! Writes the fixture that the verifier's tests must accept for ever: a key, a
//! proof and its statement, of a slice with every primitive, or of that which the last word names.
//!
//! `cargo run -p dsperse-sumcheck-prover --example fixture -- <folder> proof|key
//! [rewirings|nothing-committed]`; the second word says where the weights' ranges are shown.
//!
//! Make a new folder for a new protocol version; never overwrite an old one.

use std::path::PathBuf;

use dsperse_sumcheck_prover::{compile_with, prove};
use dsperse_sumcheck_verifier::key::Parameters;
use dsperse_sumcheck_verifier::layout::WeightRanges;
use dsperse_sumcheck_verifier::program::Tensor;

#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "only three programs are used here")]
mod common;

/// One line for each tensor: shape, then elements.
fn lines(tensors: &[Tensor]) -> String {
    let words = |v: Vec<String>| v.join(" ");
    tensors
        .iter()
        .map(|t| {
            let shape = words(t.shape.iter().map(ToString::to_string).collect());
            let data = words(t.data.iter().map(ToString::to_string).collect());
            format!("{shape} : {data}\n")
        })
        .collect()
}

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the folder to write to"));
    let ranges = match std::env::args().nth(2).as_deref() {
        Some("proof") => WeightRanges::Proof,
        Some("key") => WeightRanges::Key,
        _ => panic!("the second word is \"proof\" or \"key\""),
    };
    let case = match std::env::args().nth(3).as_deref() {
        None => common::every_primitive(),
        Some("rewirings") => common::every_rewiring(),
        Some("nothing-committed") => common::nothing_committed(),
        Some(_) => panic!("the third word is \"rewirings\" or \"nothing-committed\""),
    };
    let parameters = Parameters {
        limb_bits: 6,
        weight_rate: 5,
        activation_rate: 5,
        ranges,
    };
    let pk = compile_with(case.program, parameters, case.weights).expect("compiles");
    let context: [u8; 32] = std::array::from_fn(|i| i as u8);
    let (outputs, proof) = prove(&pk, &context, &case.inputs).expect("proves");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).expect("the file can be written");
    };
    write("key.bin", &pk.verifying_key().to_bytes());
    write("proof.bin", &proof);
    write("inputs.txt", lines(&case.inputs).as_bytes());
    write("outputs.txt", lines(&outputs).as_bytes());
}

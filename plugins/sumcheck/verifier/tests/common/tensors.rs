//! The tensors of the stored proofs.

use dsperse_sumcheck_verifier::program::Tensor;

/// Reads lines of `shape : elements`.
pub fn tensors(text: &str) -> Vec<Tensor> {
    text.lines()
        .map(|line| {
            let (shape, data) = line.split_once(':').expect("a colon");
            let shape = shape
                .split_whitespace()
                .map(|d| d.parse().expect("a size"))
                .collect();
            let data = data
                .split_whitespace()
                .map(|x| x.parse().expect("an integer"))
                .collect();
            Tensor { shape, data }
        })
        .collect()
}

//! RMSNormalization (ONNX RMSNormalization-23): `x / √(mean(x²) + ε) · scale`, the mean over
//! the axes from `axis` on. ONNX Runtime knows it as `SimplifiedLayerNormalization` too.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Done, Rule, Site, axis};

pub(crate) const RULE: Rule = Rule::new("rms-normalization", "RMSNormalization", rms);
pub(crate) const SIMPLIFIED: Rule = Rule::new(
    "simplified-layer-normalization",
    "SimplifiedLayerNormalization",
    rms,
);

fn rms(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let from = axis(n.int("axis", -1)?, x.rank())?;
    let over: Vec<usize> = (from..x.rank()).collect();
    let (y, root) = scaled(b, &x, &over, n.float("epsilon", 1e-5)?)?;
    let scale = n.input(1)?;
    let mut out = vec![b.mul(&y, &scale)?];
    if n.output_is_used(1) {
        let one = b.scalar(&root, 1.0)?;
        out.push(b.div(&one, &root)?);
    }
    Ok(out)
}

/// `x / √(mean(x²) + ε)`, and the root.
pub(crate) fn scaled(
    b: &mut Builder<'_>,
    x: &Operand,
    over: &[usize],
    epsilon: f64,
) -> Done<(Operand, Operand)> {
    let square = b.mul(x, x)?;
    let mean = b.mean(&square, over, true)?;
    let mean = b.add_number(&mean, epsilon)?;
    let root = b.sqrt(&mean)?;
    Ok((b.div(x, &root)?, root))
}

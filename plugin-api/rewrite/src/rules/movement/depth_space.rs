//! DepthToSpace and SpaceToDepth (ONNX DepthToSpace-13, SpaceToDepth-13): Reshape, Transpose,
//! Reshape, as the standard spells them out. In mode `DCR` blocks are the outer part of the
//! depth, in `CRD` the inner one.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const TO_SPACE: Rule = Rule::new("depth-to-space", "DepthToSpace", to_space);
pub(crate) const TO_DEPTH: Rule = Rule::new("space-to-depth", "SpaceToDepth", to_depth);

fn sizes(n: &Site<'_>) -> Done<(Operand, [usize; 4], usize, bool)> {
    let x = n.input(0)?;
    let k = usize::try_from(n.int("blocksize", 0)?).unwrap_or(0);
    let ([batch, c, h, w], 1..) = (x.shape.as_slice(), k) else {
        return Decline::because("its input is not 4-D or its block size is 0");
    };
    let shape = [*batch, *c, *h, *w];
    let crd = match n.text("mode", "DCR")? {
        "DCR" => false,
        "CRD" => true,
        other => return Decline::because(format!("its mode \"{other}\" is unknown")),
    };
    Ok((x, shape, k, crd))
}

fn to_space(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, [batch, c, h, w], k, crd) = sizes(n)?;
    let d = c / (k * k);
    let (split, perm) = if crd {
        ([batch, d, k, k, h, w], [0, 1, 4, 2, 5, 3])
    } else {
        ([batch, k, k, d, h, w], [0, 3, 4, 1, 5, 2])
    };
    let t = b.reshape(&x, &split)?;
    let t = b.transpose(&t, &perm)?;
    Ok(vec![b.reshape(&t, &[batch, d, h * k, w * k])?])
}

fn to_depth(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, [batch, c, h, w], k, crd) = sizes(n)?;
    let t = b.reshape(&x, &[batch, c, h / k, k, w / k, k])?;
    let perm = if crd {
        [0, 1, 3, 5, 2, 4]
    } else {
        [0, 3, 5, 1, 2, 4]
    };
    let t = b.transpose(&t, &perm)?;
    Ok(vec![b.reshape(&t, &[batch, c * k * k, h / k, w / k])?])
}

//! Gemm `α·A'·B' + β·C` (ONNX Gemm-13) as MatMul and Add, with `C` broadcast to the result;
//! MatMul of more axes with one matrix as one of rows (ONNX MatMul-13).
//! ONNX Runtime's `FusedMatMul` is `α·A'·B'` over the last two axes.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, MICROSOFT, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("gemm", "Gemm", gemm);
pub(crate) const ROWS: Rule = Rule::new("matmul-rows", "MatMul", rows);
pub(crate) const FUSED: Rule = Rule::of(MICROSOFT, "fused-matmul", "FusedMatMul", fused);

fn product(b: &mut Builder<'_>, n: &Site<'_>) -> Done<Operand> {
    let (mut x, mut y) = (n.input(0)?, n.input(1)?);
    if n.flag("transA", false)? {
        x = b.transpose_last(&x)?;
    }
    if n.flag("transB", false)? {
        y = b.transpose_last(&y)?;
    }
    let y = b.matmul(&x, &y)?;
    b.scale(&y, n.float("alpha", 1.0)?)
}

fn gemm(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let y = product(b, n)?;
    let Some(c) = n.optional(2)? else {
        return Ok(vec![y]);
    };
    let c = b.scale(&c, n.float("beta", 1.0)?)?;
    Ok(vec![b.add(&y, &c)?])
}

fn fused(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    if n.flag("transBatchA", false)? || n.flag("transBatchB", false)? {
        return Decline::because("it exchanges batch axes");
    }
    Ok(vec![product(b, n)?])
}

fn rows(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let [inner, columns] = *w.shape.as_slice() else {
        return Decline::because("its second operand is no matrix");
    };
    if x.rank() == 2 || inner == 0 {
        return Decline::because("it is one of rows already");
    }
    let y = b.reshape(&x, &[x.elements() / inner, inner])?;
    let y = b.matmul(&y, &w)?;
    let mut shape = x.shape.clone();
    shape.pop();
    shape.push(columns);
    Ok(vec![b.reshape(&y, &shape)?])
}

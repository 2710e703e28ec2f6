//! Attention (ONNX Attention-23): `softmax(scale·Q·Kᵀ + mask)·V`, for grouped heads with
//! each key and value head repeated, causal or with a mask of booleans (false: left out) or
//! of numbers (added). `past_key` and `past_value` are put before; `softcap` is
//! `s·tanh(x / s)`. Masks become −1e4 at places that are left out, and 0 elsewhere, which
//! Softmax turns to exact zeros in single precision.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};
use dsperse_onnx::DataType;

pub(crate) const RULE: Rule = Rule::new("attention", "Attention", attention);

/// What is added where a key is left out.
const OUT: f64 = -1e4;

/// `[batch, heads, length, size]` from that or from `[batch, length, heads·size]`.
pub(super) fn heads(b: &mut Builder<'_>, x: &Operand, count: i64) -> Done<Operand> {
    match (x.shape.as_slice(), usize::try_from(count)) {
        ([..], _) if x.rank() == 4 => Ok(x.clone()),
        ([batch, length, width], Ok(count)) if count > 0 && width.is_multiple_of(count) => {
            let t = b.reshape(x, &[*batch, *length, count, width / count])?;
            b.transpose(&t, &[0, 2, 1, 3])
        }
        _ => Decline::because("its heads do not fit its inputs"),
    }
}

/// What becomes of the scores.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// 0 for one over the root of the size of a head.
    pub scale: f64,
    /// Bound of the scores; 0 for none.
    pub cap: f64,
    /// Row `i` sees keys up to `i` plus this.
    pub causal: Option<usize>,
    /// A causal row sees so many keys at most; 0 for all.
    pub window: usize,
    /// Booleans, or numbers of which 1 says true: the keys that count.
    pub kept: Option<Operand>,
    /// Numbers that are added.
    pub added: Option<Operand>,
}

/// `softmax(scale·Q·Kᵀ + mask)·V` of `[batch, heads, length, size]`.
pub(super) fn weighted(
    b: &mut Builder<'_>,
    q: &Operand,
    k: &Operand,
    v: &Operand,
    terms: &Terms,
) -> Done<Operand> {
    let (mut k, mut v) = (k.clone(), v.clone());
    let (rows, columns) = (q.size(2), k.size(2));
    let groups = q.size(1) / k.size(1).max(1);
    if groups * k.size(1) != q.size(1) || k.size(2) != v.size(2) {
        return Decline::because("its keys and values do not fit its queries");
    }
    if groups > 1 {
        let repeated: Vec<usize> = (0..q.size(1)).map(|h| h / groups).collect();
        k = b.gather(&k, &repeated, 1)?;
        v = b.gather(&v, &repeated, 1)?;
    }
    #[allow(clippy::cast_precision_loss)] // the size of a head
    let default = 1.0 / (q.size(3) as f64).sqrt();
    let scale = if terms.scale == 0.0 {
        default
    } else {
        terms.scale
    };
    let q = b.scale(q, scale)?;
    let k = b.transpose_last(&k)?;
    let mut scores = b.matmul(&q, &k)?;
    // The order of cap and mask does not matter for what is left out, and numbers are added
    // after it.
    if terms.cap > 0.0 {
        scores = b.scale(&scores, 1.0 / terms.cap)?;
        scores = b.tanh(&scores)?;
        scores = b.scale(&scores, terms.cap)?;
    }
    // 1 where a key counts, 0 where it is left out.
    let mut kept = None;
    if let Some(shift) = terms.causal {
        let mask: Vec<f64> = (0..rows)
            .flat_map(|i| {
                (0..columns).map(move |j| {
                    let near = terms.window == 0 || j + terms.window > i + shift;
                    f64::from(u8::from(j <= i + shift && near))
                })
            })
            .collect();
        kept = Some(b.numbers(scores.dtype, &[rows, columns], &mask)?);
    }
    if let Some(mask) = &terms.kept {
        let mask = b.cast(mask, scores.dtype)?;
        kept = Some(match kept {
            Some(causal) => b.mul(&causal, &mask)?,
            None => mask,
        });
    }
    if let Some(added) = &terms.added {
        scores = b.add(&scores, added)?;
    }
    let mut valid = None;
    if let Some(kept) = kept {
        let added = b.add_number(&kept, -1.0)?;
        let added = b.scale(&added, -OUT)?;
        scores = b.add(&scores, &added)?;
        // A row without any key gives zeros.
        let some = b.reduce("ReduceMax", &kept, &[kept.rank() - 1], true)?;
        let all = b.floats_of(&some).is_ok_and(|v| v.iter().all(|v| *v > 0.0));
        valid = (!all).then_some(some);
    }
    let weights = b.softmax(&scores, 3)?;
    let mut y = b.matmul(&weights, &v)?;
    if let Some(valid) = valid {
        y = b.mul(&y, &valid)?;
    }
    Ok(y)
}

fn attention(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    if n.has(6) || n.int("left_window_size", -1)? != -1 || n.int("right_window_size", -1)? != -1 {
        return Decline::because("it has a window or lengths without padding");
    }
    if n.output_is_used(3) {
        return Decline::because("its matrix of scores is used");
    }
    let (q_heads, kv_heads) = (n.int("q_num_heads", 0)?, n.int("kv_num_heads", 0)?);
    let (x, k, v) = (n.input(0)?, n.input(1)?, n.input(2)?);
    let q = heads(b, &x, q_heads)?;
    let (mut k, mut v) = (heads(b, &k, kv_heads)?, heads(b, &v, kv_heads)?);
    let mut past = 0;
    if let (Some(pk), Some(pv)) = (n.optional(4)?, n.optional(5)?) {
        past = pk.size(2);
        k = b.concat(&[pk, k], 2)?;
        v = b.concat(&[pv, v], 2)?;
    }
    let present = (k.clone(), v.clone());
    let scale = n.node().float("scale")?.map_or(0.0, f64::from);
    // Version 23 counts rows from the first key on, later ones from the end of the past.
    let shift = if n.version() >= 24 { past } else { 0 };
    let (mut kept, mut added) = (None, None);
    if let Some(mask) = n.optional(3)? {
        if mask.size(mask.rank().saturating_sub(1)) != k.size(2) {
            return Decline::because("its mask is shorter than its keys");
        }
        match mask.dtype {
            DataType::Bool => kept = Some(mask),
            _ => added = Some(mask),
        }
    }
    let terms = Terms {
        scale,
        cap: n.float("softcap", 0.0)?,
        causal: n.flag("is_causal", false)?.then_some(shift),
        kept,
        added,
        ..Terms::default()
    };
    let mut y = weighted(b, &q, &k, &v, &terms)?;
    if x.rank() == 3 {
        y = b.transpose(&y, &[0, 2, 1, 3])?;
        let width = y.size(2) * y.size(3);
        y = b.reshape(&y, &[y.size(0), y.size(1), width])?;
    }
    if n.output_is_used(1) || n.output_is_used(2) {
        return Ok(vec![y, present.0, present.1]);
    }
    Ok(vec![y])
}

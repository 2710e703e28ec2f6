//! ONNX Runtime's own parts of transformers: MultiHeadAttention and Attention are `Attention`
//! with projections, biases and masks of their own; GroupQueryAttention is a causal one that
//! may rotate its heads and see a window only; EmbedLayerNormalization is the sum of
//! rows of tables for words, positions and segments, normalised.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, MICROSOFT, Rule, Site};
use dsperse_onnx::{AttributeProto, DataType};

use super::super::norm::layer::{affine, standardised};
use super::rotary::rotated;
use super::scaled::{Terms, heads, weighted};

pub(crate) const MULTI_HEAD: Rule = Rule::of(
    MICROSOFT,
    "multi-head-attention",
    "MultiHeadAttention",
    multi_head,
);
pub(crate) const ATTENTION: Rule = Rule::of(MICROSOFT, "ms-attention", "Attention", attention);
pub(crate) const GROUPED: Rule = Rule::of(
    MICROSOFT,
    "group-query-attention",
    "GroupQueryAttention",
    grouped,
);
pub(crate) const EMBED: Rule = Rule::of(
    MICROSOFT,
    "embed-layer-normalization",
    "EmbedLayerNormalization",
    embed,
);

/// `[batch, heads, length, size]` as `[batch, length, heads·size]`.
fn joined(b: &mut Builder<'_>, y: &Operand) -> Done<Operand> {
    let y = b.transpose(y, &[0, 2, 1, 3])?;
    b.reshape(&y, &[y.size(0), y.size(1), y.size(2) * y.size(3)])
}

/// A mask of integers `[batch, keys]` (1 counts, 0 is left out) as one of the scores.
fn padding(b: &mut Builder<'_>, mask: &Operand, keys: usize) -> Done<Operand> {
    if mask.rank() != 2 || mask.size(1) != keys {
        return Decline::because("its mask is not one number for each key");
    }
    let mask = b.reshape(mask, &[mask.size(0), 1, 1, keys])?;
    b.cast(&mask, DataType::F32)
}

/// What both have in common.
fn refused(n: &Site<'_>) -> Done<()> {
    if n.output_is_used(3) {
        return Decline::because("its matrix of scores is used");
    }
    Ok(())
}

fn multi_head(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    refused(n)?;
    if n.has(8) || n.has(9) {
        return Decline::because("it shares a buffer with its past");
    }
    let count = n.int("num_heads", 0)?;
    let query = n.input(0)?;
    if query.rank() != 3 || !n.has(1) || !n.has(2) {
        return Decline::because("its query, keys and values are packed");
    }
    let (mut q, mut k, mut v) = (query, n.input(1)?, n.input(2)?);
    if let Some(bias) = n.optional(3)? {
        let (dq, dv) = (q.size(2), v.size(v.rank() - 1));
        if bias.shape != [2 * dq + dv] || k.rank() != 3 || v.rank() != 3 {
            return Decline::because("its bias does not fit its inputs");
        }
        let parts = b.split(&bias, 0, &[dq, dq, dv])?;
        q = b.add(&q, &parts[0])?;
        k = b.add(&k, &parts[1])?;
        v = b.add(&v, &parts[2])?;
    }
    let q = heads(b, &q, count)?;
    let (mut k, mut v) = (heads(b, &k, count)?, heads(b, &v, count)?);
    let mut past = 0;
    if let (Some(pk), Some(pv)) = (n.optional(6)?, n.optional(7)?) {
        past = pk.size(2);
        k = b.concat(&[pk, k], 2)?;
        v = b.concat(&[pv, v], 2)?;
    }
    let kept = match n.optional(4)? {
        Some(mask) => Some(padding(b, &mask, k.size(2))?),
        None => None,
    };
    let terms = Terms {
        scale: n.float("scale", 0.0)?,
        causal: n.flag("unidirectional", false)?.then_some(past),
        kept,
        added: n.optional(5)?,
        ..Terms::default()
    };
    let y = weighted(b, &q, &k, &v, &terms)?;
    let y = joined(b, &y)?;
    Ok(vec![y, k, v])
}

/// Inputs: input, weights of the three projections side by side, their bias, mask, past,
/// what is added to the scores.
fn attention(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    refused(n)?;
    if n.has(4) || n.has(6) || n.flag("do_rotary", false)? || n.output_is_used(1) {
        return Decline::because("it has a past or rotates its heads");
    }
    let (x, w) = (n.input(0)?, n.input(1)?);
    let [_, length, _] = *x.shape.as_slice() else {
        return Decline::because("its input is not 3-D");
    };
    let sizes: Vec<usize> = match n.ints("qkv_hidden_sizes")? {
        Some(list) => list
            .iter()
            .map(|s| usize::try_from(*s).unwrap_or(0))
            .collect(),
        None => vec![w.size(1) / 3; 3],
    };
    if sizes.len() != 3 || sizes.iter().sum::<usize>() != w.size(1) {
        return Decline::because("its weights do not fit its heads");
    }
    let mut y = b.matmul(&x, &w)?;
    if let Some(bias) = n.optional(2)? {
        y = b.add(&y, &bias)?;
    }
    let count = n.int("num_heads", 0)?;
    let mut parts = Vec::new();
    for part in b.split(&y, 2, &sizes)? {
        parts.push(heads(b, &part, count)?);
    }
    let kept = match n.optional(3)? {
        Some(mask) => Some(padding(b, &mask, length)?),
        None => None,
    };
    let terms = Terms {
        scale: n.float("scale", 0.0)?,
        causal: n.flag("unidirectional", false)?.then_some(0),
        kept,
        added: n.optional(5)?,
        ..Terms::default()
    };
    let y = weighted(b, &parts[0], &parts[1], &parts[2], &terms)?;
    Ok(vec![joined(b, &y)?])
}

/// Inputs: query (or all three packed), keys, values, past keys and values, for each sample the
/// place of its last key, the number of keys, cosines and sines. Texts are whole: what pads them
/// stands at their end, where it changes no row that counts.
fn grouped(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    if n.has(9) || n.has(11) || n.int("smooth_softmax", 0)? > 0 || n.output_is_used(3) {
        return Decline::because("it has positions of its own, a smooth softmax or a sink");
    }
    let (count, pairs) = (n.int("num_heads", 0)?, n.int("kv_num_heads", 0)?);
    let query = n.input(0)?;
    let [_, length, width] = *query.shape.as_slice() else {
        return Decline::because("its query is not 3-D");
    };
    let (q, k, v) = match (n.optional(1)?, n.optional(2)?) {
        (Some(k), Some(v)) => (query, k, v),
        _ => {
            let all = usize::try_from(count + 2 * pairs).unwrap_or(0);
            if all == 0 || !width.is_multiple_of(all) {
                return Decline::because("its heads do not fit its inputs");
            }
            let size = width / all;
            let kv = usize::try_from(pairs).unwrap_or(0) * size;
            let parts = b.split(&query, 2, &[width - 2 * kv, kv, kv])?;
            (parts[0].clone(), parts[1].clone(), parts[2].clone())
        }
    };
    let mut q = heads(b, &q, count)?;
    let (mut k, mut v) = (heads(b, &k, pairs)?, heads(b, &v, pairs)?);
    let before = match (n.optional(3)?, n.optional(4)?) {
        (Some(pk), Some(pv)) if pk.size(2) > 0 => Some((pk, pv)),
        _ => None,
    };
    let past = before.as_ref().map_or(0, |(pk, _)| pk.size(2));
    let keys = past + length;
    let total = b.ints_of(&n.input(6)?).unwrap_or_default();
    if total != [keys as i64] {
        return Decline::because("its number of keys is not that of its past and its input");
    }
    let last = b.ints_of(&n.input(5)?).unwrap_or_default();
    if past > 0 && (last.is_empty() || last.iter().any(|l| *l != keys as i64 - 1)) {
        return Decline::because("its past is not known to be full");
    }
    if n.flag("do_rotary", false)? {
        let caches = [n.input(7)?, n.input(8)?];
        let half = caches[0].size(1);
        if caches
            .iter()
            .any(|c| c.rank() != 2 || c.size(0) < keys || c.size(1) != half)
            || 2 * half > q.size(3)
        {
            return Decline::because("its caches do not fit its input");
        }
        let mut rows = Vec::new();
        for cache in &caches {
            let part = b.slice(cache, 0, past, keys)?;
            rows.push(b.reshape(&part, &[1, length, 1, half])?);
        }
        let interleaved = n.flag("rotary_interleaved", false)?;
        for x in [&mut q, &mut k] {
            let t = b.transpose(x, &[0, 2, 1, 3])?;
            let t = rotated(b, &t, [&rows[0], &rows[1]], interleaved)?;
            *x = b.transpose(&t, &[0, 2, 1, 3])?;
        }
    }
    if let Some((pk, pv)) = before {
        k = b.concat(&[pk, k], 2)?;
        v = b.concat(&[pv, v], 2)?;
    }
    let terms = Terms {
        scale: n.float("scale", 0.0)?,
        cap: n.float("softcap", 0.0)?,
        causal: Some(past),
        window: usize::try_from(n.int("local_window_size", -1)?).unwrap_or(0),
        added: n.optional(10)?,
        ..Terms::default()
    };
    let y = weighted(b, &q, &k, &v, &terms)?;
    let y = joined(b, &y)?;
    Ok(vec![y, k, v])
}

/// Inputs: ids, segments, tables of words, positions and segments, scale and bias, mask,
/// positions. Outputs: the result, the number of words that count, the sum.
fn embed(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let ids = n.input(0)?;
    let [batch, length] = *ids.shape.as_slice() else {
        return Decline::because("its ids are no matrix");
    };
    let rows = |b: &mut Builder<'_>, table: &Operand, ids: &Operand| {
        let axis = AttributeProto::from_int("axis", 0);
        b.node("Gather", &[table, ids], vec![axis])
    };
    let mut sum = rows(b, &n.input(2)?, &ids)?;
    let table = n.input(3)?;
    let places = match n.optional(8)? {
        Some(positions) => rows(b, &table, &positions)?,
        None if table.size(0) >= length => b.slice(&table, 0, 0, length)?,
        None => return Decline::because("its table of positions is too short"),
    };
    sum = b.add(&sum, &places)?;
    if let Some(table) = n.optional(4)? {
        let part = match n.optional(1)? {
            Some(segments) => rows(b, &table, &segments)?,
            // All of the first segment.
            None => b.slice(&table, 0, 0, 1)?,
        };
        sum = b.add(&sum, &part)?;
    }
    let over = [sum.rank() - 1];
    let (y, ..) = standardised(b, &sum, &over, n.float("epsilon", 1e-12)?, false)?;
    let y = affine(b, &y, n.optional(5)?, n.optional(6)?)?;
    if !n.output_is_used(1) && !n.output_is_used(2) {
        return Ok(vec![y]);
    }
    let count = match n.optional(7)? {
        Some(mask) => b.sum(&mask, &[1], false)?,
        None => b.numbers(DataType::I32, &[batch], &vec![0.0; batch])?,
    };
    Ok(vec![y, count, sum])
}

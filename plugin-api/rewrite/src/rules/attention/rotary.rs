//! RotaryEmbedding (ONNX RotaryEmbedding-23): in each head, pairs `(a, b)` of the first
//! `rotary_embedding_dim` elements become `(a·cos − b·sin, a·sin + b·cos)`; pairs are the two
//! halves, or neighbours when `interleaved`. The caches are given for each sample, or their
//! rows gathered by positions. ONNX Runtime's own has its inputs in another order, and a
//! single position that is where a sample starts.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, MICROSOFT, Rule, Site};
use dsperse_onnx::AttributeProto;

pub(crate) const MS: Rule = Rule::of(MICROSOFT, "ms-rotary-embedding", "RotaryEmbedding", ms);
pub(crate) const RULE: Rule = Rule::new("rotary-embedding", "RotaryEmbedding", rotary);

fn rotary(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let positions = n.optional(3)?;
    turned(b, n, [1, 2], positions)
}

fn ms(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    if n.flag("is_packed_batching", false)? || n.float("scale", 1.0)? != 1.0 {
        return Decline::because("it is packed or scaled");
    }
    let (x, given) = (n.input(0)?, n.input(1)?);
    let (batch, length) = match x.shape.as_slice() {
        [batch, length, _] => (*batch, *length),
        [batch, _, length, _] => (*batch, *length),
        _ => return Decline::because("its input is neither 3-D nor 4-D"),
    };
    let positions = if given.elements() == 1 && length != 1 {
        let start = b.reshape(&given, &[1, 1])?;
        #[allow(clippy::cast_precision_loss)] // positions of a text
        let along: Vec<f64> = (0..batch * length).map(|i| (i % length) as f64).collect();
        let along = b.numbers(given.dtype, &[batch, length], &along)?;
        b.add(&along, &start)?
    } else {
        b.reshape(&given, &[batch, length])?
    };
    turned(b, n, [2, 3], Some(positions))
}

fn turned(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    caches: [usize; 2],
    positions: Option<Operand>,
) -> Done {
    let given = n.input(0)?;
    let (mut cos, mut sin) = (n.input(caches[0])?, n.input(caches[1])?);
    // [batch, length, heads, size]
    let x = match given.shape.as_slice() {
        [_, _, _, _] => b.transpose(&given, &[0, 2, 1, 3])?,
        [batch, length, width] => {
            let heads = match usize::try_from(n.int("num_heads", 0)?).unwrap_or(0) {
                // ONNX Runtime tells them from its caches then.
                0 if n.node().domain() == MICROSOFT => width / (2 * cos.size(1)).max(1),
                heads => heads,
            };
            if heads == 0 || !width.is_multiple_of(heads) {
                return Decline::because("its number of heads does not fit its input");
            }
            b.reshape(&given, &[*batch, *length, heads, width / heads])?
        }
        _ => return Decline::because("its input is neither 3-D nor 4-D"),
    };
    let (batch, length, size) = (x.size(0), x.size(1), x.size(3));
    let turned = match n.int("rotary_embedding_dim", 0)? {
        0 => size,
        d => usize::try_from(d).unwrap_or(0),
    };
    let half = turned / 2;
    if turned == 0 || turned % 2 == 1 || turned > size {
        return Decline::because("the part that it rotates does not fit its heads");
    }
    if let Some(positions) = positions {
        let mut shape = positions.shape.clone();
        shape.push(cos.size(1));
        for cache in [&mut cos, &mut sin] {
            *cache = match b.ints_of(&positions) {
                Ok(list) => {
                    let places: Vec<usize> = list
                        .into_iter()
                        .map(|p| usize::try_from(p).ok().filter(|p| *p < cache.size(0)))
                        .collect::<Option<_>>()
                        .ok_or_else(|| Decline("its positions are out of range".into()))?;
                    let rows = b.gather(cache, &places, 0)?;
                    b.reshape(&rows, &shape)?
                }
                Err(_) => {
                    let axis = AttributeProto::from_int("axis", 0);
                    b.node("Gather", &[cache, &positions], vec![axis])?
                }
            };
        }
    }
    for cache in [&mut cos, &mut sin] {
        if cache.shape != [batch, length, cache.size(2)] || cache.size(2) < half {
            return Decline::because("its caches do not fit its input");
        }
        *cache = b.slice(cache, 2, 0, half)?;
        *cache = b.reshape(cache, &[batch, length, 1, half])?;
    }
    let y = rotated(b, &x, [&cos, &sin], n.flag("interleaved", false)?)?;
    Ok(vec![if given.rank() == 4 {
        b.transpose(&y, &[0, 2, 1, 3])?
    } else {
        b.reshape(&y, &given.shape)?
    }])
}

/// `[batch, length, heads, size]` with the first elements of each head rotated by caches
/// `[batch, length, 1, half of them]`.
pub(super) fn rotated(
    b: &mut Builder<'_>,
    x: &Operand,
    [cos, sin]: [&Operand; 2],
    interleaved: bool,
) -> Done<Operand> {
    let (size, half) = (x.size(3), cos.size(3));
    let turned = 2 * half;
    let part = b.slice(x, 3, 0, turned)?;
    let (first, second) = if interleaved {
        let even: Vec<usize> = (0..half).map(|i| 2 * i).collect();
        let odd: Vec<usize> = (0..half).map(|i| 2 * i + 1).collect();
        (b.gather(&part, &even, 3)?, b.gather(&part, &odd, 3)?)
    } else {
        (
            b.slice(&part, 3, 0, half)?,
            b.slice(&part, 3, half, turned)?,
        )
    };
    let (ac, bs) = (b.mul(&first, cos)?, b.mul(&second, sin)?);
    let real = b.sub(&ac, &bs)?;
    let (as_, bc) = (b.mul(&first, sin)?, b.mul(&second, cos)?);
    let imaginary = b.add(&as_, &bc)?;
    let mut y = b.concat(&[real, imaginary], 3)?;
    if interleaved {
        let back: Vec<usize> = (0..turned).map(|i| i / 2 + i % 2 * half).collect();
        y = b.gather(&y, &back, 3)?;
    }
    if turned < size {
        let rest = b.slice(x, 3, turned, size)?;
        y = b.concat(&[y, rest], 3)?;
    }
    Ok(y)
}

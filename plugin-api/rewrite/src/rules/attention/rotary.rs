//! RotaryEmbedding (ONNX RotaryEmbedding-23): in each head, pairs `(a, b)` of the first
//! `rotary_embedding_dim` elements become `(a·cos − b·sin, a·sin + b·cos)`; pairs are the two
//! halves, or neighbours when `interleaved`. Positions must be constant, or the caches given
//! for each sample.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("rotary-embedding", "RotaryEmbedding", rotary);

fn rotary(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (given, mut cos, mut sin) = (n.input(0)?, n.input(1)?, n.input(2)?);
    // [batch, length, heads, size]
    let x = match given.shape.as_slice() {
        [_, _, _, _] => b.transpose(&given, &[0, 2, 1, 3])?,
        [batch, length, width] => {
            let heads = usize::try_from(n.int("num_heads", 0)?).unwrap_or(0);
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
    if n.has(3) {
        let positions = n.input(3)?;
        let places: Vec<usize> = b
            .ints_of(&positions)?
            .into_iter()
            .map(|p| usize::try_from(p).ok().filter(|p| *p < cos.size(0)))
            .collect::<Option<_>>()
            .ok_or_else(|| Decline("its positions are out of range".into()))?;
        let mut shape = positions.shape.clone();
        shape.push(cos.size(1));
        for cache in [&mut cos, &mut sin] {
            let rows = b.gather(cache, &places, 0)?;
            *cache = b.reshape(&rows, &shape)?;
        }
    }
    for cache in [&mut cos, &mut sin] {
        if cache.shape != [batch, length, cache.size(2)] || cache.size(2) < half {
            return Decline::because("its caches do not fit its input");
        }
        *cache = b.slice(cache, 2, 0, half)?;
        *cache = b.reshape(cache, &[batch, length, 1, half])?;
    }
    let part = b.slice(&x, 3, 0, turned)?;
    let interleaved = n.flag("interleaved", false)?;
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
    let (ac, bs) = (b.mul(&first, &cos)?, b.mul(&second, &sin)?);
    let real = b.sub(&ac, &bs)?;
    let (as_, bc) = (b.mul(&first, &sin)?, b.mul(&second, &cos)?);
    let imaginary = b.add(&as_, &bc)?;
    let mut y = b.concat(&[real, imaginary], 3)?;
    if interleaved {
        let back: Vec<usize> = (0..turned).map(|i| i / 2 + i % 2 * half).collect();
        y = b.gather(&y, &back, 3)?;
    }
    if turned < size {
        let rest = b.slice(&x, 3, turned, size)?;
        y = b.concat(&[y, rest], 3)?;
    }
    Ok(vec![if given.rank() == 4 {
        b.transpose(&y, &[0, 2, 1, 3])?
    } else {
        b.reshape(&y, &given.shape)?
    }])
}

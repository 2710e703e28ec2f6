//! Tile (ONNX Tile-13) and Expand (ONNX Expand-13): along each axis a Gather of the same
//! places again and again, or Concat of copies.

use crate::builder::Builder;
use crate::constants::LIMIT;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const TILE: Rule = Rule::new("tile", "Tile", tile);
pub(crate) const TILE_CONCAT: Rule = Rule::new("tile-concat", "Tile", tile_concat);
pub(crate) const EXPAND: Rule = Rule::new("expand", "Expand", expand);
pub(crate) const EXPAND_MUL: Rule = Rule::new("expand-mul", "Expand", expand_mul);

fn repeats(b: &Builder<'_>, n: &Site<'_>) -> Done<(Operand, Vec<usize>)> {
    let (x, times) = (n.input(0)?, n.input(1)?);
    let times = b
        .ints_of(&times)?
        .into_iter()
        .map(|t| usize::try_from(t).ok().filter(|t| *t > 0))
        .collect::<Option<Vec<_>>>();
    match times {
        Some(times) if times.len() == x.rank() => {
            let sizes = times
                .iter()
                .zip(&x.shape)
                .map(|(t, d)| t.saturating_mul(*d));
            fits(sizes)?;
            Ok((x, times))
        }
        _ => Decline::because("its repeats are no positive number for each axis"),
    }
}

/// A few bytes of a model can ask for more than any memory holds.
fn fits(sizes: impl IntoIterator<Item = usize>) -> Done<()> {
    let elements = sizes.into_iter().fold(1usize, usize::saturating_mul);
    if elements <= LIMIT {
        Ok(())
    } else {
        Decline::because(format!(
            "its result has {elements} elements, at most {LIMIT} are written out"
        ))
    }
}

fn tile(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (mut x, times) = repeats(b, n)?;
    for (a, t) in times.into_iter().enumerate() {
        let places: Vec<usize> = (0..t).flat_map(|_| 0..x.size(a)).collect();
        x = b.gather(&x, &places, a)?;
    }
    Ok(vec![x])
}

fn tile_concat(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (mut x, times) = repeats(b, n)?;
    for (a, t) in times.into_iter().enumerate() {
        x = b.concat(&vec![x; t], a)?;
    }
    Ok(vec![x])
}

/// The input with leading axes of size 1, and the result's shape.
fn target(b: &mut Builder<'_>, n: &Site<'_>) -> Done<(Operand, Vec<usize>)> {
    let x = n.input(0)?;
    let Some(t) = b.type_of(n) else {
        return Decline::because("its result's shape can't be told");
    };
    fits(t.shape.iter().copied())?;
    let mut shape = vec![1; t.shape.len().saturating_sub(x.rank())];
    shape.extend(&x.shape);
    Ok((b.reshape(&x, &shape)?, t.shape))
}

fn expand(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (mut x, shape) = target(b, n)?;
    for (a, size) in shape.into_iter().enumerate() {
        if x.size(a) != size {
            x = b.gather(&x, &vec![0; size], a)?;
        }
    }
    Ok(vec![x])
}

/// A product with ones broadcasts as well.
fn expand_mul(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, shape) = target(b, n)?;
    let ones = vec![1.0; shape.iter().product()];
    let ones = b.numbers(x.dtype, &shape, &ones)?;
    Ok(vec![b.mul(&x, &ones)?])
}

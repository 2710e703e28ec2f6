//! ReverseSequence (ONNX ReverseSequence-10) with constant lengths: one Gather of rows.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("reverse-sequence", "ReverseSequence", reverse);

fn reverse(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, lengths) = (n.input(0)?, n.input(1)?);
    let lengths = b.ints_of(&lengths)?;
    let (batch, time) = match (n.int("batch_axis", 1)?, n.int("time_axis", 0)?) {
        (1, 0) => (1, 0),
        (0, 1) => (0, 1),
        _ => return Decline::because("its axes are not 0 and 1"),
    };
    if x.rank() < 2 || lengths.len() != x.size(batch) {
        return Decline::because("its lengths do not fit its input");
    }
    let mut places = Vec::with_capacity(x.size(0) * x.size(1));
    for i in 0..x.size(0) {
        for j in 0..x.size(1) {
            let (t, k) = if time == 0 { (i, j) } else { (j, i) };
            let length = usize::try_from(lengths[k]).unwrap_or(0).min(x.size(time));
            let t = if t < length { length - 1 - t } else { t };
            let (i, j) = if time == 0 { (t, k) } else { (k, t) };
            places.push(i * x.size(1) + j);
        }
    }
    let mut shape = vec![x.size(0) * x.size(1)];
    shape.extend(&x.shape[2..]);
    let rows = b.reshape(&x, &shape)?;
    let rows = b.gather(&rows, &places, 0)?;
    Ok(vec![b.reshape(&rows, &x.shape)?])
}

//! Nodes whose results are fixed once shapes are: ConstantOfShape, Range, EyeLike, Shape,
//! Size, and whatever depends on constants only become constants.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const RULES: [Rule; 5] = [
    Rule::new("constant-of-shape", "ConstantOfShape", fixed),
    Rule::new("range", "Range", fixed),
    Rule::new("shape", "Shape", fixed),
    Rule::new("size", "Size", fixed),
    Rule::new("eye-like", "EyeLike", eye),
];

fn fixed(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    match b.evaluate(n) {
        Some(value) => Ok(vec![value]),
        None => Decline::because("its result is not fixed by the model's shapes and constants"),
    }
}

/// Ones on the diagonal `k`.
fn eye(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let k = n.int("k", 0)?;
    let Some(t) = b.type_of(n) else {
        return Decline::because("its type can't be told");
    };
    let [rows, columns] = *t.shape.as_slice() else {
        return Decline::because("it is no matrix");
    };
    let mut v = vec![0.0; rows * columns];
    for i in 0..rows {
        if let Some(j) = i64::try_from(i).ok().and_then(|i| i.checked_add(k))
            && let Ok(j) = usize::try_from(j)
            && j < columns
        {
            v[i * columns + j] = 1.0;
        }
    }
    Ok(vec![b.numbers(t.dtype, &t.shape, &v)?])
}

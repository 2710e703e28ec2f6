//! TreeEnsembleRegressor and TreeEnsembleClassifier (ai.onnx.ml 3), all trees at once. With
//! `c` the 0/1 results of all comparisons of a tree, a leaf at depth `d` is reached when all
//! comparisons above it went its way: `Σ c (where it lies on the true side) + Σ (1 − c)
//! (on the false side) = d`, so its indicator is `relu(c·P + q − d + 1)` with `P` of ±1 and
//! `q` the number of false sides. Then one product with the leaves' weights sums everything.
//!
//! Inputs that are not numbers (NaN) follow the false branch.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, ML, Rule, Site};
use dsperse_onnx::DataType;

use super::linear::{classified, transformed};
use super::simple::single;
use std::collections::HashMap;

pub(crate) const REGRESSOR: Rule = Rule::of(
    ML,
    "ml-tree-ensemble-regressor",
    "TreeEnsembleRegressor",
    regressor,
);
pub(crate) const CLASSIFIER: Rule = Rule::of(
    ML,
    "ml-tree-ensemble-classifier",
    "TreeEnsembleClassifier",
    classifier,
);

/// Most elements of the tensor of paths.
const MOST: usize = 1 << 24;
/// Longest path; also what ends trees that are no trees.
const DEEPEST: usize = 4096;

struct Split {
    feature: usize,
    value: f32,
    mode: String,
}

#[derive(Default)]
struct Tree {
    splits: Vec<Split>,
    /// Identity and path of each leaf: index of the split, and whether it went true.
    leaves: Vec<(i64, Vec<(usize, bool)>)>,
}

fn trees(n: &Site<'_>) -> Done<Vec<(i64, Tree)>> {
    let list = |name: &str| -> Done<Vec<i64>> { Ok(n.ints(name)?.unwrap_or_default().to_vec()) };
    let (ids, nodes, features) = (
        list("nodes_treeids")?,
        list("nodes_nodeids")?,
        list("nodes_featureids")?,
    );
    let (yes, no) = (list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
    let values = n.floats("nodes_values")?;
    let modes = n.node().strings("nodes_modes")?.unwrap_or_default();
    let count = ids.len();
    let all = [
        nodes.len(),
        features.len(),
        yes.len(),
        no.len(),
        values.len(),
        modes.len(),
    ];
    if count == 0 || all.iter().any(|l| *l != count) {
        return Decline::because("its lists of nodes differ in length");
    }
    if n.node().attr("nodes_values_as_tensor").is_some() {
        return Decline::because("its values are in double precision");
    }
    let index: HashMap<(i64, i64), usize> = (0..count).map(|i| ((ids[i], nodes[i]), i)).collect();
    let mut order: Vec<i64> = Vec::new();
    let mut roots: HashMap<i64, usize> = HashMap::new();
    for (i, id) in ids.iter().enumerate() {
        roots.entry(*id).or_insert_with(|| {
            order.push(*id);
            i
        });
    }
    let mut out = Vec::new();
    for id in order {
        let mut tree = Tree::default();
        let mut todo = vec![(roots[&id], Vec::<(usize, bool)>::new())];
        let mut seen = 0;
        while let Some((i, path)) = todo.pop() {
            seen += 1;
            if seen > count || path.len() > DEEPEST {
                return Decline::because("its nodes are no trees");
            }
            if modes[i] == "LEAF" {
                tree.leaves.push((nodes[i], path));
                continue;
            }
            let Ok(feature) = usize::try_from(features[i]) else {
                return Decline::because("it reads a feature below 0");
            };
            let at = tree.splits.len();
            tree.splits.push(Split {
                feature,
                value: values[i],
                mode: modes[i].to_owned(),
            });
            for (child, side) in [(no[i], false), (yes[i], true)] {
                let Some(child) = index.get(&(id, child)) else {
                    return Decline::because("one of its nodes leads nowhere");
                };
                let mut path = path.clone();
                path.push((at, side));
                todo.push((*child, path));
            }
        }
        out.push((id, tree));
    }
    Ok(out)
}

/// Sums of the leaves' weights for each target, with the base values: `[rows, targets]`.
fn sums(b: &mut Builder<'_>, n: &Site<'_>, kind: &str, targets: usize) -> Done<Operand> {
    let x = single(b, n)?;
    let [rows, columns] = *x.shape.as_slice() else {
        return Decline::because("its input is no matrix");
    };
    let trees = trees(n)?;
    let count = trees.len();
    let splits = trees
        .iter()
        .map(|t| t.1.splits.len())
        .max()
        .unwrap_or(0)
        .max(1);
    let leaves = trees.iter().map(|t| t.1.leaves.len()).max().unwrap_or(1);
    let size = count
        .checked_mul(splits)
        .and_then(|s| s.checked_mul(leaves));
    if size.is_none_or(|s| s > MOST)
        || (count * leaves)
            .checked_mul(targets)
            .is_none_or(|s| s > MOST)
    {
        return Decline::because(format!(
            "{count} trees of up to {splits} comparisons are too large to be done at once"
        ));
    }
    let mut modes: Vec<&str> = Vec::new();
    for s in trees.iter().flat_map(|t| &t.1.splits) {
        if !modes.contains(&s.mode.as_str()) {
            modes.push(&s.mode);
        }
    }
    let operator = match modes.as_slice() {
        [] | ["BRANCH_LEQ"] => "LessOrEqual",
        ["BRANCH_LT"] => "Less",
        ["BRANCH_GTE"] => "GreaterOrEqual",
        ["BRANCH_GT"] => "Greater",
        _ => return Decline::because(format!("its comparisons are {}", modes.join(", "))),
    };
    let (mut features, mut values) = (vec![0; count * splits], vec![0.0; count * splits]);
    let mut paths = vec![0.0; count * splits * leaves];
    // A leaf that only fills up is never reached.
    let mut shift = vec![-1.0; count * leaves];
    let mut place: HashMap<(i64, i64), usize> = HashMap::new();
    for (t, (id, tree)) in trees.iter().enumerate() {
        for (s, split) in tree.splits.iter().enumerate() {
            if split.feature >= columns {
                return Decline::because(format!(
                    "it reads feature {} of {columns}",
                    split.feature
                ));
            }
            features[t * splits + s] = split.feature;
            values[t * splits + s] = f64::from(split.value);
        }
        for (l, (leaf, path)) in tree.leaves.iter().enumerate() {
            place.insert((*id, *leaf), t * leaves + l);
            let mut q = 0;
            for (s, side) in path {
                paths[(t * splits + s) * leaves + l] = if *side { 1.0 } else { -1.0 };
                q += i32::from(!*side);
            }
            shift[t * leaves + l] = f64::from(q - path.len() as i32 + 1);
        }
    }
    let f32s = DataType::F32;
    let picked = b.gather(&x, &features, 1)?;
    let values = b.numbers(f32s, &[values.len()], &values)?;
    let c = b.compare(operator, &picked, &values)?;
    let c = b.cast(&c, f32s)?;
    let c = b.reshape(&c, &[rows, count, splits])?;
    let c = b.transpose(&c, &[1, 0, 2])?;
    let paths = b.numbers(f32s, &[count, splits, leaves], &paths)?;
    let shift = b.numbers(f32s, &[count, 1, leaves], &shift)?;
    let m = b.matmul(&c, &paths)?;
    let m = b.add(&m, &shift)?;
    let m = b.relu(&m)?;
    let m = b.transpose(&m, &[1, 0, 2])?;
    let m = b.reshape(&m, &[rows, count * leaves])?;
    let name = |part: &str| format!("{kind}_{part}");
    let list =
        |part: &str| -> Done<Vec<i64>> { Ok(n.ints(&name(part))?.unwrap_or_default().to_vec()) };
    let (ids, nodes, target) = (list("treeids")?, list("nodeids")?, list("ids")?);
    let weights = n.floats(&name("weights"))?;
    if [nodes.len(), target.len(), weights.len()] != [ids.len(); 3] {
        return Decline::because("its lists of leaves differ in length");
    }
    let mut table = vec![0.0; count * leaves * targets];
    for i in 0..ids.len() {
        let (Some(at), Ok(t)) = (place.get(&(ids[i], nodes[i])), usize::try_from(target[i])) else {
            return Decline::because("a weight belongs to no leaf");
        };
        if t >= targets {
            return Decline::because("a weight belongs to no target");
        }
        table[at * targets + t] += f64::from(weights[i]);
    }
    let average = match n.text("aggregate_function", "SUM")? {
        "SUM" => 1.0,
        #[allow(clippy::cast_precision_loss)] // a number of trees
        "AVERAGE" => 1.0 / count as f64,
        other => return Decline::because(format!("its aggregate function is \"{other}\"")),
    };
    table.iter_mut().for_each(|w| *w *= average);
    let table = b.numbers(f32s, &[count * leaves, targets], &table)?;
    let y = b.matmul(&m, &table)?;
    let base = n.floats("base_values")?;
    if n.node().attr("base_values_as_tensor").is_some() {
        return Decline::because("its base values are in double precision");
    }
    match base.len() {
        0 => Ok(y),
        l if l == targets => {
            let base = super::simple::vector(b, base)?;
            b.add(&y, &base)
        }
        _ => Decline::because("its base values do not fit its targets"),
    }
}

fn regressor(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let targets = usize::try_from(n.int("n_targets", 1)?).unwrap_or(0);
    if targets == 0 {
        return Decline::because("it has no targets");
    }
    let y = sums(b, n, "target", targets)?;
    Ok(vec![transformed(b, n, &y)?])
}

fn classifier(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let strings = n.node().strings("classlabels_strings")?.unwrap_or_default();
    let count = n
        .ints("classlabels_int64s")?
        .map_or(strings.len(), <[i64]>::len);
    let ids = n.ints("class_ids")?.unwrap_or_default();
    let one = count == 2 && ids.windows(2).all(|w| w[0] == w[1]);
    if !one {
        let raw = sums(b, n, "class", count)?;
        let y = transformed(b, n, &raw)?;
        return classified(b, n, &raw, y);
    }
    if ids.first().is_some_and(|i| *i != 0) && !n.floats("base_values")?.is_empty() {
        return Decline::because("it has one score for two classes and base values");
    }
    // One score for two classes: a probability where all weights are positive.
    let mut s = sums(b, n, "class", if ids.first() == Some(&0) { 1 } else { 2 })?;
    if s.size(1) == 2 {
        s = b.slice(&s, 1, 1, 2)?;
    }
    let positive = n.floats("class_weights")?.iter().all(|w| *w >= 0.0);
    let other = if positive {
        let one = b.scalar(&s, 1.0)?;
        b.sub(&one, &s)?
    } else {
        b.neg(&s)?
    };
    let both = b.concat(&[other, s], 1)?;
    let scores = match (positive, n.text("post_transform", "NONE")?) {
        (_, "NONE") => both.clone(),
        (false, "LOGISTIC") => b.sigmoid(&both)?,
        (_, other) => return Decline::because(format!("its post_transform is \"{other}\"")),
    };
    classified(b, n, &both, scores)
}

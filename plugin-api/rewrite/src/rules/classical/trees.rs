//! TreeEnsembleRegressor and TreeEnsembleClassifier (ai.onnx.ml 3) and TreeEnsemble
//! (ai.onnx.ml 5), all trees at once. With `c` the 0/1 results of all comparisons of a tree,
//! a leaf at depth `d` is reached when all comparisons above it went its way:
//! `Σ c (where it lies on the true side) + Σ (1 − c) (on the false side) = d`, so its
//! indicator is `relu(c·P + q − d + 1)` with `P` of ±1 and `q` the number of false sides.
//! Then one product with the leaves' weights sums everything; for MIN and MAX there is one
//! product for each tree, and a reduction over the trees.
//!
//! Inputs that are not numbers (NaN) follow the branch that
//! `nodes_missing_value_tracks_true` names: `¬(x > v)` in place of `x ≤ v` lets them through.
//!
//! The label of two classes with weights each is that of the larger sum, as of more classes;
//! ONNX Runtime gives the second one here wherever its sum is positive.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, ML, Rule, Site};
use dsperse_onnx::{DataType, Tensor};

use super::linear::{binary, classified, labels, post_transform, transformed};
use super::simple::vector;
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
pub(crate) const ENSEMBLE: Rule = Rule::of(ML, "ml-tree-ensemble", "TreeEnsemble", ensemble);

/// Most elements of the tensor of paths.
const MOST: usize = 1 << 24;
/// Longest path; also what ends trees that are no trees.
const DEEPEST: usize = 4096;

/// What is compared at a node of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    Member,
}

impl Mode {
    /// By the names of version 3.
    fn named(name: &str) -> Done<Option<Self>> {
        Ok(Some(match name {
            "LEAF" => return Ok(None),
            "BRANCH_LEQ" => Self::LessOrEqual,
            "BRANCH_LT" => Self::Less,
            "BRANCH_GTE" => Self::GreaterOrEqual,
            "BRANCH_GT" => Self::Greater,
            "BRANCH_EQ" => Self::Equal,
            "BRANCH_NEQ" => Self::NotEqual,
            other => return Decline::because(format!("its comparison \"{other}\" is unknown")),
        }))
    }

    /// By the numbers of version 5.
    fn numbered(number: i64) -> Done<Self> {
        let all = [
            Self::LessOrEqual,
            Self::Less,
            Self::GreaterOrEqual,
            Self::Greater,
            Self::Equal,
            Self::NotEqual,
            Self::Member,
        ];
        usize::try_from(number)
            .ok()
            .and_then(|i| all.get(i).copied())
            .ok_or_else(|| Decline(format!("its comparison {number} is unknown")))
    }

    /// The operator, and the one whose negation is the same for numbers.
    fn operators(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::LessOrEqual => ("LessOrEqual", "Greater"),
            Self::Less => ("Less", "GreaterOrEqual"),
            Self::GreaterOrEqual => ("GreaterOrEqual", "Less"),
            Self::Greater => ("Greater", "LessOrEqual"),
            _ => return None,
        })
    }
}

#[derive(Debug, Clone)]
struct Split {
    feature: usize,
    value: f64,
    mode: Mode,
    /// No number takes the true branch.
    missing: bool,
    /// The values of a membership.
    members: Vec<f64>,
}

#[derive(Debug)]
struct Leaf {
    /// Index of each comparison above it, and whether it went true.
    path: Vec<(usize, bool)>,
    weights: Vec<(usize, f64)>,
}

#[derive(Debug, Default)]
struct Tree {
    splits: Vec<Split>,
    leaves: Vec<Leaf>,
}

/// How the trees' results become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

impl Aggregate {
    fn named(name: &str) -> Done<Self> {
        Ok(match name {
            "SUM" => Self::Sum,
            "AVERAGE" => Self::Average,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            other => return Decline::because(format!("its aggregate function is \"{other}\"")),
        })
    }
}

/// A list that is an attribute of floats or, in double precision, a tensor.
fn numbers(n: &Site<'_>, name: &str) -> Done<(Vec<f64>, DataType)> {
    if let Some(t) = n.node().tensor(&format!("{name}_as_tensor"))? {
        return tensor(t);
    }
    let v = n.floats(name)?.iter().map(|v| f64::from(*v)).collect();
    Ok((v, DataType::F32))
}

fn tensor(t: &dsperse_onnx::TensorProto) -> Done<(Vec<f64>, DataType)> {
    let t = Tensor::read(t)?;
    match t.values.to_f64() {
        Some(v) => Ok((v, t.values.dtype())),
        None => Decline::because("one of its lists holds no numbers"),
    }
}

fn list(n: &Site<'_>, name: &str) -> Done<Vec<i64>> {
    Ok(n.ints(name)?.unwrap_or_default().to_vec())
}

/// A list that may be left out: zeros then.
fn flags(n: &Site<'_>, name: &str, count: usize) -> Done<Vec<i64>> {
    match list(n, name)? {
        v if v.is_empty() => Ok(vec![0; count]),
        v if v.len() == count => Ok(v),
        _ => Decline::because("its lists of nodes differ in length"),
    }
}

/// Trees as versions 1 to 3 list them; `kind` is `target` or `class`. The type is that of
/// the values.
fn listed(n: &Site<'_>, kind: &str) -> Done<(Vec<Tree>, DataType)> {
    let (ids, nodes, features) = (
        list(n, "nodes_treeids")?,
        list(n, "nodes_nodeids")?,
        list(n, "nodes_featureids")?,
    );
    let (yes, no) = (
        list(n, "nodes_truenodeids")?,
        list(n, "nodes_falsenodeids")?,
    );
    let (values, dtype) = numbers(n, "nodes_values")?;
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
    let missing = flags(n, "nodes_missing_value_tracks_true", count)?;
    let mut weights: HashMap<(i64, i64), Vec<(usize, f64)>> = HashMap::new();
    {
        let name = |part: &str| format!("{kind}_{part}");
        let (trees, leaves, targets) = (
            list(n, &name("treeids"))?,
            list(n, &name("nodeids"))?,
            list(n, &name("ids"))?,
        );
        let (given, _) = numbers(n, &name("weights"))?;
        if [leaves.len(), targets.len(), given.len()] != [trees.len(); 3] {
            return Decline::because("its lists of weights differ in length");
        }
        for (i, tree) in trees.iter().enumerate() {
            let Ok(target) = usize::try_from(targets[i]) else {
                return Decline::because("it has a target below 0");
            };
            weights
                .entry((*tree, leaves[i]))
                .or_default()
                .push((target, given[i]));
        }
    }
    let index: HashMap<(i64, i64), usize> = (0..count).map(|i| ((ids[i], nodes[i]), i)).collect();
    let mut order: Vec<(i64, usize)> = Vec::new();
    for (i, id) in ids.iter().enumerate() {
        if order.iter().rev().all(|(o, _)| o != id) {
            order.push((*id, i));
        }
    }
    let mut out = Vec::new();
    for (id, root) in order {
        let mut tree = Tree::default();
        let mut todo = vec![(root, Vec::<(usize, bool)>::new())];
        let mut seen = 0;
        while let Some((i, path)) = todo.pop() {
            seen += 1;
            if seen > count || path.len() > DEEPEST {
                return Decline::because("its nodes are no trees");
            }
            let Some(mode) = Mode::named(modes[i])? else {
                tree.leaves.push(Leaf {
                    path,
                    weights: weights.get(&(id, nodes[i])).cloned().unwrap_or_default(),
                });
                continue;
            };
            let at = tree.splits.len();
            tree.splits.push(Split {
                feature: feature(features[i])?,
                value: values[i],
                mode,
                missing: missing[i] != 0,
                members: Vec::new(),
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
        out.push(tree);
    }
    Ok((out, dtype))
}

fn feature(i: i64) -> Done<usize> {
    usize::try_from(i).map_err(|_| Decline("it reads a feature below 0".into()))
}

/// Trees as version 5 lists them: leaves apart from nodes.
fn rooted(n: &Site<'_>) -> Done<(Vec<Tree>, DataType)> {
    let needed = |name: &str| match n.node().tensor(name)? {
        Some(t) => tensor(t),
        None => Decline::because(format!("its {name} are missing")),
    };
    let (values, dtype) = needed("nodes_splits")?;
    let (modes, _) = needed("nodes_modes")?;
    let (leaf_weights, _) = needed("leaf_weights")?;
    let members: Vec<Vec<f64>> = match n.node().tensor("membership_values")? {
        // The sets stand one after the other, each ended by what is no number.
        Some(t) => tensor(t)?
            .0
            .split(|v| v.is_nan())
            .map(<[f64]>::to_vec)
            .collect(),
        None => Vec::new(),
    };
    let count = values.len();
    let (features, yes, no) = (
        list(n, "nodes_featureids")?,
        list(n, "nodes_truenodeids")?,
        list(n, "nodes_falsenodeids")?,
    );
    let (yes_leaf, no_leaf) = (list(n, "nodes_trueleafs")?, list(n, "nodes_falseleafs")?);
    let lengths = [
        modes.len(),
        features.len(),
        yes.len(),
        no.len(),
        yes_leaf.len(),
        no_leaf.len(),
    ];
    let targets = list(n, "leaf_targetids")?;
    if count == 0 || lengths.iter().any(|l| *l != count) || targets.len() != leaf_weights.len() {
        return Decline::because("its lists of nodes differ in length");
    }
    let missing = flags(n, "nodes_missing_value_tracks_true", count)?;
    let modes = modes
        .into_iter()
        .map(|m| Mode::numbered(m as i64))
        .collect::<Done<Vec<_>>>()?;
    // The k-th membership among the nodes has the k-th set.
    let mut sets = members.into_iter();
    let sets: Vec<Vec<f64>> = modes
        .iter()
        .map(|m| match m {
            Mode::Member => sets.next().unwrap_or_default(),
            _ => Vec::new(),
        })
        .collect();
    let mut out = Vec::new();
    for root in list(n, "tree_roots")? {
        let mut tree = Tree::default();
        let mut todo = vec![(root, false, Vec::<(usize, bool)>::new())];
        let mut seen = 0;
        while let Some((i, is_leaf, path)) = todo.pop() {
            seen += 1;
            if seen > 2 * count + 1 || path.len() > DEEPEST {
                return Decline::because("its nodes are no trees");
            }
            let nowhere = || Decline("one of its nodes leads nowhere".into());
            let i = usize::try_from(i).map_err(|_| nowhere())?;
            if is_leaf {
                let weight = leaf_weights.get(i).ok_or_else(nowhere)?;
                let target = usize::try_from(targets[i]).map_err(|_| nowhere())?;
                tree.leaves.push(Leaf {
                    path,
                    weights: vec![(target, *weight)],
                });
                continue;
            }
            let value = values.get(i).ok_or_else(nowhere)?;
            let at = tree.splits.len();
            tree.splits.push(Split {
                feature: feature(features[i])?,
                value: *value,
                mode: modes[i],
                missing: missing[i] != 0,
                members: sets[i].clone(),
            });
            for (child, leaf, side) in [
                (no[i], no_leaf[i] != 0, false),
                (yes[i], yes_leaf[i] != 0, true),
            ] {
                let mut path = path.clone();
                path.push((at, side));
                todo.push((child, leaf, path));
            }
        }
        out.push(tree);
    }
    Ok((out, dtype))
}

/// What the comparisons say, 0 or 1, for splits at these places: `[rows, places]`.
fn decided(
    b: &mut Builder<'_>,
    x: &Operand,
    places: &[Option<&Split>],
    f: DataType,
) -> Done<Operand> {
    let columns = x.size(1);
    let mut groups: Vec<((Mode, bool), Vec<usize>)> = Vec::new();
    for (i, split) in places.iter().enumerate() {
        let Some(split) = split else { continue };
        if split.feature >= columns {
            return Decline::because(format!("it reads feature {} of {columns}", split.feature));
        }
        // What is unequal to every number is so to what is none.
        let missing = split.missing && split.mode != Mode::NotEqual;
        let key = (split.mode, missing);
        match groups.iter_mut().find(|(k, _)| *k == key) {
            Some((_, list)) => list.push(i),
            None => groups.push((key, vec![i])),
        }
    }
    let split_at = |i: usize| {
        places[i].map_or((0, 0.0, &[][..]), |s| {
            (s.feature, s.value, s.members.as_slice())
        })
    };
    let mut parts = Vec::new();
    // Where the result of each place lies in the parts, side by side.
    let mut at = vec![0; places.len()];
    let mut width = 0;
    let single = groups.len() <= 1;
    for ((mode, missing), mut list) in groups {
        if single {
            list = (0..places.len()).collect();
        }
        for (k, i) in list.iter().enumerate() {
            at[*i] = width + k;
        }
        width += list.len();
        parts.push(group(b, x, f, (mode, missing), &list, &split_at)?);
    }
    if parts.is_empty() {
        let zeros = vec![0.0; x.size(0) * places.len()];
        return b.numbers(f, &[x.size(0), places.len()], &zeros);
    }
    let all = b.concat(&parts, 1)?;
    b.gather(&all, &at, 1)
}

/// The comparisons of one kind, as numbers.
fn group<'s>(
    b: &mut Builder<'_>,
    x: &Operand,
    f: DataType,
    (mode, missing): (Mode, bool),
    list: &[usize],
    split: &dyn Fn(usize) -> (usize, f64, &'s [f64]),
) -> Done<Operand> {
    // One column for each comparison; a membership has one for each of its values.
    let mut features = Vec::new();
    let mut values = Vec::new();
    let mut owner = Vec::new();
    for (k, i) in list.iter().enumerate() {
        let (feature, value, members) = split(*i);
        let mut members = members.to_vec();
        members.sort_by(f64::total_cmp);
        members.dedup();
        let own = if mode == Mode::Member {
            members
        } else {
            vec![value]
        };
        for value in own {
            features.push(feature);
            values.push(value);
            owner.push(k);
        }
    }
    if features.is_empty() {
        let zeros = vec![0.0; x.size(0) * list.len()];
        return b.numbers(f, &[x.size(0), list.len()], &zeros);
    }
    let picked = b.gather(x, &features, 1)?;
    let values = b.numbers(x.dtype, &[values.len()], &values)?;
    if missing && mode.operators().is_none() {
        return Decline::because("it compares for equality and takes what is no number as true");
    }
    let mut c = match mode.operators() {
        Some((_, negated)) if missing => {
            let c = b.compare(negated, &picked, &values)?;
            b.unary("Not", &c)?
        }
        Some((operator, _)) => b.compare(operator, &picked, &values)?,
        None => b.compare("Equal", &picked, &values)?,
    };
    if mode == Mode::NotEqual {
        c = b.unary("Not", &c)?;
    }
    let c = b.cast(&c, f)?;
    if mode != Mode::Member {
        return Ok(c);
    }
    let mut table = vec![0.0; owner.len() * list.len()];
    for (row, k) in owner.iter().enumerate() {
        table[row * list.len() + k] = 1.0;
    }
    let table = b.numbers(f, &[owner.len(), list.len()], &table)?;
    b.matmul(&c, &table)
}

/// The trees' results for each target: `[rows, targets]`.
fn results(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    (trees, values): (Vec<Tree>, DataType),
    (targets, aggregate): (usize, Aggregate),
) -> Done<Operand> {
    let x = n.input(0)?;
    let x = match (x.dtype, values) {
        (DataType::F64, DataType::F64) => x,
        _ => b.cast(&x, DataType::F32)?,
    };
    let x = match x.shape.as_slice() {
        [_, _] => x,
        [columns] => b.reshape(&x, &[1, *columns])?,
        _ => return Decline::because("its input is no matrix"),
    };
    let f = DataType::F32;
    let (rows, count) = (x.size(0), trees.len());
    let most = |size: &dyn Fn(&Tree) -> usize| trees.iter().map(size).max().unwrap_or(0).max(1);
    let (splits, leaves) = (most(&|t| t.splits.len()), most(&|t| t.leaves.len()));
    let size = count
        .checked_mul(splits)
        .and_then(|s| s.checked_mul(leaves));
    let table = (count * leaves).checked_mul(targets);
    if [size, table].iter().any(|s| s.is_none_or(|s| s > MOST)) {
        return Decline::because(format!(
            "{count} trees of up to {splits} comparisons are too large to be done at once"
        ));
    }
    let mut places: Vec<Option<&Split>> = vec![None; count * splits];
    let mut paths = vec![0.0; count * splits * leaves];
    // A leaf that only fills up is never reached.
    let mut shift = vec![-1.0; count * leaves];
    let mut table = vec![0.0; count * leaves * targets];
    for (t, tree) in trees.iter().enumerate() {
        for (s, split) in tree.splits.iter().enumerate() {
            places[t * splits + s] = Some(split);
        }
        for (l, leaf) in tree.leaves.iter().enumerate() {
            let mut q = 0;
            for (s, side) in &leaf.path {
                paths[(t * splits + s) * leaves + l] = if *side { 1.0 } else { -1.0 };
                q += i32::from(!*side);
            }
            shift[t * leaves + l] = f64::from(q - leaf.path.len() as i32 + 1);
            for (target, weight) in &leaf.weights {
                if *target >= targets {
                    return Decline::because(format!("it has a target {target} of {targets}"));
                }
                table[(t * leaves + l) * targets + target] += weight;
            }
            let extreme = matches!(aggregate, Aggregate::Min | Aggregate::Max);
            if extreme && leaf.weights.len() != targets {
                return Decline::because("not every leaf has a weight for every target");
            }
        }
    }
    let c = decided(b, &x, &places, f)?;
    let c = b.reshape(&c, &[rows, count, splits])?;
    let c = b.transpose(&c, &[1, 0, 2])?;
    let paths = b.numbers(f, &[count, splits, leaves], &paths)?;
    let shift = b.numbers(f, &[count, 1, leaves], &shift)?;
    let m = b.matmul(&c, &paths)?;
    let m = b.add(&m, &shift)?;
    let m = b.relu(&m)?;
    match aggregate {
        Aggregate::Min | Aggregate::Max => {
            let table = b.numbers(f, &[count, leaves, targets], &table)?;
            let y = b.matmul(&m, &table)?;
            let operator = match aggregate {
                Aggregate::Min => "ReduceMin",
                _ => "ReduceMax",
            };
            b.reduce(operator, &y, &[0], false)
        }
        Aggregate::Sum | Aggregate::Average => {
            if aggregate == Aggregate::Average {
                #[allow(clippy::cast_precision_loss)] // a number of trees
                table.iter_mut().for_each(|w| *w /= count as f64);
            }
            let m = b.transpose(&m, &[1, 0, 2])?;
            let m = b.reshape(&m, &[rows, count * leaves])?;
            let table = b.numbers(f, &[count * leaves, targets], &table)?;
            b.matmul(&m, &table)
        }
    }
}

/// With the base values, one for each target.
fn based(b: &mut Builder<'_>, n: &Site<'_>, y: Operand, targets: usize) -> Done<Operand> {
    let (base, _) = numbers(n, "base_values")?;
    match base.len() {
        0 => Ok(y),
        l if l == targets => {
            #[allow(clippy::cast_possible_truncation)] // results are single floats
            let base: Vec<f32> = base.iter().map(|v| *v as f32).collect();
            let base = vector(b, &base)?;
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
    let aggregate = Aggregate::named(n.text("aggregate_function", "SUM")?)?;
    let y = results(b, n, listed(n, "target")?, (targets, aggregate))?;
    let y = based(b, n, y, targets)?;
    Ok(vec![transformed(b, n, &y)?])
}

fn ensemble(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let targets = usize::try_from(n.int("n_targets", 1)?).unwrap_or(0);
    if targets == 0 {
        return Decline::because("it has no targets");
    }
    let aggregate = match n.int("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Decline::because(format!("its aggregate function is {other}")),
    };
    let transform = match n.int("post_transform", 0)? {
        0 => "NONE",
        1 => "SOFTMAX",
        2 => "LOGISTIC",
        3 => "SOFTMAX_ZERO",
        other => return Decline::because(format!("its post_transform is {other}")),
    };
    let y = results(b, n, rooted(n)?, (targets, aggregate))?;
    let y = post_transform(b, transform, &y)?;
    Ok(vec![b.cast(&y, n.input(0)?.dtype)?])
}

fn classifier(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let strings = n.node().strings("classlabels_strings")?.unwrap_or_default();
    let count = n
        .ints("classlabels_int64s")?
        .map_or(strings.len(), <[i64]>::len);
    let ids = n.ints("class_ids")?.unwrap_or_default();
    let one = count == 2 && ids.windows(2).all(|w| w[0] == w[1]);
    let forest = listed(n, "class")?;
    if !one {
        let raw = results(b, n, forest, (count, Aggregate::Sum))?;
        let raw = based(b, n, raw, count)?;
        let y = transformed(b, n, &raw)?;
        return classified(b, n, &raw, y);
    }
    // One score for two classes: a probability where all weights are positive.
    let positive = forest.0.iter().all(|t| {
        let mut weights = t.leaves.iter().flat_map(|l| &l.weights);
        weights.all(|(_, w)| *w >= 0.0)
    });
    let half = if positive { 0.5 } else { 0.0 };
    let first = ids.first() == Some(&0);
    let s = results(b, n, forest, (if first { 1 } else { 2 }, Aggregate::Sum))?;
    if first {
        let s = based(b, n, s, 1)?;
        return binary(b, n, &s, half, positive);
    }
    // The class is the second one already, and the first one's score is 0.
    if !numbers(n, "base_values")?.0.is_empty() {
        return Decline::because("it has one score for two classes and base values");
    }
    let y = transformed(b, n, &s)?;
    let own = b.slice(&s, 1, 1, 2)?;
    let own = b.reshape(&own, &[s.size(0)])?;
    let half = b.scalar(&own, half)?;
    let index = b.compare("Greater", &own, &half)?;
    let index = b.cast(&index, DataType::I64)?;
    Ok(vec![labels(b, n, &index)?, y])
}

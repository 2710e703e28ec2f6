//! Splits layers that are too big for one proof into several that are joined by `Concat`.
//!
//! A layer is split along outputs that do not depend on each other, so no sum is taken apart
//! and each output element is computed from the same numbers as before:
//!
//! | operator | weights | split along |
//! | --- | --- | --- |
//! | `MatMul` | either operand | its columns, or rows when it stands on the left |
//! | `Gemm` | B | columns of the product |
//! | `Conv`, `ConvTranspose` of one group | W | output channels |
//! | `Gather` on axis 0 | the table | columns of the table |
//!
//! A part's number of outputs is a power of two where more than one fits, because provers pad
//! to powers of two; so all parts but the last have one shape.

use crate::facts::{Fact, Facts};
use dsperse_documents::Rewrite;
use dsperse_documents::setting::SPLIT_ABOVE;
use dsperse_onnx::{AttributeProto, GraphProto, NodeProto, TensorProto, tensor};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Where a node can be split.
struct Seam {
    /// Which input holds the weights, and the axis of theirs that goes into the output.
    weight: usize,
    weight_axis: usize,
    /// Which input, if it is there, adds something along the last of its axes.
    bias: Option<usize>,
    /// The axis of the output.
    axis: usize,
}

/// Weights as a node reads them: an initializer, perhaps through a `Transpose`.
struct Weights<'g> {
    tensor: &'g TensorProto,
    shape: Vec<usize>,
    /// The order of axes that the `Transpose` makes.
    perm: Option<Vec<usize>>,
}

/// Splits nodes whose weights have more than `most` elements. Returns what was done, and a
/// sentence for each such node that can't be split.
pub(crate) fn split(
    graph: &mut GraphProto,
    facts: &mut Facts,
    most: u64,
) -> (Vec<Rewrite>, Vec<String>) {
    let (mut rewritten, mut warnings) = (Vec::new(), Vec::new());
    let mut maker = Maker {
        taken: crate::graph::all_names(graph),
        made: HashMap::new(),
        initializers: Vec::new(),
    };
    let transposes: HashMap<String, NodeProto> = graph
        .node
        .iter()
        .filter(|n| n.is("Transpose"))
        .filter_map(|n| Some((n.output.first()?.clone(), n.clone())))
        .collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        let big = |i: &usize| {
            let name = node.input.get(*i)?;
            let weights = weights(graph, &transposes, name)?;
            (weights.shape.iter().product::<usize>() > most).then_some((*i, weights))
        };
        let Some((position, weights)) = (0..node.input.len()).find_map(|i| big(&i)) else {
            nodes.push(node);
            continue;
        };
        let rank = |name: &str| Some(facts.get(name)?.shape.as_ref()?.len());
        let seam = seam(&node, position, &weights.shape, rank);
        let seam = seam.filter(|s| s.weight_axis < weights.shape.len());
        let parts = seam.and_then(|seam| {
            let ranges = ranges(&weights.shape, seam.weight_axis, most);
            maker.parts(graph, facts, &node, &seam, &weights, &ranges)
        });
        match parts {
            Some(parts) => {
                rewritten.push(Rewrite {
                    node: node.label(),
                    operator: node.op_type().to_owned(),
                    rules: vec!["split".to_owned()],
                    ..Rewrite::default()
                });
                nodes.extend(parts);
            }
            // Where only the layout changes, whoever reads it is split.
            None if node.is("Transpose") => nodes.push(node),
            None => {
                warnings.push(format!(
                    "node \"{}\" ({}) reads {} constants, more than {SPLIT_ABOVE} allows, and can't be split",
                    node.label(),
                    node.op_type(),
                    weights.shape.iter().product::<usize>()
                ));
                nodes.push(node);
            }
        }
    }
    graph.node = nodes;
    graph.initializer.append(&mut maker.initializers);
    (rewritten, warnings)
}

/// The weights behind a name.
fn weights<'g>(
    graph: &'g GraphProto,
    transposes: &HashMap<String, NodeProto>,
    name: &str,
) -> Option<Weights<'g>> {
    let shape = |t: &TensorProto| Some(tensor::dims(t).ok()?.0);
    if let Some(tensor) = graph.initializer(name) {
        let shape = shape(tensor)?;
        return Some(Weights {
            tensor,
            shape,
            perm: None,
        });
    }
    let node = transposes.get(name)?;
    let tensor = graph.initializer(node.input.first()?)?;
    let inner = shape(tensor)?;
    let perm: Vec<usize> = match node.ints("perm").ok()? {
        Some(p) => {
            let axes = p.iter().map(|&a| usize::try_from(a).ok());
            axes.collect::<Option<_>>()?
        }
        None => (0..inner.len()).rev().collect(),
    };
    let shape = perm
        .iter()
        .map(|&a| inner.get(a).copied())
        .collect::<Option<_>>()?;
    Some(Weights {
        tensor,
        shape,
        perm: Some(perm),
    })
}

/// Where a node whose weights stand at `position` can be split.
fn seam(
    node: &NodeProto,
    position: usize,
    shape: &[usize],
    rank: impl Fn(&str) -> Option<usize>,
) -> Option<Seam> {
    if !node.is_standard() || node.output.len() != 1 {
        return None;
    }
    let out = rank(node.output.first()?)?;
    let seam = |weight_axis, bias, axis| Seam {
        weight: position,
        weight_axis,
        bias,
        axis,
    };
    match (node.op_type(), position) {
        ("MatMul", 1) if shape.len() >= 2 => Some(seam(shape.len() - 1, None, out.checked_sub(1)?)),
        ("MatMul", 0) if shape.len() >= 2 => {
            // A vector on the right leaves no axis of its own.
            let below = usize::from(rank(node.input.get(1)?)? > 1);
            Some(seam(shape.len() - 2, None, out.checked_sub(1 + below)?))
        }
        ("Gemm", 1) => {
            let transposed = node.int_or("transB", 0).ok()? != 0;
            Some(seam(usize::from(!transposed), Some(2), 1))
        }
        ("Conv", 1) if node.int_or("group", 1).ok()? == 1 => Some(seam(0, Some(2), 1)),
        ("ConvTranspose", 1) if node.int_or("group", 1).ok()? == 1 => Some(seam(1, Some(2), 1)),
        ("Gather", 0) if shape.len() == 2 && node.int_or("axis", 0).ok()? == 0 => {
            Some(seam(1, None, out.checked_sub(1)?))
        }
        _ => None,
    }
}

/// The parts of an axis, each with at most `most` elements where one of the axis allows it.
fn ranges(shape: &[usize], axis: usize, most: usize) -> Vec<Range<usize>> {
    let size = shape[axis];
    let rest: usize = shape.iter().product::<usize>() / size.max(1);
    let fits = (most / rest.max(1)).max(1);
    let part = 1 << fits.ilog2();
    (0..size)
        .step_by(part)
        .map(|from| from..size.min(from + part))
        .collect()
}

/// Makes names, weights and nodes.
struct Maker {
    taken: HashSet<String>,
    /// Parts of initializers that are there already: name, axis and where it begins.
    made: HashMap<(String, usize, Range<usize>), String>,
    initializers: Vec<TensorProto>,
}

impl Maker {
    fn fresh(&mut self, name: &str, part: usize) -> String {
        let mut new = format!("{name}__part{part}");
        while !self.taken.insert(new.clone()) {
            new.push('_');
        }
        new
    }

    /// The nodes that take the place of one; `None` when it can't be split.
    fn parts(
        &mut self,
        graph: &GraphProto,
        facts: &mut Facts,
        node: &NodeProto,
        seam: &Seam,
        weights: &Weights<'_>,
        ranges: &[Range<usize>],
    ) -> Option<Vec<NodeProto>> {
        let output = node.output.first()?;
        let fact = facts.get(output)?.clone();
        let shape = fact.shape.clone()?;
        let size = weights.shape[seam.weight_axis];
        if ranges.len() < 2 || *shape.get(seam.axis)? != size as u64 {
            return None;
        }
        let bias = match seam.bias.and_then(|i| Some((i, node.input.get(i)?))) {
            Some((i, name)) if !name.is_empty() => {
                let bias = graph.initializer(name)?;
                let dims = tensor::dims(bias).ok()?.0;
                match dims.last() {
                    Some(&last) if last == size => Some((i, bias, dims.len() - 1)),
                    // The same for all outputs.
                    None | Some(1) => None,
                    _ => return None,
                }
            }
            _ => None,
        };
        let source_axis = match &weights.perm {
            Some(perm) => perm[seam.weight_axis],
            None => seam.weight_axis,
        };
        let (mut nodes, mut names) = (Vec::new(), Vec::new());
        for (k, range) in ranges.iter().enumerate() {
            let mut part = node.clone();
            part.name = Some(String::new());
            let mut input = self.cut(weights.tensor, source_axis, range, k, facts)?;
            if let Some(perm) = &weights.perm {
                let transposed = self.fresh(&node.input[seam.weight], k);
                let mut fact = facts.get(&node.input[seam.weight])?.clone();
                fact.shape.as_mut()?[seam.weight_axis] = range.len() as u64;
                facts.insert(transposed.clone(), fact);
                let perm: Vec<i64> = perm.iter().map(|&a| a as i64).collect();
                nodes.push(
                    NodeProto::new("Transpose", &[&input], &[&transposed])
                        .with(AttributeProto::from_ints("perm", &perm)),
                );
                input = transposed;
            }
            part.input[seam.weight] = input;
            if let Some((i, bias, axis)) = bias {
                part.input[i] = self.cut(bias, axis, range, k, facts)?;
            }
            let name = self.fresh(output, k);
            let mut fact = Fact {
                value: None,
                ..fact.clone()
            };
            fact.shape.as_mut()?[seam.axis] = range.len() as u64;
            facts.insert(name.clone(), fact);
            part.output = vec![name.clone()];
            nodes.push(part);
            names.push(name);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let axis = AttributeProto::from_int("axis", seam.axis as i64);
        let mut join = NodeProto::new("Concat", &names, &[output]).with(axis);
        join.name.clone_from(&node.name);
        nodes.push(join);
        Some(nodes)
    }

    /// A range of an initializer along an axis, as an initializer of its own.
    fn cut(
        &mut self,
        from: &TensorProto,
        axis: usize,
        range: &Range<usize>,
        part: usize,
        facts: &mut Facts,
    ) -> Option<String> {
        let key = (from.name().to_owned(), axis, range.clone());
        if let Some(name) = self.made.get(&key) {
            return Some(name.clone());
        }
        let (dims, _) = tensor::dims(from).ok()?;
        let dtype = tensor::dtype(from).ok()?;
        let bits = dtype.bits()?;
        if bits % 8 != 0 {
            return None;
        }
        let raw = tensor::raw(from).ok()?;
        let inner = dims[axis + 1..].iter().product::<usize>() * bits / 8;
        let block = inner * dims[axis];
        let (start, end) = (range.start * inner, range.end * inner);
        let data = match dims[..axis].iter().product::<usize>() {
            1 => raw.slice(start..end),
            _ => {
                let rows = raw.chunks_exact(block.max(1));
                let rows: Vec<&[u8]> = rows.map(|row| &row[start..end]).collect();
                rows.concat().into()
            }
        };
        let name = self.fresh(from.name(), part);
        let mut new = TensorProto {
            name: Some(name.clone()),
            data_type: from.data_type,
            dims: from.dims.clone(),
            raw_data: Some(data),
            ..TensorProto::default()
        };
        new.dims[axis] = range.len() as i64;
        let fact = Fact {
            dtype: Some(dtype),
            shape: Some(new.dims.iter().map(|d| d.unsigned_abs()).collect()),
            value: None,
        };
        facts.insert(name.clone(), fact);
        self.initializers.push(new);
        self.made.insert(key, name.clone());
        Some(name)
    }
}

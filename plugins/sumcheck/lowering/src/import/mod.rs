//! From ONNX to the real-valued [`Graph`].
//!
//! One file for each family of operators. Every operator is checked completely here:
//! what this module accepts has static shapes, constant parameters and a meaning in the
//! graph's vocabulary, so that later stages only have to care about numbers. A refusal
//! is a sentence; [`import`] adds the node's name and operator to it.

mod arithmetic;
mod constants;
mod linear;
mod movement;
mod pool;
mod reduce;

use crate::array::{Array, broadcast};
use crate::error::{LowerError, Result};
use crate::graph::{Graph, Id, Op, Origin, check_shape};
use dsperse_onnx::{DataType, Dim, ModelProto, NodeProto, OnnxError, Tensor};
use dsperse_sumcheck_verifier::program::{MAX_ELEMENTS, MAX_RANK};
use dsperse_sumcheck_verifier::wire::Factor;
use linear::Linear;
use std::collections::HashMap;

/// Result of one step; the error is the reason for which the node is refused.
type Step<T> = std::result::Result<T, String>;

/// What kind of numbers a value holds. Only floats may depend on the slice's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float,
    Integer,
}

#[derive(Clone, Copy, Debug)]
struct Value {
    id: Id,
    kind: Kind,
}

struct Importer<'a> {
    graph: Graph,
    values: HashMap<&'a str, Value>,
    /// How often each tensor is read, graph outputs included.
    uses: HashMap<&'a str, usize>,
    /// Layers with constant weights, by their result: a BatchNormalization that follows
    /// is folded into them.
    linear: HashMap<Id, Linear>,
    opset: i64,
}

/// Reads a slice's model into a graph.
///
/// `shapes` are the shapes of the inputs, in order; without them the model's own are
/// used, and a symbolic size counts as 1.
///
/// # Errors
/// [`LowerError::Unsupported`] names the first node that can't be proven;
/// [`LowerError::Model`] when the model contradicts itself.
pub fn import(model: &ModelProto, shapes: Option<&[Vec<usize>]>) -> Result<Graph> {
    let proto = model.main_graph().map_err(model_error)?;
    let opset = model.opset("").unwrap_or(0);
    if opset < 7 {
        return Err(LowerError::slice(format!(
            "opset {opset} is not supported, 7 or later is"
        )));
    }
    let mut importer = Importer {
        graph: Graph::default(),
        values: HashMap::new(),
        uses: HashMap::new(),
        linear: HashMap::new(),
        opset,
    };
    importer.graph.origins.push(Origin {
        node: proto.name().to_owned(),
        op: "Graph".into(),
    });
    for name in proto
        .node
        .iter()
        .flat_map(|n| n.input.iter().map(String::as_str))
        .chain(proto.output.iter().map(|o| o.name()))
    {
        *importer.uses.entry(name).or_insert(0) += 1;
    }
    if !proto.sparse_initializer.is_empty() {
        return Err(LowerError::slice("sparse weights are not supported"));
    }
    for tensor in &proto.initializer {
        let value = importer.constant(tensor)?;
        importer.values.insert(tensor.name(), value);
    }
    for (i, info) in proto.real_inputs().into_iter().enumerate() {
        let dtype = info.dtype();
        if !matches!(dtype, DataType::F32 | DataType::F64 | DataType::F16) {
            return Err(LowerError::slice(format!(
                "input \"{}\" has elements of type {dtype}; only f32, f64 and f16 are supported",
                info.name()
            )));
        }
        let shape = match shapes {
            Some(all) => all.get(i).cloned().ok_or_else(|| {
                LowerError::model(format!("input \"{}\" has no given shape", info.name()))
            })?,
            None => own_shape(info.name(), info.dims())?,
        };
        let id = importer
            .graph
            .add(Op::Input { shape })
            .map_err(|reason| LowerError::slice(format!("input \"{}\": {reason}", info.name())))?;
        let value = Value {
            id,
            kind: Kind::Float,
        };
        importer.values.insert(info.name(), value);
    }
    for node in &proto.node {
        importer.graph.origins.push(Origin {
            node: node.label(),
            op: node.op_type().to_owned(),
        });
        importer
            .node(node)
            .map_err(|reason| LowerError::Unsupported {
                node: node.label(),
                op: node.op_type().to_owned(),
                reason,
            })?;
    }
    for output in &proto.output {
        let value = importer.values.get(output.name()).ok_or_else(|| {
            LowerError::model(format!("output \"{}\" is computed nowhere", output.name()))
        })?;
        if value.kind != Kind::Float {
            return Err(LowerError::slice(format!(
                "output \"{}\" holds integers",
                output.name()
            )));
        }
        importer.graph.outputs.push(value.id);
    }
    if importer.graph.outputs.is_empty() {
        return Err(LowerError::model("it has no outputs"));
    }
    let mut graph = importer.graph;
    graph.drop_unused_constants();
    Ok(graph)
}

/// Refuses constants that no program can hold.
fn constant_size(elements: usize) -> Step<()> {
    if elements > MAX_ELEMENTS {
        return Err(format!(
            "has {elements} elements; at most {MAX_ELEMENTS} are supported"
        ));
    }
    Ok(())
}

fn own_shape(name: &str, dims: Option<Vec<Dim>>) -> Result<Vec<usize>> {
    let dims = dims.ok_or_else(|| LowerError::slice(format!("input \"{name}\" has no shape")))?;
    dims.into_iter()
        .map(|d| match d {
            Dim::Known(n) => usize::try_from(n)
                .map_err(|_| LowerError::slice(format!("input \"{name}\" is too large"))),
            Dim::Named(_) | Dim::Open => Ok(1),
        })
        .collect()
}

fn model_error(e: OnnxError) -> LowerError {
    LowerError::model(e.to_string())
}

impl<'a> Importer<'a> {
    /// Imports one node.
    fn node(&mut self, node: &'a NodeProto) -> Step<()> {
        if !matches!(node.domain(), "" | "ai.onnx") {
            return Err(format!(
                "domain \"{}\" is not supported, only the default one is",
                node.domain()
            ));
        }
        if node.op_type() == "Constant" {
            let tensor = node
                .constant_value()
                .map_err(|e| e.to_string())?
                .ok_or("its value is not a tensor")?;
            let value = self.constant(&tensor).map_err(|e| e.to_string())?;
            return self.define(node, 0, value);
        }
        if let Some(value) = self.constant_only(node)? {
            return self.define(node, 0, value);
        }
        if node.op_type() == "Split" {
            return self.split(node);
        }
        let id = match node.op_type() {
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.matmul(node)?,
            "Conv" => self.conv(node)?,
            "BatchNormalization" => self.batch_normalization(node)?,
            "LRN" => self.local_response(node)?,
            "Add" | "Sub" => self.add_sub(node)?,
            "Sum" => self.sum_of_all(node)?,
            "Mul" => self.mul(node)?,
            "Div" => self.div(node)?,
            "Neg" => {
                let x = self.input(node, 0)?;
                self.affine(&[(x, -1.0)], 0.0)?
            }
            "Pow" => self.pow(node)?,
            "Relu" | "Clip" => self.clamp(node)?,
            "LeakyRelu" => self.leaky_relu(node)?,
            "Sigmoid" | "Tanh" | "Erf" | "Gelu" | "Exp" | "Sqrt" => self.map(node)?,
            "MaxPool" => self.max_pool(node)?,
            "AveragePool" => self.average_pool(node)?,
            "GlobalAveragePool" => self.global_average_pool(node)?,
            "ReduceMean" | "ReduceSum" => self.reduce(node)?,
            "Softmax" => self.softmax(node)?,
            "LayerNormalization" => self.layer_normalization(node)?,
            "Concat" => self.concat(node)?,
            "Slice" => self.slice(node)?,
            "Gather" => self.gather(node)?,
            "Pad" => self.pad(node)?,
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape_like(node)?,
            "Transpose" => self.transpose(node)?,
            // Outside of training, a Dropout drops nothing.
            "Identity" | "Dropout" => self.input(node, 0)?,
            other => return Err(format!("the operator \"{other}\" is not supported")),
        };
        let value = Value {
            id,
            kind: Kind::Float,
        };
        self.define(node, 0, value)
    }

    /// Gives the node's `i`-th output its value. Further outputs must be unused.
    fn define(&mut self, node: &'a NodeProto, i: usize, value: Value) -> Step<()> {
        if node.op_type() != "Split"
            && let Some(extra) = node.output.iter().skip(1).find(|o| !o.is_empty())
            && self.uses.contains_key(extra.as_str())
        {
            return Err(format!("its output \"{extra}\" is not supported"));
        }
        let name = node.output.get(i).ok_or("it has too few outputs")?;
        self.values.insert(name, value);
        Ok(())
    }

    /// A constant from the model.
    fn constant(&mut self, proto: &dsperse_onnx::TensorProto) -> Result<Value> {
        // Before anything is read: no weight of this size can be committed to.
        let (dims, elements) = dsperse_onnx::tensor::dims(proto).map_err(model_error)?;
        constant_size(elements).map_err(|reason| {
            LowerError::slice(format!("constant \"{}\" {reason}", proto.name()))
        })?;
        if dims.len() > MAX_RANK {
            return Err(LowerError::slice(format!(
                "constant \"{}\" has more than {MAX_RANK} dimensions",
                proto.name()
            )));
        }
        let tensor = Tensor::read(proto).map_err(model_error)?;
        let kind = if tensor.values.dtype().is_float() {
            Kind::Float
        } else {
            Kind::Integer
        };
        let data = tensor.values.to_f64().ok_or_else(|| {
            LowerError::slice(format!("constant \"{}\" holds strings", proto.name()))
        })?;
        // Empty constants are legal (an optional input left out); their use is refused.
        let array = Array::new(tensor.dims, data).ok_or_else(|| {
            LowerError::model(format!("constant \"{}\" has a wrong size", proto.name()))
        })?;
        let id = self.graph.constant_node(array);
        Ok(Value { id, kind })
    }

    /// Whether the node's `i`-th input is given.
    fn has(&self, node: &NodeProto, i: usize) -> bool {
        node.input.get(i).is_some_and(|n| !n.is_empty())
    }

    fn value(&self, node: &NodeProto, i: usize) -> Step<Value> {
        let name = node
            .input
            .get(i)
            .filter(|n| !n.is_empty())
            .ok_or_else(|| format!("input {i} is missing"))?;
        self.values
            .get(name.as_str())
            .copied()
            .ok_or_else(|| format!("input \"{name}\" is computed nowhere before"))
    }

    /// The node's `i`-th input, which holds floats.
    fn input(&self, node: &NodeProto, i: usize) -> Step<Id> {
        let value = self.value(node, i)?;
        if value.kind == Kind::Float {
            Ok(value.id)
        } else {
            Err(format!("input {i} holds integers where floats are needed"))
        }
    }

    /// The node's `i`-th input as a constant, when it is given.
    fn constant_input(&self, node: &NodeProto, i: usize) -> Step<Option<&Array>> {
        if !self.has(node, i) {
            return Ok(None);
        }
        let value = self.value(node, i)?;
        match self.graph.constant(value.id) {
            Some(array) => Ok(Some(array)),
            None => Err(format!("input \"{}\" is not constant", node.input[i])),
        }
    }

    /// The node's `i`-th input as constant integers, when it is given.
    fn ints_input(&self, node: &NodeProto, i: usize) -> Step<Option<Vec<i64>>> {
        Ok(self
            .constant_input(node, i)?
            .map(|a| a.data.iter().map(|&x| x as i64).collect()))
    }

    /// The node's `i`-th input as one constant number, when it is given.
    fn scalar_input(&self, node: &NodeProto, i: usize) -> Step<Option<f64>> {
        match self.constant_input(node, i)? {
            None => Ok(None),
            Some(a) if a.data.len() == 1 => Ok(Some(a.data[0])),
            Some(a) => Err(format!(
                "input {i} has {} values, needed is 1",
                a.data.len()
            )),
        }
    }

    /// Integers that are an attribute in old opsets and an input in new ones.
    fn ints(&self, node: &NodeProto, attribute: &str, input: usize) -> Step<Option<Vec<i64>>> {
        if let Some(v) = node.ints(attribute).map_err(|e| e.to_string())? {
            return Ok(Some(v.to_vec()));
        }
        self.ints_input(node, input)
    }

    /// An axis of a tensor of the given rank, counted from the end when negative.
    fn axis(axis: i64, rank: usize) -> Step<usize> {
        let r = rank as i64;
        let a = if axis < 0 { axis + r } else { axis };
        if (0..r).contains(&a) {
            Ok(a as usize)
        } else {
            Err(format!("axis {axis} is out of range for {rank} dimensions"))
        }
    }

    fn axes(axes: &[i64], rank: usize) -> Step<Vec<usize>> {
        let mut out = axes
            .iter()
            .map(|&a| Self::axis(a, rank))
            .collect::<Step<Vec<_>>>()?;
        out.sort_unstable();
        let before = out.len();
        out.dedup();
        if out.len() == before {
            Ok(out)
        } else {
            Err("an axis is named twice".into())
        }
    }

    fn shape(&self, id: Id) -> Vec<usize> {
        self.graph.shape(id).to_vec()
    }

    fn affine(&mut self, terms: &[(Id, f64)], constant: f64) -> Step<Id> {
        if let [(id, c)] = terms
            && *c == 1.0
            && constant == 0.0
        {
            return Ok(*id);
        }
        self.graph.add(Op::Affine {
            terms: terms.to_vec(),
            constant,
        })
    }

    fn wire(&mut self, input: Id, factors: Vec<Factor>) -> Step<Id> {
        let same = factors.len() == self.graph.shape(input).len()
            && factors
                .iter()
                .enumerate()
                .all(|(i, f)| matches!(f, Factor::Keep { dim } if *dim == i));
        if same {
            return Ok(input);
        }
        self.graph.add(Op::Wire { input, factors })
    }

    /// Reinterprets a tensor row-major in another shape, with factors over as few
    /// dimensions as possible (the verifier's cost is linear in what they span).
    fn reshape(&mut self, input: Id, to: &[usize]) -> Step<Id> {
        let from = self.shape(input);
        check_shape(to)?;
        if from.iter().product::<usize>() != to.iter().product::<usize>() {
            return Err(format!("shape {from:?} can't be read as {to:?}"));
        }
        if let Some(array) = self.graph.constant(input) {
            let array = array.clone().reshaped(to.to_vec());
            let array = array.ok_or_else(|| format!("shape {from:?} can't be read as {to:?}"))?;
            return Ok(self.graph.constant_node(array));
        }
        let (mut i, mut j) = (0, 0);
        let mut factors = Vec::new();
        while i < from.len() || j < to.len() {
            if from.get(i) == to.get(j) {
                factors.push(Factor::Keep { dim: i });
                (i, j) = (i + 1, j + 1);
            } else if from.get(i) == Some(&1) {
                factors.push(Factor::Reshape {
                    dims: vec![i],
                    sizes: vec![],
                });
                i += 1;
            } else if to.get(j) == Some(&1) {
                factors.push(Factor::Repeat { size: 1 });
                j += 1;
            } else {
                let (first_i, first_j) = (i, j);
                let (mut p, mut q) = (from[i], to[j]);
                (i, j) = (i + 1, j + 1);
                while p != q {
                    if p < q {
                        p *= from[i];
                        i += 1;
                    } else {
                        q *= to[j];
                        j += 1;
                    }
                }
                factors.push(Factor::Reshape {
                    dims: (first_i..i).collect(),
                    sizes: to[first_j..j].to_vec(),
                });
            }
        }
        self.wire(input, factors)
    }

    /// Numpy's broadcasting of one value to a shape.
    fn broadcast_to(&mut self, id: Id, shape: &[usize]) -> Step<Id> {
        let own = self.shape(id);
        if own == shape {
            return Ok(id);
        }
        let mut wide = vec![1; shape.len().saturating_sub(own.len())];
        wide.extend(&own);
        let id = self.reshape(id, &wide)?;
        if wide == shape {
            return Ok(id);
        }
        self.graph.add(Op::Expand {
            input: id,
            shape: shape.to_vec(),
        })
    }

    fn broadcast_shape(&self, a: Id, b: Id) -> Step<Vec<usize>> {
        let (a, b) = (self.graph.shape(a), self.graph.shape(b));
        broadcast(a, b).ok_or_else(|| format!("shapes {a:?} and {b:?} do not broadcast"))
    }
}

//! From ONNX to the real-valued [`Graph`].
//!
//! What this module has no operator for is first [rewritten](dsperse_rewrite) by simpler
//! operators ([`native`] says which it has). One file for each family of operators. Every operator is checked completely here:
//! what this module accepts has static shapes, constant parameters and a meaning in the
//! graph's vocabulary, so that later stages only have to care about numbers. A refusal
//! is a sentence; [`import`] adds the node's name and operator to it.

mod arithmetic;
mod choice;
mod constants;
mod linear;
mod movement;
pub mod native;
mod pool;
mod quantised;
mod reduce;

use crate::array::{Array, broadcast};
use crate::error::{LowerError, Result};
use crate::graph::{Graph, Id, Op, Origin, check_shape};
use dsperse_onnx::{DataType, Dim, ModelProto, NodeProto, OnnxError, Tensor};
use dsperse_rewrite::{Declined, Known, TensorType, rewrite_with};
use dsperse_sumcheck_verifier::program::{MAX_ELEMENTS, MAX_RANK};
use dsperse_sumcheck_verifier::wire::Factor;
use linear::Linear;
use quantised::Scaled;
use std::collections::HashMap;

/// Result of one step; the error is the reason for which the node is refused.
type Step<T> = std::result::Result<T, String>;

/// What kind of numbers a value holds. Integers and booleans (0 and 1) are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float,
    Integer,
    Bool,
}

impl Kind {
    fn of(dtype: DataType) -> Self {
        if dtype.is_float() {
            Self::Float
        } else if dtype == DataType::Bool {
            Self::Bool
        } else {
            Self::Integer
        }
    }
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
    /// Element types of the model's constants.
    dtypes: HashMap<&'a str, DataType>,
    /// Floats that are integers times scales, by their node.
    scaled: HashMap<Id, Scaled>,
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
    let mut model = model.clone();
    let declined = simplify(&mut model, shapes)?;
    read(&model, shapes).map_err(|e| match e {
        LowerError::Unsupported { node, op, reason } => {
            let reason = with_others(reason, &node, &declined);
            LowerError::Unsupported { node, op, reason }
        }
        e => e,
    })
}

/// Rewrites what is not [`native`]; returns what could not be rewritten.
fn simplify(model: &mut ModelProto, shapes: Option<&[Vec<usize>]>) -> Result<Vec<Declined>> {
    let graph = model.main_graph().map_err(model_error)?;
    let mut known = Known::default();
    for (i, info) in graph.real_inputs().into_iter().enumerate() {
        let shape = match shapes.and_then(|s| s.get(i)) {
            Some(shape) => shape.clone(),
            None => own_shape(info.name(), info.dims())?,
        };
        let dtype = info.dtype();
        known
            .types
            .insert(info.name().to_owned(), TensorType { dtype, shape });
    }
    let outcome =
        rewrite_with(model, &known, &|site| native::is_native(site)).map_err(model_error)?;
    Ok(outcome.declined)
}

/// Completes the reason of the first node that is refused: why no rule replaces it, and
/// which other operators are missing.
fn with_others(reason: String, node: &str, declined: &[Declined]) -> String {
    let mut out = reason;
    if let Some(d) = declined.iter().find(|d| d.node == node) {
        out = format!("{out}; {}", d.reason);
    }
    let mut others: Vec<&str> = Vec::new();
    for d in declined.iter().filter(|d| d.node != node) {
        if !others.contains(&d.operator.as_str()) {
            others.push(&d.operator);
        }
    }
    if !others.is_empty() {
        out = format!("{out}; also missing here: {}", others.join(", "));
    }
    out
}

fn read(model: &ModelProto, shapes: Option<&[Vec<usize>]>) -> Result<Graph> {
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
        dtypes: HashMap::new(),
        scaled: HashMap::new(),
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
        if let Ok(dtype) = dsperse_onnx::tensor::dtype(tensor) {
            importer.dtypes.insert(tensor.name(), dtype);
        }
    }
    for (i, info) in proto.real_inputs().into_iter().enumerate() {
        let dtype = info.dtype();
        let integers = integer_limits(dtype);
        if !dtype.is_float() && integers.is_none() {
            return Err(LowerError::slice(format!(
                "input \"{}\" has elements of type {dtype}; floats, integers and booleans are \
                 supported",
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
            .add(Op::Input { shape, integers })
            .map_err(|reason| LowerError::slice(format!("input \"{}\": {reason}", info.name())))?;
        importer.graph.input_types.push(dtype);
        let kind = Kind::of(dtype);
        importer.values.insert(info.name(), Value { id, kind });
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
        let dtype = match (value.kind, output.dtype()) {
            (Kind::Float, d) if d.is_float() => d,
            (Kind::Float, _) => DataType::F32,
            (Kind::Bool, _) => DataType::Bool,
            (Kind::Integer, d) if integer_limits(d).is_some() => d,
            (Kind::Integer, _) => DataType::I64,
        };
        importer.graph.outputs.push(value.id);
        importer.graph.output_types.push(dtype);
    }
    if importer.graph.outputs.is_empty() {
        return Err(LowerError::model("it has no outputs"));
    }
    let mut graph = importer.graph;
    graph.drop_unused_constants();
    Ok(graph)
}

/// Least and greatest value of a type of integers, as far as programs can hold them.
fn integer_limits(dtype: DataType) -> Option<(i64, i64)> {
    Some(match dtype {
        DataType::Bool => (0, 1),
        DataType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::U8 => (0, u8::MAX.into()),
        DataType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::U16 => (0, u16::MAX.into()),
        DataType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::U32 => (0, u32::MAX.into()),
        DataType::I64 => (i64::MIN, i64::MAX),
        DataType::U64 => (0, i64::MAX),
        _ => return None,
    })
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
            if let (Some(name), Ok(dtype)) =
                (node.output.first(), dsperse_onnx::tensor::dtype(&tensor))
            {
                self.dtypes.insert(name, dtype);
            }
            return self.define(node, 0, value);
        }
        if let Some(value) = self.constant_only(node)? {
            return self.define(node, 0, value);
        }
        if node.op_type() == "Split" {
            return self.split(node);
        }
        if let Some(id) = self.on_integers(node)? {
            let kind = Kind::Float;
            return self.define(node, 0, Value { id, kind });
        }
        let id = match node.op_type() {
            "QuantizeLinear" => self.quantize(node)?,
            "DequantizeLinear" => self.dequantize(node)?,
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.matmul(node)?,
            "Conv" => self.conv(node)?,
            "BatchNormalization" => self.batch_normalization(node)?,
            "LRN" => self.local_response(node)?,
            "Add" | "Sub" => self.add_sub(node)?,
            "Sum" => self.sum_of_all(node)?,
            "Mul" => self.mul(node)?,
            "Div" => self.div(node)?,
            "Reciprocal" => {
                let x = self.input(node, 0)?;
                self.graph.add(Op::Reciprocal { input: x })?
            }
            "Neg" => {
                let x = self.input(node, 0)?;
                self.affine(&[(x, -1.0)], 0.0)?
            }
            "Pow" => self.pow(node)?,
            "Relu" | "Clip" => self.clamp(node)?,
            "LeakyRelu" => self.leaky_relu(node)?,
            "Sigmoid" | "Tanh" | "Erf" | "Gelu" | "Exp" | "Sqrt" | "Log" | "Sin" | "Cos"
            | "Atan" => self.map(node)?,
            "Abs" | "Sign" | "Floor" | "Ceil" => self.rounded(node)?,
            "Round" => {
                let input = self.input(node, 0)?;
                self.graph.add(Op::Rescale {
                    input,
                    axis: None,
                    factors: vec![1.0],
                    zero: 0.0,
                    lo: f64::NEG_INFINITY,
                    hi: f64::INFINITY,
                })?
            }
            "Max" | "Min" => self.extremum(node)?,
            "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "Equal" => {
                self.compare(node)?
            }
            "And" | "Or" | "Xor" | "Not" => self.logic(node)?,
            "Where" => self.choose(node)?,
            "Cast" => self.cast(node)?,
            "MaxPool" => self.max_pool(node)?,
            "AveragePool" => self.average_pool(node)?,
            "GlobalAveragePool" => self.global_average_pool(node)?,
            "GlobalMaxPool" => self.global_max_pool(node)?,
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" => self.reduce(node)?,
            "Softmax" => self.softmax(node)?,
            "LayerNormalization" => self.layer_normalization(node)?,
            "RMSNormalization" => self.rms_normalization(node)?,
            "Concat" => self.concat(node)?,
            "Slice" => self.slice(node)?,
            "Gather" => self.gather(node)?,
            "Pad" => self.pad(node)?,
            "Expand" => self.expand(node)?,
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape_like(node)?,
            "Transpose" => self.transpose(node)?,
            // Outside of training, a Dropout drops nothing.
            "Identity" | "Dropout" => self.input(node, 0)?,
            other => return Err(format!("the operator \"{other}\" is not supported")),
        };
        let kind = self.kind_of(node)?;
        self.define(node, 0, Value { id, kind })
    }

    /// What kind of numbers the node's first output holds.
    fn kind_of(&self, node: &NodeProto) -> Step<Kind> {
        Ok(match node.op_type() {
            "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "Equal" | "And" | "Or"
            | "Xor" | "Not" => Kind::Bool,
            "Cast" => {
                let to = node.int_or("to", 1).map_err(|e| e.to_string())?;
                Kind::of(DataType::from_number(i32::try_from(to).ok()))
            }
            "Where" => self.value(node, 1)?.kind,
            "QuantizeLinear" => Kind::Integer,
            "DequantizeLinear" => Kind::Float,
            _ => self.value(node, 0)?.kind,
        })
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
        let kind = Kind::of(tensor.values.dtype());
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

    /// The node's `i`-th input.
    fn input(&self, node: &NodeProto, i: usize) -> Step<Id> {
        Ok(self.value(node, i)?.id)
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

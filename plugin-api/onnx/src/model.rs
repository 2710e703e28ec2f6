//! Models and graphs: reading, writing, look-ups, walks and small constructors.

use crate::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, OnnxError, OperatorSetIdProto,
    Result, Tensor, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, Values,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Size of one axis as a file gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A number.
    Known(u64),
    /// A name (`batch`).
    Named(String),
    /// Nothing at all, a negative number, or `?`, which some writers use for "open".
    Open,
}

impl ModelProto {
    /// Reads a model. The weights are slices of `bytes`, not copies.
    ///
    /// # Errors
    /// [`OnnxError::Decode`] when the bytes are no such message, [`OnnxError::NoGraph`] when
    /// it holds no graph.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self> {
        let model = Self::decode(bytes.into()).map_err(|e| OnnxError::Decode {
            message: "model",
            reason: e.to_string(),
        })?;
        if model.graph.is_none() {
            return Err(OnnxError::NoGraph);
        }
        Ok(model)
    }

    /// The model's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// The graph.
    ///
    /// # Errors
    /// [`OnnxError::NoGraph`].
    pub fn main_graph(&self) -> Result<&GraphProto> {
        self.graph.as_ref().ok_or(OnnxError::NoGraph)
    }

    /// Version of an operator set; `""` and `ai.onnx` are the same domain.
    #[must_use]
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let plain = |d: &str| if d == "ai.onnx" { "" } else { d }.to_owned();
        self.opset_import
            .iter()
            .find(|o| plain(o.domain()) == plain(domain))
            .map(OperatorSetIdProto::version)
    }

    /// Makes a model around a graph with one operator set, at the lowest IR version that
    /// belongs to it (at least 4, so that initializers need not be inputs).
    #[must_use]
    pub fn from_graph(graph: GraphProto, opset: i64) -> Self {
        Self {
            ir_version: Some(ir_version_for_opset(opset)),
            producer_name: Some("dsperse".into()),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(opset),
            }],
            ..Self::default()
        }
    }

    /// Calls `f` on every tensor of the model: initializers, attributes, sub-graphs,
    /// functions.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_for_each_tensor_mut<E>(
        &mut self,
        f: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(g) = &mut self.graph {
            graph_tensors(g, f)?;
        }
        for t in &mut self.training_info {
            for g in t.initialization.iter_mut().chain(&mut t.algorithm) {
                graph_tensors(g, f)?;
            }
        }
        for func in &mut self.functions {
            for n in &mut func.node {
                attribute_tensors(&mut n.attribute, f)?;
            }
            attribute_tensors(&mut func.attribute_proto, f)?;
        }
        Ok(())
    }
}

/// The IR version that came with an operator set (the standard's table of releases), at
/// least 4.
#[must_use]
pub fn ir_version_for_opset(opset: i64) -> i64 {
    match opset {
        ..=9 => 4,
        10 => 5,
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        _ => 13,
    }
}

fn graph_tensors<E>(
    g: &mut GraphProto,
    f: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    for t in &mut g.initializer {
        f(t)?;
    }
    for s in &mut g.sparse_initializer {
        for t in s.values.iter_mut().chain(&mut s.indices) {
            f(t)?;
        }
    }
    for n in &mut g.node {
        attribute_tensors(&mut n.attribute, f)?;
    }
    Ok(())
}

fn attribute_tensors<E>(
    attributes: &mut [AttributeProto],
    f: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    for a in attributes {
        for t in a.t.iter_mut().chain(&mut a.tensors) {
            f(t)?;
        }
        for s in a.sparse_tensor.iter_mut().chain(&mut a.sparse_tensors) {
            for t in s.values.iter_mut().chain(&mut s.indices) {
                f(t)?;
            }
        }
        for g in a.g.as_deref_mut().into_iter().chain(&mut a.graphs) {
            graph_tensors(g, f)?;
        }
    }
    Ok(())
}

impl GraphProto {
    /// The initializer of this name (dense only).
    #[must_use]
    pub fn initializer(&self, name: &str) -> Option<&TensorProto> {
        self.initializer.iter().find(|t| t.name() == name)
    }

    /// Names of all initializers, dense and sparse.
    #[must_use]
    pub fn initializer_names(&self) -> HashSet<&str> {
        self.initializer
            .iter()
            .map(TensorProto::name)
            .chain(
                self.sparse_initializer
                    .iter()
                    .filter_map(|s| s.values.as_ref().map(TensorProto::name)),
            )
            .collect()
    }

    /// Inputs that a caller must give: those that no initializer fills (files before IR
    /// version 4 list initializers among the inputs).
    #[must_use]
    pub fn real_inputs(&self) -> Vec<&ValueInfoProto> {
        let filled = self.initializer_names();
        self.input
            .iter()
            .filter(|v| !filled.contains(v.name()))
            .collect()
    }

    /// Names that the graph reads from the graphs around it, in alphabetical order.
    #[must_use]
    pub fn captures(&self) -> BTreeSet<&str> {
        let mut known: HashSet<&str> = self.initializer_names();
        known.extend(self.input.iter().map(ValueInfoProto::name));
        known.extend(
            self.node
                .iter()
                .flat_map(|n| n.output.iter().map(String::as_str)),
        );
        let mut out: BTreeSet<&str> = self
            .node
            .iter()
            .flat_map(NodeProto::reads)
            .chain(self.output.iter().map(ValueInfoProto::name))
            .filter(|name| !known.contains(name))
            .collect();
        out.remove("");
        out
    }
}

/// Values that are fixed in the file: initializers, and the outputs of `Constant` nodes.
///
/// Looking one up costs a hash; building it, one pass over the graph.
#[derive(Debug)]
pub struct Constants<'a> {
    initializers: HashMap<&'a str, &'a TensorProto>,
    nodes: HashMap<&'a str, &'a NodeProto>,
}

impl<'a> Constants<'a> {
    /// Collects the constants of one graph (not of its sub-graphs).
    #[must_use]
    pub fn of(graph: &'a GraphProto) -> Self {
        Self {
            initializers: graph.initializer.iter().map(|t| (t.name(), t)).collect(),
            nodes: graph
                .node
                .iter()
                .filter(|n| n.is_constant())
                .filter_map(|n| Some((n.output.first()?.as_str(), n)))
                .collect(),
        }
    }

    /// Whether this name is fixed.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.initializers.contains_key(name) || self.nodes.contains_key(name)
    }

    /// The tensor of this name, if it is fixed.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] or [`OnnxError::Attribute`] when it is fixed but can't be read.
    pub fn get(&self, name: &str) -> Result<Option<Tensor>> {
        if let Some(t) = self.initializers.get(name) {
            return Tensor::read(t).map(Some);
        }
        match self.nodes.get(name) {
            Some(n) => n.constant_value()?.map(|t| Tensor::read(&t)).transpose(),
            None => Ok(None),
        }
    }
}

impl NodeProto {
    /// Makes a node of the standard domain without attributes and without a name.
    #[must_use]
    pub fn new(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        Self {
            op_type: Some(op_type.to_owned()),
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: outputs.iter().map(|s| (*s).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, attribute: AttributeProto) -> Self {
        self.attribute.push(attribute);
        self
    }

    /// Sets the name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// How messages call the node: its name, or operator and first output.
    #[must_use]
    pub fn label(&self) -> String {
        if self.name().is_empty() {
            let out = self.output.iter().find(|o| !o.is_empty());
            format!("{} -> {}", self.op_type(), out.map_or("", |o| o))
        } else {
            self.name().to_owned()
        }
    }

    /// Whether the operator is of the standard's own set.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        matches!(self.domain(), "" | "ai.onnx")
    }

    /// Whether this is a standard operator of this name.
    #[must_use]
    pub fn is(&self, op_type: &str) -> bool {
        self.is_standard() && self.op_type() == op_type
    }

    /// Whether this is a `Constant` node.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.is("Constant")
    }

    /// The graphs in the node's attributes.
    pub fn subgraphs(&self) -> impl Iterator<Item = &GraphProto> {
        self.attribute.iter().flat_map(AttributeProto::all_graphs)
    }

    /// Names that the node reads: its inputs (without omitted ones), then what its
    /// sub-graphs read from around them. A name may come twice.
    #[must_use]
    pub fn reads(&self) -> Vec<&str> {
        let mut out: Vec<&str> = self
            .input
            .iter()
            .map(String::as_str)
            .filter(|s| !s.is_empty())
            .collect();
        for g in self.subgraphs() {
            out.extend(g.captures());
        }
        out
    }

    /// The value of a `Constant` node under its output's name; `None` for other nodes.
    ///
    /// # Errors
    /// [`OnnxError::Attribute`] when the node has no value that can be read (a sparse one
    /// can't).
    pub fn constant_value(&self) -> Result<Option<TensorProto>> {
        if !self.is_constant() {
            return Ok(None);
        }
        let name = self.output.first().map_or("", String::as_str);
        let make = |dims: Vec<usize>, values: Values| Tensor { dims, values }.to_proto(name);
        if let Some(t) = self.tensor("value")? {
            let mut t = t.clone();
            t.name = Some(name.to_owned());
            return Ok(Some(t));
        }
        if let Some(v) = self.int("value_int")? {
            return Ok(Some(make(vec![], Values::I64(vec![v]))));
        }
        if let Some(v) = self.ints("value_ints")? {
            return Ok(Some(make(vec![v.len()], Values::I64(v.to_vec()))));
        }
        if let Some(v) = self.float("value_float")? {
            return Ok(Some(make(vec![], Values::F32(vec![v]))));
        }
        if let Some(v) = self.floats("value_floats")? {
            return Ok(Some(make(vec![v.len()], Values::F32(v.to_vec()))));
        }
        // Strings need not be UTF-8 here, so not through the getters.
        if let Some(s) = self.attr("value_string").and_then(|a| a.s.clone()) {
            return Ok(Some(make(vec![], Values::String(vec![s]))));
        }
        if let Some(a) = self.attr("value_strings") {
            return Ok(Some(make(
                vec![a.strings.len()],
                Values::String(a.strings.clone()),
            )));
        }
        Err(OnnxError::Attribute {
            node: self.label(),
            attribute: "value".into(),
            expected: "a dense value",
            found: self
                .attribute
                .first()
                .map_or("nothing".into(), |a| format!("\"{}\"", a.name())),
        })
    }
}

impl ValueInfoProto {
    /// Makes the description of a dense tensor.
    #[must_use]
    pub fn tensor(name: &str, dtype: DataType, dims: &[Dim]) -> Self {
        let dim = dims
            .iter()
            .map(|d| Dimension {
                value: match d {
                    Dim::Known(n) => Some(dimension::Value::DimValue(
                        i64::try_from(*n).unwrap_or(i64::MAX),
                    )),
                    Dim::Named(s) => Some(dimension::Value::DimParam(s.clone())),
                    Dim::Open => None,
                },
                denotation: None,
            })
            .collect();
        Self {
            name: Some(name.to_owned()),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: Some(dtype.number()),
                    shape: Some(TensorShapeProto { dim }),
                })),
                denotation: None,
            }),
            ..Self::default()
        }
    }

    /// Makes the description of a dense tensor whose sizes are all known.
    #[must_use]
    pub fn concrete(name: &str, dtype: DataType, shape: &[u64]) -> Self {
        let dims: Vec<Dim> = shape.iter().map(|d| Dim::Known(*d)).collect();
        Self::tensor(name, dtype, &dims)
    }

    fn tensor_type(&self) -> Option<&type_proto::Tensor> {
        match self.r#type.as_ref()?.value.as_ref()? {
            type_proto::Value::TensorType(t) => Some(t),
            _ => None,
        }
    }

    /// Whether this is a dense tensor (or says nothing about its type).
    #[must_use]
    pub fn is_tensor(&self) -> bool {
        self.r#type
            .as_ref()
            .and_then(|t| t.value.as_ref())
            .is_none_or(|v| matches!(v, type_proto::Value::TensorType(_)))
    }

    /// The element type; `Undefined` when absent or not a tensor.
    #[must_use]
    pub fn dtype(&self) -> DataType {
        DataType::from_number(self.tensor_type().and_then(|t| t.elem_type))
    }

    /// The sizes; `None` when the file does not even give their number.
    #[must_use]
    pub fn dims(&self) -> Option<Vec<Dim>> {
        let shape = self.tensor_type()?.shape.as_ref()?;
        Some(
            shape
                .dim
                .iter()
                .map(|d| match &d.value {
                    Some(dimension::Value::DimValue(n)) => {
                        u64::try_from(*n).map_or(Dim::Open, Dim::Known)
                    }
                    // A name without a letter or digit ("?") names nothing: two of them may differ.
                    Some(dimension::Value::DimParam(s)) if s.contains(char::is_alphanumeric) => {
                        Dim::Named(s.clone())
                    }
                    _ => Dim::Open,
                })
                .collect(),
        )
    }

    /// The sizes, when all of them are numbers.
    #[must_use]
    pub fn shape(&self) -> Option<Vec<u64>> {
        self.dims()?
            .into_iter()
            .map(|d| match d {
                Dim::Known(n) => Some(n),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture_graph() -> GraphProto {
        let inner = GraphProto {
            node: vec![NodeProto::new("Add", &["outer", "own"], &["sum"])],
            initializer: vec![
                Tensor {
                    dims: vec![],
                    values: Values::F32(vec![1.0]),
                }
                .to_proto("own"),
            ],
            output: vec![
                ValueInfoProto::concrete("sum", DataType::F32, &[]),
                ValueInfoProto::concrete("passed", DataType::F32, &[]),
            ],
            ..GraphProto::default()
        };
        let node = NodeProto::new("If", &["cond"], &["a", "b"])
            .with(AttributeProto::from_graph("then_branch", inner));
        GraphProto {
            node: vec![node],
            ..GraphProto::default()
        }
    }

    #[test]
    fn captures_are_reads() {
        let g = capture_graph();
        assert_eq!(g.node[0].reads(), vec!["cond", "outer", "passed"]);
        assert_eq!(
            g.captures().into_iter().collect::<Vec<_>>(),
            vec!["cond", "outer", "passed"]
        );
    }

    #[test]
    fn every_tensor_is_visited() {
        let mut model = ModelProto::from_graph(capture_graph(), 17);
        let mut names = Vec::new();
        model
            .try_for_each_tensor_mut(&mut |t| {
                names.push(t.name().to_owned());
                Ok::<(), ()>(())
            })
            .unwrap();
        assert_eq!(names, vec!["own"]);
    }

    #[test]
    fn constants_of_every_attribute() {
        let node = |a| NodeProto::new("Constant", &[], &["c"]).with(a);
        let read = |a| Tensor::read(&node(a).constant_value().unwrap().unwrap()).unwrap();
        let t = read(AttributeProto::from_ints("value_ints", &[3, 4]));
        assert_eq!((t.dims, t.values), (vec![2], Values::I64(vec![3, 4])));
        let t = read(AttributeProto::from_float("value_float", 2.5));
        assert_eq!((t.dims, t.values), (vec![], Values::F32(vec![2.5])));
        let t = read(AttributeProto::from_string("value_string", "hi"));
        assert_eq!(t.values, Values::String(vec![Bytes::from_static(b"hi")]));
        let err = NodeProto::new("Constant", &[], &["c"]).constant_value();
        assert!(err.unwrap_err().to_string().contains("found nothing"));
    }

    #[test]
    fn look_ups_see_initializers_and_constant_nodes() {
        let mut g = GraphProto::default();
        g.initializer.push(
            Tensor {
                dims: vec![1],
                values: Values::I64(vec![7]),
            }
            .to_proto("i"),
        );
        g.node.push(
            NodeProto::new("Constant", &[], &["c"]).with(AttributeProto::from_int("value_int", 8)),
        );
        let c = Constants::of(&g);
        assert_eq!(c.get("i").unwrap().unwrap().values.to_i64(), Some(vec![7]));
        assert_eq!(c.get("c").unwrap().unwrap().values.to_i64(), Some(vec![8]));
        assert_eq!(c.get("x"), Ok(None));
        assert!(c.contains("c") && !c.contains("x"));
    }

    #[test]
    fn initializers_among_inputs_are_not_real_inputs() {
        let mut g = GraphProto {
            input: vec![
                ValueInfoProto::concrete("x", DataType::F32, &[1]),
                ValueInfoProto::concrete("w", DataType::F32, &[1]),
            ],
            ..GraphProto::default()
        };
        g.initializer.push(
            Tensor {
                dims: vec![1],
                values: Values::F32(vec![7.0]),
            }
            .to_proto("w"),
        );
        assert_eq!(
            g.real_inputs().iter().map(|v| v.name()).collect::<Vec<_>>(),
            vec!["x"]
        );
    }

    #[test]
    fn dims_known_named_open() {
        let dims = vec![Dim::Named("batch".into()), Dim::Known(3), Dim::Open];
        let v = ValueInfoProto::tensor("x", DataType::F16, &dims);
        assert_eq!(v.dims(), Some(dims));
        assert_eq!(v.shape(), None);
        assert_eq!(v.dtype(), DataType::F16);
        assert_eq!(ValueInfoProto::default().dims(), None);
        let v = ValueInfoProto::tensor("x", DataType::F16, &[Dim::Named("?".into())]);
        assert_eq!(v.dims(), Some(vec![Dim::Open]));
    }

    #[test]
    fn opset_of_both_spellings() {
        let m = ModelProto::from_graph(GraphProto::default(), 21);
        assert_eq!(m.opset("ai.onnx"), Some(21));
        assert_eq!(m.opset(""), Some(21));
        assert_eq!(m.opset("ai.onnx.ml"), None);
        assert_eq!(m.ir_version(), 10);
    }

    #[test]
    fn errors_for_empty_and_wrong_bytes() {
        assert_eq!(
            ModelProto::parse(Bytes::new()).unwrap_err(),
            OnnxError::NoGraph
        );
        assert!(matches!(
            ModelProto::parse(Bytes::from_static(b"\xff\xff\xff")).unwrap_err(),
            OnnxError::Decode { .. }
        ));
    }
}

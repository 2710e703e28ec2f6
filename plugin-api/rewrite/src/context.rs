//! What is known of a graph while it is rewritten: names, types, constants.

use crate::constants;
use crate::operand::TensorType;
use crate::rule::Site;
use crate::shapes::{self, Place};
use dsperse_onnx::{GraphProto, NodeProto, Tensor, TensorProto, tensor};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Facts about the graph.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// Version of the standard's operator set.
    pub opset: i64,
    versions: HashMap<String, i64>,
    types: HashMap<String, TensorType>,
    /// The file's initializers; weights stay slices of the file until someone asks.
    initializers: HashMap<String, TensorProto>,
    /// Values that were read or computed.
    values: RefCell<HashMap<String, Option<Rc<Tensor>>>>,
    /// Constants that rules have made.
    made: HashMap<String, Rc<Tensor>>,
    /// Their names in order, and how many elements they have together.
    order: Vec<String>,
    spent: usize,
    /// Most elements of a tensor that is made for the node at hand.
    pub bound: usize,
    taken: HashSet<String>,
    used: HashSet<String>,
    /// Last number given to a name, so that a long loop does not count from 1 each time.
    counters: HashMap<String, usize>,
}

impl Context {
    pub(crate) fn new(
        graph: &GraphProto,
        versions: HashMap<String, i64>,
        opset: i64,
        types: &HashMap<String, TensorType>,
        values: &HashMap<String, Tensor>,
    ) -> Self {
        let mut out = Self {
            opset,
            versions,
            ..Self::default()
        };
        for info in graph
            .value_info
            .iter()
            .chain(&graph.output)
            .chain(&graph.input)
        {
            if let Some(t) = TensorType::of(info) {
                out.types.insert(info.name().to_owned(), t);
            }
        }
        out.types.extend(types.clone());
        for t in &graph.initializer {
            out.add_initializer(t);
        }
        out.values = RefCell::new(
            values
                .iter()
                .map(|(k, v)| (k.clone(), Some(Rc::new(v.clone()))))
                .collect(),
        );
        let names = graph
            .input
            .iter()
            .map(|v| v.name())
            .chain(
                graph
                    .sparse_initializer
                    .iter()
                    .filter_map(|s| Some(s.values.as_ref()?.name())),
            )
            .chain(graph.node.iter().map(|n| n.name()));
        out.taken.extend(names.map(str::to_owned));
        for n in &graph.node {
            out.taken.extend(n.output.iter().cloned());
            out.used.extend(n.reads().into_iter().map(str::to_owned));
            if let Ok(Some(t)) = n.constant_value() {
                out.add_initializer(&t);
            }
        }
        out.used
            .extend(graph.output.iter().map(|o| o.name().to_owned()));
        out
    }

    fn add_initializer(&mut self, t: &TensorProto) {
        let name = t.name().to_owned();
        if let (Ok(dtype), Ok((shape, _))) = (tensor::dtype(t), tensor::dims(t)) {
            self.types.insert(name.clone(), TensorType { dtype, shape });
        }
        self.taken.insert(name.clone());
        self.initializers.insert(name, t.clone());
    }

    /// A name that nothing has.
    pub(crate) fn fresh(&mut self, wanted: &str) -> String {
        if self.taken.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        let k = self.counters.entry(wanted.to_owned()).or_insert(1);
        loop {
            *k += 1;
            let name = format!("{wanted}_{k}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }

    pub(crate) fn set_type(&mut self, name: String, t: TensorType) {
        self.types.insert(name, t);
    }

    pub(crate) fn type_of(&self, name: &str) -> Option<&TensorType> {
        self.types.get(name)
    }

    /// A place in the list of made constants, to go back to with [`Self::forget`].
    pub(crate) fn mark(&self) -> usize {
        self.order.len()
    }

    /// Drops the constants of an attempt that led nowhere.
    pub(crate) fn forget(&mut self, mark: usize) {
        for name in self.order.split_off(mark.min(self.order.len())) {
            if let Some(t) = self.made.remove(&name) {
                self.spent = self.spent.saturating_sub(t.len());
            }
        }
    }

    /// How many elements all made constants have.
    pub(crate) fn spent(&self) -> usize {
        self.spent
    }

    /// Number of elements of the largest tensor that the node reads or writes.
    pub(crate) fn largest(&self, node: &NodeProto) -> usize {
        let named = node.input.iter().chain(&node.output);
        let known = named.filter_map(|name| self.types.get(name)?.elements());
        let inferred = self.infer(node).into_iter().flatten();
        known
            .chain(inferred.filter_map(|t| t.elements()))
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn add_constant(&mut self, name: String, tensor: Tensor) {
        self.spent = self.spent.saturating_add(tensor.len());
        self.order.push(name.clone());
        self.types.insert(
            name.clone(),
            TensorType::new(tensor.values.dtype(), &tensor.dims),
        );
        self.made.insert(name, Rc::new(tensor));
    }

    /// A constant that a rule has made, for the graph's initializers.
    pub(crate) fn made(&self, name: &str) -> Option<&Tensor> {
        self.made.get(name).map(Rc::as_ref)
    }

    pub(crate) fn is_constant(&self, name: &str) -> bool {
        self.made.contains_key(name)
            || self.initializers.contains_key(name)
            || self.values.borrow().get(name).is_some_and(Option::is_some)
    }

    /// The value of a tensor, when it is fixed and can be read.
    pub(crate) fn constant(&self, name: &str) -> Option<Rc<Tensor>> {
        if let Some(t) = self.made.get(name) {
            return Some(Rc::clone(t));
        }
        if let Some(known) = self.values.borrow().get(name) {
            return known.clone();
        }
        let proto = self.initializers.get(name)?;
        let value = Tensor::read(proto).ok().map(Rc::new);
        self.values
            .borrow_mut()
            .insert(name.to_owned(), value.clone());
        value
    }

    fn input_types(&self, node: &NodeProto) -> Vec<Option<TensorType>> {
        node.input
            .iter()
            .map(|i| self.types.get(i).filter(|_| !i.is_empty()).cloned())
            .collect()
    }

    fn version(&self, node: &NodeProto) -> i64 {
        if node.is_standard() {
            return self.opset;
        }
        self.versions.get(node.domain()).copied().unwrap_or(0)
    }

    /// The node in its place.
    pub(crate) fn site<'n>(&self, node: &'n NodeProto, last: bool) -> Site<'n> {
        Site {
            node,
            version: self.version(node),
            types: self.input_types(node),
            constant: node.input.iter().map(|i| self.is_constant(i)).collect(),
            // What a rule makes, it makes to be used.
            used: node
                .output
                .iter()
                .map(|o| !o.is_empty() && (last || self.used.contains(o)))
                .collect(),
        }
    }

    /// Types of the node's outputs.
    pub(crate) fn infer(&self, node: &NodeProto) -> Vec<Option<TensorType>> {
        let inputs = self.input_types(node);
        let place = Place {
            node,
            inputs: &inputs,
            constant: &|i| self.constant(node.input.get(i)?),
        };
        shapes::outputs(&place).unwrap_or_default()
    }

    /// The value of a node whose inputs are fixed, when it is one of those that are computed.
    pub(crate) fn evaluate(&self, node: &NodeProto, output: &TensorType) -> Option<Tensor> {
        if matches!(node.op_type(), "Shape" | "Size" | "ConstantOfShape") {
            let input = node.input.first().and_then(|i| self.types.get(i));
            return constants::from_types(node, input, output);
        }
        if !node
            .input
            .iter()
            .all(|i| i.is_empty() || self.is_constant(i))
        {
            return None;
        }
        let inputs: Vec<Option<Rc<Tensor>>> = node
            .input
            .iter()
            .map(|i| {
                if i.is_empty() {
                    Some(None)
                } else {
                    self.constant(i).map(Some)
                }
            })
            .collect::<Option<_>>()?;
        let inputs: Vec<Option<&Tensor>> = inputs.iter().map(|t| t.as_deref()).collect();
        constants::evaluate(node, &inputs, output)
    }

    /// Learns types and, where cheap, values of a node that stays as it is.
    pub(crate) fn learn(&mut self, node: &NodeProto) {
        if node.is_constant() {
            return;
        }
        let types = self.infer(node);
        for (name, t) in node.output.iter().zip(types) {
            if let (false, Some(t)) = (name.is_empty(), t) {
                self.types.entry(name.clone()).or_insert(t);
            }
        }
        let [name] = node.output.as_slice() else {
            return;
        };
        // Shapes and indices; weights that pass through nodes are left to whoever needs them.
        let Some(t) = self
            .types
            .get(name)
            .filter(|t| t.elements().is_some_and(|n| n <= 4096))
        else {
            return;
        };
        let light = |i: &String| {
            let t = self.types.get(i);
            i.is_empty()
                || t.and_then(TensorType::elements)
                    .is_some_and(|n| n <= 1 << 16)
        };
        if !node.input.iter().all(light) {
            return;
        }
        if let Some(value) = self.evaluate(node, &t.clone()) {
            self.values
                .borrow_mut()
                .insert(name.clone(), Some(Rc::new(value)));
        }
    }
}

//! What rules build nodes with.
//!
//! The methods know in which form an operator set version wants an operator, infer the
//! type of each result, and compute at once what depends on constants only, so that a rule
//! reads like its equation.

use crate::constants;
use crate::context::Context;
use crate::operand::{Operand, TensorType, elements};
use crate::rule::{Decline, Done, Site};
use dsperse_onnx::{AttributeProto, DataType, NodeProto, Tensor, Values};
use std::rc::Rc;

/// Most nodes that one rule may make.
const MAX_NODES: usize = 50_000;

/// Most elements of all constants that are made for a model.
const MAX_CONSTANTS: usize = 1 << 27;

/// Collects the nodes that take the place of one.
#[derive(Debug)]
pub(crate) struct Builder<'c> {
    context: &'c mut Context,
    prefix: String,
    pub(crate) nodes: Vec<NodeProto>,
}

impl<'c> Builder<'c> {
    pub(crate) fn new(context: &'c mut Context, prefix: String) -> Self {
        Self {
            context,
            prefix,
            nodes: Vec::new(),
        }
    }

    /// Version of the standard's operator set.
    pub(crate) fn opset(&self) -> i64 {
        self.context.opset
    }

    /// The value of an operand, when it is fixed.
    pub(crate) fn value(&self, x: &Operand) -> Option<Rc<Tensor>> {
        self.context.constant(&x.name)
    }

    /// A constant by its name.
    pub(crate) fn by_name(&self, name: &str) -> Option<Rc<Tensor>> {
        self.context.constant(name)
    }

    /// Constant integers by the tensor's name.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<i64>> {
        self.context.constant(name)?.values.to_i64()
    }

    /// Constant floats by the tensor's name.
    pub(crate) fn list_of_floats(&self, name: &str) -> Option<Vec<f64>> {
        self.context.constant(name)?.values.to_f64()
    }

    /// Types of all outputs of the node that is rewritten, when they can be told.
    pub(crate) fn types_of(&self, n: &Site<'_>) -> Option<Vec<TensorType>> {
        let types = self.context.infer(n.node());
        let all: Vec<TensorType> = types.into_iter().collect::<Option<_>>()?;
        (!all.is_empty()).then_some(all)
    }

    /// Type of the first output of the node that is rewritten, when it can be told.
    pub(crate) fn type_of(&self, n: &Site<'_>) -> Option<TensorType> {
        self.context.infer(n.node()).into_iter().next()?
    }

    /// The result of the node that is rewritten, when it is fixed.
    pub(crate) fn evaluate(&mut self, n: &Site<'_>) -> Option<Operand> {
        let t = self.type_of(n)?;
        let value = self.context.evaluate(n.node(), &t)?;
        Some(self.constant(value))
    }

    /// Its elements as floats.
    pub(crate) fn floats_of(&self, x: &Operand) -> Done<Vec<f64>> {
        self.value(x)
            .and_then(|t| t.values.to_f64())
            .ok_or_else(|| Decline(format!("\"{}\" is not constant", x.name)))
    }

    /// Its elements as integers.
    pub(crate) fn ints_of(&self, x: &Operand) -> Done<Vec<i64>> {
        self.value(x)
            .and_then(|t| t.values.to_i64())
            .ok_or_else(|| Decline(format!("\"{}\" is not a constant of integers", x.name)))
    }

    /// Its only element as a float.
    pub(crate) fn scalar_of(&self, x: &Operand) -> Done<f64> {
        match self.floats_of(x)?.as_slice() {
            [v] => Ok(*v),
            v => Decline::because(format!(
                "\"{}\" has {} elements, expected is 1",
                x.name,
                v.len()
            )),
        }
    }

    /// A constant tensor.
    pub(crate) fn constant(&mut self, tensor: Tensor) -> Operand {
        let name = self.context.fresh(&format!("{}/c", self.prefix));
        let out = Operand {
            name: name.clone(),
            dtype: tensor.values.dtype(),
            shape: tensor.dims.clone(),
        };
        self.context.add_constant(name, tensor);
        out
    }

    /// Whether a tensor of this shape may be made: a few bytes of a model can ask for more
    /// than any memory holds.
    fn fits(&self, shape: &[usize], constant: bool) -> Done<()> {
        let count = elements(shape).unwrap_or(usize::MAX);
        if count > self.context.bound {
            return Decline::because(format!(
                "a part of it would have {count} elements, at most {} are made of it",
                self.context.bound
            ));
        }
        if constant && self.context.spent().saturating_add(count) > MAX_CONSTANTS {
            return Decline::because(format!(
                "the constants that take the place of operators would have more than \
                 {MAX_CONSTANTS} elements"
            ));
        }
        Ok(())
    }

    /// Constant numbers in a type.
    pub(crate) fn numbers(&mut self, dtype: DataType, shape: &[usize], v: &[f64]) -> Done<Operand> {
        self.fits(shape, true)?;
        constants::from_f64(dtype, v)
            .and_then(|values| Tensor::new(shape.to_vec(), values))
            .map(|t| self.constant(t))
            .ok_or_else(|| Decline(format!("there are no such numbers of type {dtype}")))
    }

    /// One number in the type of `like`.
    pub(crate) fn scalar(&mut self, like: &Operand, v: f64) -> Done<Operand> {
        self.numbers(like.dtype, &[], &[v])
    }

    /// Constant 64-bit integers.
    pub(crate) fn ints(&mut self, v: &[i64]) -> Operand {
        self.constant(Tensor {
            dims: vec![v.len()],
            values: Values::I64(v.to_vec()),
        })
    }

    fn sizes(&mut self, v: &[usize]) -> Done<Operand> {
        let v = v
            .iter()
            .map(|d| i64::try_from(*d).map_err(|_| Decline("a size is too large".into())))
            .collect::<Done<Vec<_>>>()?;
        Ok(self.ints(&v))
    }

    /// Any node; all outputs that inference knows.
    pub(crate) fn nodes(
        &mut self,
        operator: &str,
        inputs: &[Option<&Operand>],
        attributes: Vec<AttributeProto>,
        outputs: usize,
    ) -> Done {
        let mut node = NodeProto {
            op_type: Some(operator.to_owned()),
            input: inputs
                .iter()
                .map(|x| x.map_or(String::new(), |x| x.name.clone()))
                .collect(),
            attribute: attributes,
            ..NodeProto::default()
        };
        while node.input.last().is_some_and(String::is_empty) {
            node.input.pop();
        }
        if self.nodes.len() >= MAX_NODES {
            return Decline::because(format!("it would become more than {MAX_NODES} nodes"));
        }
        let base = self.context.fresh(&format!("{}/{operator}", self.prefix));
        node.name = Some(base.clone());
        node.output = (0..outputs)
            .map(|i| match i {
                0 => base.clone(),
                _ => self.context.fresh(&format!("{base}_{i}")),
            })
            .collect();
        let types = self.context.infer(&node);
        for t in types.iter().flatten() {
            self.fits(&t.shape, false)?;
        }
        if outputs == 1
            && let Some(Some(t)) = types.first()
            && let Some(value) = self.context.evaluate(&node, t)
        {
            return Ok(vec![self.constant(value)]);
        }
        let mut out = Vec::with_capacity(outputs);
        for (i, name) in node.output.iter().enumerate() {
            let t = types.get(i).cloned().flatten();
            let Some(TensorType { dtype, shape }) = t else {
                return Decline::because(format!(
                    "the shape of its part \"{operator}\" can't be told from {}",
                    inputs
                        .iter()
                        .map(|x| x.map_or("nothing".into(), |x| format!("{:?}", x.shape)))
                        .collect::<Vec<_>>()
                        .join(", ")
                ));
            };
            self.context
                .set_type(name.clone(), TensorType::new(dtype, &shape));
            out.push(Operand {
                name: name.clone(),
                dtype,
                shape,
            });
        }
        self.nodes.push(node);
        Ok(out)
    }

    /// A node with one output.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        inputs: &[&Operand],
        attributes: Vec<AttributeProto>,
    ) -> Done<Operand> {
        let inputs: Vec<Option<&Operand>> = inputs.iter().map(|x| Some(*x)).collect();
        self.sparse(operator, &inputs, attributes)
    }

    /// A node with one output, some of whose inputs are left out.
    pub(crate) fn sparse(
        &mut self,
        operator: &str,
        inputs: &[Option<&Operand>],
        attributes: Vec<AttributeProto>,
    ) -> Done<Operand> {
        self.nodes(operator, inputs, attributes, 1)?
            .pop()
            .ok_or_else(|| Decline("it has no output".into()))
    }

    pub(crate) fn unary(&mut self, operator: &str, x: &Operand) -> Done<Operand> {
        self.node(operator, &[x], vec![])
    }

    pub(crate) fn add(&mut self, a: &Operand, b: &Operand) -> Done<Operand> {
        self.node("Add", &[a, b], vec![])
    }
    pub(crate) fn sub(&mut self, a: &Operand, b: &Operand) -> Done<Operand> {
        self.node("Sub", &[a, b], vec![])
    }
    pub(crate) fn mul(&mut self, a: &Operand, b: &Operand) -> Done<Operand> {
        self.node("Mul", &[a, b], vec![])
    }
    pub(crate) fn div(&mut self, a: &Operand, b: &Operand) -> Done<Operand> {
        self.node("Div", &[a, b], vec![])
    }
    /// `x + v`; nothing for 0.
    pub(crate) fn add_number(&mut self, x: &Operand, v: f64) -> Done<Operand> {
        if v == 0.0 {
            return Ok(x.clone());
        }
        let v = self.scalar(x, v)?;
        self.add(x, &v)
    }
    /// `v·x`; nothing for 1.
    pub(crate) fn scale(&mut self, x: &Operand, v: f64) -> Done<Operand> {
        #[allow(clippy::float_cmp)] // exactly one, or it is no copy
        if v == 1.0 {
            return Ok(x.clone());
        }
        let v = self.scalar(x, v)?;
        self.mul(x, &v)
    }
    pub(crate) fn neg(&mut self, x: &Operand) -> Done<Operand> {
        self.unary("Neg", x)
    }
    pub(crate) fn exp(&mut self, x: &Operand) -> Done<Operand> {
        self.unary("Exp", x)
    }
    pub(crate) fn log(&mut self, x: &Operand) -> Done<Operand> {
        self.unary("Log", x)
    }
    pub(crate) fn sqrt(&mut self, x: &Operand) -> Done<Operand> {
        self.unary("Sqrt", x)
    }
    pub(crate) fn abs(&mut self, x: &Operand) -> Done<Operand> {
        self.unary("Abs", x)
    }
    pub(crate) fn relu(&mut self, x: &Operand) -> Done<Operand> {
        self.unary("Relu", x)
    }
    pub(crate) fn tanh(&mut self, x: &Operand) -> Done<Operand> {
        self.unary("Tanh", x)
    }
    pub(crate) fn sigmoid(&mut self, x: &Operand) -> Done<Operand> {
        self.unary("Sigmoid", x)
    }

    /// `max(a, b)`, with broadcasting also before opset 8 (`a + relu(b − a)`).
    pub(crate) fn max(&mut self, a: &Operand, b: &Operand) -> Done<Operand> {
        if self.opset() >= 8 || a.shape == b.shape {
            return self.node("Max", &[a, b], vec![]);
        }
        let d = self.sub(b, a)?;
        let d = self.relu(&d)?;
        self.add(a, &d)
    }
    /// `min(a, b)`, with broadcasting also before opset 8 (`a − relu(a − b)`).
    pub(crate) fn min(&mut self, a: &Operand, b: &Operand) -> Done<Operand> {
        if self.opset() >= 8 || a.shape == b.shape {
            return self.node("Min", &[a, b], vec![]);
        }
        let d = self.sub(a, b)?;
        let d = self.relu(&d)?;
        self.sub(a, &d)
    }

    /// `min(max(x, low), high)`.
    pub(crate) fn clip(&mut self, x: &Operand, low: f64, high: f64) -> Done<Operand> {
        if self.opset() < 11 {
            #[allow(clippy::cast_possible_truncation)]
            let attributes = vec![
                AttributeProto::from_float("min", low as f32),
                AttributeProto::from_float("max", high as f32),
            ];
            return self.node("Clip", &[x], attributes);
        }
        let (low, high) = (self.scalar(x, low)?, self.scalar(x, high)?);
        self.node("Clip", &[x, &low, &high], vec![])
    }

    pub(crate) fn cast(&mut self, x: &Operand, to: DataType) -> Done<Operand> {
        if x.dtype == to {
            return Ok(x.clone());
        }
        let to = AttributeProto::from_int("to", i64::from(to.number()));
        self.node("Cast", &[x], vec![to])
    }

    pub(crate) fn matmul(&mut self, a: &Operand, b: &Operand) -> Done<Operand> {
        self.node("MatMul", &[a, b], vec![])
    }

    /// The same elements in another shape.
    pub(crate) fn reshape(&mut self, x: &Operand, shape: &[usize]) -> Done<Operand> {
        if x.shape == shape {
            return Ok(x.clone());
        }
        let target = self.sizes(shape)?;
        self.node("Reshape", &[x, &target], vec![])
    }

    pub(crate) fn transpose(&mut self, x: &Operand, perm: &[usize]) -> Done<Operand> {
        if perm.iter().copied().eq(0..x.rank()) {
            return Ok(x.clone());
        }
        let perm: Vec<i64> = perm.iter().map(|p| *p as i64).collect();
        self.node(
            "Transpose",
            &[x],
            vec![AttributeProto::from_ints("perm", &perm)],
        )
    }

    /// Exchanges the last two axes.
    pub(crate) fn transpose_last(&mut self, x: &Operand) -> Done<Operand> {
        let mut perm: Vec<usize> = (0..x.rank()).collect();
        if let [.., a, b] = perm.as_mut_slice() {
            std::mem::swap(a, b);
        }
        self.transpose(x, &perm)
    }

    /// Elements `start..end` along an axis.
    pub(crate) fn slice(
        &mut self,
        x: &Operand,
        axis: usize,
        start: usize,
        end: usize,
    ) -> Done<Operand> {
        if start == 0 && end == x.size(axis) {
            return Ok(x.clone());
        }
        let (start, end, axis) = ([start as i64], [end as i64], [axis as i64]);
        if self.opset() < 10 {
            let attributes = vec![
                AttributeProto::from_ints("starts", &start),
                AttributeProto::from_ints("ends", &end),
                AttributeProto::from_ints("axes", &axis),
            ];
            return self.node("Slice", &[x], attributes);
        }
        let (start, end, axis) = (self.ints(&start), self.ints(&end), self.ints(&axis));
        self.node("Slice", &[x, &start, &end, &axis], vec![])
    }

    /// Parts of these sizes along an axis.
    pub(crate) fn split(&mut self, x: &Operand, axis: usize, sizes: &[usize]) -> Done {
        let mut start = 0;
        sizes
            .iter()
            .map(|n| {
                start += n;
                self.slice(x, axis, start - n, start)
            })
            .collect()
    }

    pub(crate) fn concat(&mut self, parts: &[Operand], axis: usize) -> Done<Operand> {
        if let [one] = parts {
            return Ok(one.clone());
        }
        let parts: Vec<&Operand> = parts.iter().collect();
        self.node(
            "Concat",
            &parts,
            vec![AttributeProto::from_int("axis", axis as i64)],
        )
    }

    /// Elements at constant places along an axis.
    pub(crate) fn gather(&mut self, x: &Operand, places: &[usize], axis: usize) -> Done<Operand> {
        if places.iter().copied().eq(0..x.size(axis)) {
            return Ok(x.clone());
        }
        // Runs are slices, which everybody has.
        if let (Some(first), Some(last)) = (places.first(), places.last())
            && places.iter().copied().eq(*first..last + 1)
        {
            return self.slice(x, axis, *first, last + 1);
        }
        let places = self.sizes(places)?;
        self.node(
            "Gather",
            &[x, &places],
            vec![AttributeProto::from_int("axis", axis as i64)],
        )
    }

    /// Adds `value` around: (before, after) for each axis.
    pub(crate) fn pad(
        &mut self,
        x: &Operand,
        pads: &[(usize, usize)],
        value: f64,
    ) -> Done<Operand> {
        if pads.iter().all(|p| *p == (0, 0)) {
            return Ok(x.clone());
        }
        let list: Vec<i64> = pads
            .iter()
            .map(|p| p.0 as i64)
            .chain(pads.iter().map(|p| p.1 as i64))
            .collect();
        if self.opset() < 11 {
            #[allow(clippy::cast_possible_truncation)]
            let attributes = vec![
                AttributeProto::from_ints("pads", &list),
                AttributeProto::from_float("value", value as f32),
            ];
            return self.node("Pad", &[x], attributes);
        }
        let list = self.ints(&list);
        if value == 0.0 {
            return self.node("Pad", &[x, &list], vec![]);
        }
        let value = self.scalar(x, value)?;
        self.node("Pad", &[x, &list, &value], vec![])
    }

    /// The version from which a reduction takes its axes as an input.
    fn axes_are_input(&self, operator: &str) -> bool {
        self.opset() >= if operator == "ReduceSum" { 13 } else { 18 }
    }

    /// A reduction over axes.
    pub(crate) fn reduce(
        &mut self,
        operator: &str,
        x: &Operand,
        axes: &[usize],
        keep: bool,
    ) -> Done<Operand> {
        // To some versions, an empty list means all axes.
        if axes.is_empty() {
            return Ok(x.clone());
        }
        let list: Vec<i64> = axes.iter().map(|a| *a as i64).collect();
        let mut attributes = vec![AttributeProto::from_int("keepdims", i64::from(keep))];
        if self.axes_are_input(operator) {
            let list = self.ints(&list);
            return self.node(operator, &[x, &list], attributes);
        }
        attributes.push(AttributeProto::from_ints("axes", &list));
        self.node(operator, &[x], attributes)
    }
    pub(crate) fn sum(&mut self, x: &Operand, axes: &[usize], keep: bool) -> Done<Operand> {
        self.reduce("ReduceSum", x, axes, keep)
    }
    pub(crate) fn mean(&mut self, x: &Operand, axes: &[usize], keep: bool) -> Done<Operand> {
        self.reduce("ReduceMean", x, axes, keep)
    }

    /// The product of an axis with a matrix `[size, new size]`.
    pub(crate) fn along(&mut self, x: &Operand, axis: usize, w: &Operand) -> Done<Operand> {
        let last = x.rank().saturating_sub(1);
        let mut perm: Vec<usize> = (0..x.rank()).collect();
        perm.swap(axis, last);
        let t = self.transpose(x, &perm)?;
        let size = t.size(last).max(1);
        let rows = self.reshape(&t, &[t.elements() / size, size])?;
        let y = self.matmul(&rows, w)?;
        let mut shape = t.shape.clone();
        if let Some(end) = shape.last_mut() {
            *end = w.size(1);
        }
        let y = self.reshape(&y, &shape)?;
        self.transpose(&y, &perm)
    }

    /// Softmax along one axis, whatever that means to the version.
    pub(crate) fn softmax(&mut self, x: &Operand, axis: usize) -> Done<Operand> {
        self.by_rows("Softmax", x, axis)
    }

    /// `Softmax`, `LogSoftmax` or `Hardmax` along one axis: before opset 13 these work on
    /// all axes from the given one on, so the axis is brought to the end.
    fn by_rows(&mut self, operator: &str, x: &Operand, axis: usize) -> Done<Operand> {
        let attribute = |a: usize| vec![AttributeProto::from_int("axis", a as i64)];
        if self.opset() >= 13 || axis + 1 == x.rank() {
            return self.node(operator, &[x], attribute(axis));
        }
        let mut perm: Vec<usize> = (0..x.rank()).collect();
        perm.swap(axis, x.rank() - 1);
        let t = self.transpose(x, &perm)?;
        let t = self.node(operator, &[&t], attribute(x.rank() - 1))?;
        self.transpose(&t, &perm)
    }

    /// `Greater`, `Less`, `GreaterOrEqual`, `LessOrEqual` or `Equal`. Before opset 12 the
    /// inclusive ones are the negation of the others; before opset 11 floats are equal when
    /// neither is the greater one.
    pub(crate) fn compare(&mut self, operator: &str, a: &Operand, b: &Operand) -> Done<Operand> {
        let opposite = match operator {
            "GreaterOrEqual" => "Less",
            "LessOrEqual" => "Greater",
            _ => "",
        };
        if self.opset() < 11 && operator == "Equal" && a.dtype.is_float() {
            let less = self.node("Less", &[a, b], vec![])?;
            let greater = self.node("Greater", &[a, b], vec![])?;
            let either = self.node("Or", &[&less, &greater], vec![])?;
            return self.unary("Not", &either);
        }
        if self.opset() < 12 && !opposite.is_empty() {
            let x = self.node(opposite, &[a, b], vec![])?;
            return self.unary("Not", &x);
        }
        self.node(operator, &[a, b], vec![])
    }

    /// A vector along one axis of a tensor of this rank, ready to broadcast.
    pub(crate) fn along_axis(&mut self, v: &Operand, axis: usize, rank: usize) -> Done<Operand> {
        let mut shape = vec![1; rank];
        let Some(place) = shape.get_mut(axis) else {
            return Decline::because(format!("it has no axis {axis}"));
        };
        *place = elements(&v.shape).unwrap_or(0);
        self.reshape(v, &shape)
    }
}

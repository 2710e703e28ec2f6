//! From a slice's ONNX model to the [`Network`] that JSTprove takes, or the node that it
//! can't take and why. This is also what `supports` answers with.
//!
//! Operators that JSTprove lacks become simpler ones first, by the rules of
//! [`dsperse_rewrite`]: what moves elements, for one, becomes a product with a matrix of
//! zeros and ones where it is small.

use crate::integer::{Ints, broadcast};
use crate::network::{Constant, LIMIT, Layer, Network, Op, Port, Reshape, SCALE_BITS, Window};
use dsperse_onnx::{Constants, DataType, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use dsperse_plugin_api::{Error, Result};
use dsperse_rewrite::Site;
use std::collections::{HashMap, HashSet};

/// Scale of a bias that is added before the rescaling, in bits.
const BIAS_BITS: u32 = 2 * SCALE_BITS;

/// Reads a slice.
///
/// # Errors
/// `unsupported` with node and operator; `invalid_input` for a file that is no model.
pub fn normalise(bytes: &[u8]) -> Result<Network> {
    let mut model = ModelProto::parse(bytes.to_vec())
        .map_err(|e| Error::invalid_input(format!("the slice's model can't be read: {e}")))?;
    let outcome = dsperse_rewrite::rewrite(&mut model, &native).map_err(invalid)?;
    let reasons: HashMap<String, String> = outcome
        .declined
        .into_iter()
        .map(|d| (d.node, d.reason))
        .collect();
    let graph = model.main_graph().map_err(invalid)?;
    let mut builder = Builder {
        constants: Constants::of(graph),
        shapes: HashMap::new(),
        names: HashSet::new(),
        network: Network {
            opset: model.opset("").unwrap_or(1),
            ..Network::default()
        },
    };
    for input in graph.real_inputs() {
        let port = port(input)?;
        builder.shapes.insert(port.name.clone(), port.shape.clone());
        builder.network.inputs.push(port);
    }
    for (index, node) in graph.node.iter().enumerate() {
        if !node.is_constant() {
            builder.node(index, node).map_err(|mut e| {
                if let Some(why) = reasons.get(&node.label()) {
                    e.message = format!("{}, and can't be rewritten: {why}", e.message);
                }
                e.at_node(node.label(), node.op_type())
            })?;
        }
    }
    builder.outputs(graph)?;
    Ok(builder.network)
}

/// Whether JSTprove does this node itself, as far as its types and attributes tell.
pub(crate) fn native(site: &Site<'_>) -> bool {
    let node = site.node();
    let shape = |i: usize| site.input_type(i).map(|t| t.shape.as_slice());
    let rank = |i: usize| shape(i).map_or(0, <[usize]>::len);
    let computed = |i: usize| site.has(i) && !site.is_constant(i);
    let fixed = |from: usize| (from..node.input.len()).all(|i| !site.has(i) || site.is_constant(i));
    // Only elementwise operators take a constant first.
    let plain = node.is_standard() && computed(0);
    match node.op_type() {
        "Add" | "Sub" | "Mul" | "Max" | "Min" => {
            let (Some(a), Some(b), 2) = (shape(0), shape(1), node.input.len()) else {
                return false;
            };
            node.is_standard()
                && match (computed(0), computed(1)) {
                    (true, true) => a == b,
                    (true, false) => fits(b, a).is_ok(),
                    (false, true) => fits(a, b).is_ok(),
                    (false, false) => false,
                }
        }
        "Conv" => {
            let kernel = shape(1).and_then(|s| s.get(2..));
            let kernel = kernel.and_then(|k| <[usize; 2]>::try_from(k).ok());
            plain
                && rank(0) == 4
                && fixed(1)
                && node.int_or("group", 1).is_ok_and(|g| g == 1)
                && kernel.is_some_and(|k| window(node, k).is_ok())
        }
        "MaxPool" => {
            let kernel = node.ints("kernel_shape").ok().flatten();
            plain
                && rank(0) == 4
                && !site.output_is_used(1)
                && node.int_or("ceil_mode", 0).is_ok_and(|c| c == 0)
                && matches!(kernel, Some([_, _]))
                && window(node, [1, 1]).is_ok()
        }
        "Gemm" | "MatMul" => plain && rank(0) == 2 && rank(1) == 2 && fixed(1),
        "Clip" | "BatchNormalization" | "Reshape" | "Squeeze" | "Unsqueeze" => {
            plain && fixed(1) && !site.output_is_used(1)
        }
        "Relu" | "Flatten" | "Identity" => plain,
        _ => false,
    }
}

fn invalid(e: impl std::fmt::Display) -> Error {
    Error::invalid_input(format!("the slice's model is not valid: {e}"))
}

fn no(reason: impl Into<String>) -> Error {
    Error::unsupported(reason)
}

fn port(info: &ValueInfoProto) -> Result<Port> {
    let name = info.name().to_owned();
    if info.dtype() != DataType::F32 {
        return Err(no(format!(
            "tensor \"{name}\" is {}, expected float",
            info.dtype().name()
        )));
    }
    let shape = info
        .shape()
        .ok_or_else(|| no(format!("tensor \"{name}\" has no concrete shape")))?
        .into_iter()
        .map(|d| usize::try_from(d).map_err(|_| no(format!("tensor \"{name}\" is too large"))))
        .collect::<Result<Vec<_>>>()?;
    Ok(Port { name, shape })
}

struct Builder<'a> {
    constants: Constants<'a>,
    shapes: HashMap<String, Vec<usize>>,
    names: HashSet<String>,
    network: Network,
}

impl Builder<'_> {
    fn outputs(&mut self, graph: &GraphProto) -> Result<()> {
        for output in &graph.output {
            let port = port(output)?;
            let computed = self.network.layers.iter().any(|l| l.output == port.name);
            if !computed {
                return Err(no(format!(
                    "output \"{}\" is an input or a constant, and a circuit needs something to prove",
                    port.name
                )));
            }
            if self.shapes.get(&port.name) != Some(&port.shape) {
                return Err(invalid(format!(
                    "output \"{}\" is declared with shape {:?} and computed with shape {:?}",
                    port.name,
                    port.shape,
                    self.shapes.get(&port.name)
                )));
            }
            self.network.outputs.push(port);
        }
        Ok(())
    }

    fn node(&mut self, index: usize, node: &NodeProto) -> Result<()> {
        if !node.is_standard() {
            return Err(no(format!("operator domain \"{}\"", node.domain())));
        }
        let mut outputs = node.output.iter().filter(|o| !o.is_empty());
        let output = outputs
            .next()
            .ok_or_else(|| invalid("a node without output"))?;
        if outputs.next().is_some() {
            return Err(no("a node with several outputs"));
        }
        let mut name = match node.name() {
            "" => format!("node_{index}"),
            name => name.to_owned(),
        };
        // The names of a node's constants follow from its own, which ONNX lets repeat.
        while !self.names.insert(name.clone()) {
            name = format!("{name}_{index}");
        }
        let emit = Emit {
            name: &name,
            output,
        };
        match node.op_type() {
            "Conv" => self.conv(node, &emit),
            "Gemm" => self.gemm(node, &emit),
            "MatMul" => self.matmul(node, &emit),
            "MaxPool" => self.max_pool(node, &emit),
            "Relu" => {
                let (x, shape) = self.activation(node, 0)?;
                self.layer(&emit, Op::Relu, vec![x], shape)
            }
            "Add" | "Sub" | "Mul" | "Max" | "Min" => self.elementwise(node, &emit),
            "Clip" => self.clip(node, &emit),
            "BatchNormalization" => self.batch_normalization(node, &emit),
            "Reshape" | "Identity" => self.reshape(node, &emit),
            "Flatten" => {
                let (x, shape) = self.activation(node, 0)?;
                let axis = node.int_or("axis", 1).map_err(invalid)?;
                let at = position(axis, shape.len(), true)?;
                let (a, b) = shape.split_at(at);
                let shape = vec![a.iter().product(), b.iter().product()];
                let op = Op::Reshape(Reshape::Flatten(at as i64));
                self.layer(&emit, op, vec![x], shape)
            }
            "Squeeze" => {
                let (x, shape) = self.activation(node, 0)?;
                let axes = match self.axes(node)? {
                    Some(axes) => axes,
                    None => (0i64..)
                        .zip(&shape)
                        .filter_map(|(i, d)| (*d == 1).then_some(i))
                        .collect(),
                };
                let gone = axes
                    .iter()
                    .map(|a| position(*a, shape.len(), false))
                    .collect::<Result<Vec<_>>>()?;
                if gone.iter().any(|i| shape.get(*i) != Some(&1)) {
                    return Err(invalid("a squeezed dimension is not 1"));
                }
                let kept = (0..shape.len()).filter(|i| !gone.contains(i));
                let to = kept.filter_map(|i| shape.get(i).copied()).collect();
                let axes = gone.iter().map(|i| *i as i64).collect();
                self.layer(&emit, Op::Reshape(Reshape::Squeeze(axes)), vec![x], to)
            }
            "Unsqueeze" => {
                let (x, shape) = self.activation(node, 0)?;
                let axes = self.axes(node)?.ok_or_else(|| invalid("no axes"))?;
                let rank = shape.len() + axes.len();
                let mut added = axes
                    .iter()
                    .map(|a| position(*a, rank, false))
                    .collect::<Result<Vec<_>>>()?;
                added.sort_unstable();
                let mut to = shape;
                for i in &added {
                    if *i > to.len() {
                        return Err(invalid("the axes to add are not different"));
                    }
                    to.insert(*i, 1);
                }
                let axes = added.iter().map(|i| *i as i64).collect();
                self.layer(&emit, Op::Reshape(Reshape::Unsqueeze(axes)), vec![x], to)
            }
            _ => Err(no("JSTprove has no such operator")),
        }
    }

    /// Name and shape of an operand that is computed or an input.
    fn activation(&self, node: &NodeProto, i: usize) -> Result<(String, Vec<usize>)> {
        let name = node.input.get(i).map_or("", String::as_str);
        match self.shapes.get(name) {
            Some(shape) => Ok((name.to_owned(), shape.clone())),
            None if self.constants.contains(name) => Err(no(format!(
                "operand {i} (\"{name}\") is a constant, expected a computed tensor"
            ))),
            None => Err(invalid(format!("operand {i} (\"{name}\") is not defined"))),
        }
    }

    /// A constant operand as floats; `None` when the operand is omitted or computed.
    fn floats(&self, node: &NodeProto, i: usize) -> Result<Option<(Vec<usize>, Vec<f64>)>> {
        let name = node.input.get(i).map_or("", String::as_str);
        let Some(tensor) = self.constants.get(name).map_err(invalid)? else {
            return Ok(None);
        };
        let values = tensor
            .values
            .to_f64()
            .ok_or_else(|| no(format!("constant \"{name}\" holds no numbers")))?;
        Ok(Some((tensor.dims, values)))
    }

    fn needed(&self, node: &NodeProto, i: usize, what: &str) -> Result<(Vec<usize>, Vec<f64>)> {
        self.floats(node, i)?.ok_or_else(|| {
            no(format!(
                "the {what} (\"{}\") is not a constant",
                node.input.get(i).map_or("", String::as_str)
            ))
        })
    }

    /// The axes of Squeeze and Unsqueeze: an attribute before opset 13, then an input.
    fn axes(&self, node: &NodeProto) -> Result<Option<Vec<i64>>> {
        if let Some(axes) = node.ints("axes").map_err(invalid)? {
            return Ok(Some(axes.to_vec()));
        }
        if node.input.get(1).is_none_or(String::is_empty) {
            return Ok(None);
        }
        let (_, axes) = self.needed(node, 1, "list of axes")?;
        Ok(Some(axes.into_iter().map(|a| a as i64).collect()))
    }

    /// Adds a constant made from floats by truncation at a scale; returns its name.
    fn quantised(
        &mut self,
        name: String,
        shape: Vec<usize>,
        values: &[f64],
        bits: u32,
    ) -> Result<String> {
        let scale = 2f64.powi(bits as i32);
        let data = values
            .iter()
            .map(|v| {
                // Single precision, as in JSTprove, also where values were folded.
                let v = f64::from(*v as f32);
                if v.is_finite() && v.abs() < (LIMIT >> SCALE_BITS) as f64 {
                    Ok((v * scale).trunc() as i64)
                } else {
                    Err(no(format!(
                        "constant \"{name}\" holds {v}, expected less than {} in absolute value",
                        LIMIT >> SCALE_BITS
                    )))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        self.constant(name, shape, data, bits)
    }

    fn constant(
        &mut self,
        name: String,
        shape: Vec<usize>,
        data: Vec<i64>,
        bits: u32,
    ) -> Result<String> {
        self.network.constants.push(Constant {
            name: name.clone(),
            shape,
            data,
            bits,
        });
        Ok(name)
    }

    fn layer(&mut self, emit: &Emit, op: Op, inputs: Vec<String>, shape: Vec<usize>) -> Result<()> {
        self.push(
            emit.name.to_owned(),
            op,
            inputs,
            emit.output.to_owned(),
            shape,
        );
        Ok(())
    }

    fn push(
        &mut self,
        name: String,
        op: Op,
        inputs: Vec<String>,
        output: String,
        shape: Vec<usize>,
    ) {
        self.shapes.insert(output.clone(), shape.clone());
        self.network.layers.push(Layer {
            name,
            op,
            inputs,
            output,
            shape,
        });
    }

    fn conv(&mut self, node: &NodeProto, emit: &Emit) -> Result<()> {
        let (x, shape) = self.activation(node, 0)?;
        let (w_shape, weights) = self.needed(node, 1, "weight")?;
        let ([batch, channels, h, w], [out, in_channels, kh, kw]) =
            (four(&shape, "input")?, four(&w_shape, "weight")?);
        if node.int_or("group", 1).map_err(invalid)? != 1 || in_channels != channels {
            return Err(no("a convolution with groups"));
        }
        let window = window(node, [kh, kw])?;
        let [oh, ow] = window
            .output([h, w])
            .ok_or_else(|| invalid("the window does not fit the input"))?;
        let bias = match self.floats(node, 2)? {
            Some((_, bias)) => bias,
            None if node.input.get(2).is_none_or(String::is_empty) => vec![0.0; out],
            None => return Err(no("the bias is not a constant")),
        };
        let weights = self.quantised(
            format!("{}.weight", emit.name),
            w_shape,
            &weights,
            SCALE_BITS,
        )?;
        let bias = self.quantised(format!("{}.bias", emit.name), vec![out], &bias, BIAS_BITS)?;
        self.layer(
            emit,
            Op::Conv(window),
            vec![x, weights, bias],
            vec![batch, out, oh, ow],
        )
    }

    fn max_pool(&mut self, node: &NodeProto, emit: &Emit) -> Result<()> {
        let (x, shape) = self.activation(node, 0)?;
        let [batch, channels, h, w] = four(&shape, "input")?;
        if node.int_or("ceil_mode", 0).map_err(invalid)? != 0 {
            return Err(no("ceil_mode"));
        }
        let kernel = match node.ints("kernel_shape").map_err(invalid)? {
            Some(&[kh, kw]) => [size(kh)?, size(kw)?],
            _ => return Err(no("a window that is not 2-D")),
        };
        let window = window(node, kernel)?;
        let [oh, ow] = window
            .output([h, w])
            .ok_or_else(|| invalid("the window does not fit the input"))?;
        self.layer(
            emit,
            Op::MaxPool(window),
            vec![x],
            vec![batch, channels, oh, ow],
        )
    }

    fn gemm(&mut self, node: &NodeProto, emit: &Emit) -> Result<()> {
        let flag = |name: &str| node.int_or(name, 0).map(|v| v != 0).map_err(invalid);
        let (trans_a, trans_b) = (flag("transA")?, flag("transB")?);
        let alpha = f64::from(node.float_or("alpha", 1.0).map_err(invalid)?);
        let beta = f64::from(node.float_or("beta", 1.0).map_err(invalid)?);
        let bias = match self.floats(node, 2)? {
            Some((shape, values)) => {
                Some((shape, values.iter().map(|v| v * beta).collect::<Vec<_>>()))
            }
            None if node.input.get(2).is_none_or(String::is_empty) => None,
            None => return Err(no("the bias is not a constant")),
        };
        let weights = self.needed(node, 1, "second operand")?;
        self.product(node, emit, (trans_a, trans_b), alpha, weights, bias)
    }

    fn matmul(&mut self, node: &NodeProto, emit: &Emit) -> Result<()> {
        let weights = self.needed(node, 1, "second operand")?;
        self.product(node, emit, (false, false), 1.0, weights, None)
    }

    /// `alpha · a · b + bias` with constant `b` and bias.
    fn product(
        &mut self,
        node: &NodeProto,
        emit: &Emit,
        (trans_a, trans_b): (bool, bool),
        alpha: f64,
        (w_shape, mut weights): (Vec<usize>, Vec<f64>),
        bias: Option<(Vec<usize>, Vec<f64>)>,
    ) -> Result<()> {
        let (a, a_shape) = self.activation(node, 0)?;
        let two = |shape: &[usize], transposed: bool| match *shape {
            [r, c] if transposed => Ok([c, r]),
            [r, c] => Ok([r, c]),
            _ => Err(no(format!(
                "an operand of shape {shape:?}, expected a matrix"
            ))),
        };
        let [rows, inner] = two(&a_shape, trans_a)?;
        let [w_inner, cols] = two(&w_shape, trans_b)?;
        if inner != w_inner {
            return Err(invalid("the operands' inner dimensions differ"));
        }
        weights.iter_mut().for_each(|w| *w *= alpha);
        let shape = vec![rows, cols];
        let weights = self.quantised(
            format!("{}.weight", emit.name),
            w_shape,
            &weights,
            SCALE_BITS,
        )?;
        let (bias_shape, bias) = bias.unwrap_or((vec![cols], vec![0.0; cols]));
        let bias = self.quantised(format!("{}.bias", emit.name), bias_shape, &bias, BIAS_BITS)?;
        // JSTprove does not broadcast a Gemm's bias over several rows.
        if let Some(c) = self.network.constants.last_mut()
            && rows > 1
        {
            let ints = Ints {
                shape: std::mem::take(&mut c.shape),
                data: std::mem::take(&mut c.data),
            };
            c.data = broadcast(&ints, &shape)
                .ok_or_else(|| invalid("the bias does not broadcast to the result"))?;
            c.shape.clone_from(&shape);
        }
        self.layer(
            emit,
            Op::Gemm { trans_a, trans_b },
            vec![a, weights, bias],
            shape,
        )
    }

    fn elementwise(&mut self, node: &NodeProto, emit: &Emit) -> Result<()> {
        let op = match node.op_type() {
            "Add" => Op::Add,
            "Sub" => Op::Sub,
            "Mul" => Op::Mul,
            "Max" => Op::Max,
            _ => Op::Min,
        };
        let names: Vec<&String> = node.input.iter().collect();
        if names.len() != 2 {
            return Err(no(format!("{} operands, expected 2", names.len())));
        }
        match (self.floats(node, 0)?, self.floats(node, 1)?) {
            (None, None) => {
                let (a, a_shape) = self.activation(node, 0)?;
                let (b, b_shape) = self.activation(node, 1)?;
                if a_shape != b_shape {
                    return Err(no(format!(
                        "computed operands of shapes {a_shape:?} and {b_shape:?}, expected the same"
                    )));
                }
                self.layer(emit, op, vec![a, b], a_shape)
            }
            (None, Some(constant)) => self.with_constant(node, emit, op, 0, constant),
            (Some(constant), None) if op != Op::Sub => {
                self.with_constant(node, emit, op, 1, constant)
            }
            (Some((c_shape, values)), None) => {
                // c - x as (-1)·x + c: the product with -2^18 and the floor are exact.
                let (x, shape) = self.activation(node, 1)?;
                let minus = format!("{}.minus_one", emit.name);
                self.constant(minus.clone(), vec![1], vec![-(1 << SCALE_BITS)], SCALE_BITS)?;
                let negated = format!("{}.negated", emit.output);
                self.push(
                    format!("{}.negate", emit.name),
                    Op::Mul,
                    vec![x, minus],
                    negated.clone(),
                    shape.clone(),
                );
                let c = format!("{}.constant", emit.name);
                let c = self.quantised(c, c_shape.clone(), &values, SCALE_BITS)?;
                fits(&c_shape, &shape)?;
                self.layer(emit, Op::Add, vec![negated, c], shape)
            }
            (Some(_), Some(_)) => Err(no("both operands are constants")),
        }
    }

    /// An operator of an activation (operand `at`) and a constant.
    fn with_constant(
        &mut self,
        node: &NodeProto,
        emit: &Emit,
        op: Op,
        at: usize,
        (c_shape, values): (Vec<usize>, Vec<f64>),
    ) -> Result<()> {
        let (x, shape) = self.activation(node, at)?;
        fits(&c_shape, &shape)?;
        let c = format!("{}.constant", emit.name);
        let c = self.quantised(c, c_shape, &values, SCALE_BITS)?;
        self.layer(emit, op, vec![x, c], shape)
    }

    fn clip(&mut self, node: &NodeProto, emit: &Emit) -> Result<()> {
        let (x, shape) = self.activation(node, 0)?;
        let mut bounds = [None, None];
        for (i, (bound, key)) in bounds.iter_mut().zip(["min", "max"]).enumerate() {
            *bound = match node.float(key).map_err(invalid)? {
                Some(v) => Some(f64::from(v)),
                None if node.input.get(i + 1).is_none_or(String::is_empty) => None,
                None => self.needed(node, i + 1, "bound")?.1.first().copied(),
            }
            // A bound outside the circuit's range is no bound.
            .filter(|v| v.abs() < (LIMIT >> SCALE_BITS) as f64);
        }
        let mut bound = |b: Option<f64>, what: &str| {
            b.map(|v| self.quantised(format!("{}.{what}", emit.name), vec![], &[v], SCALE_BITS))
                .transpose()
        };
        let (lo, hi) = (bound(bounds[0], "min")?, bound(bounds[1], "max")?);
        match (lo, hi) {
            (Some(lo), Some(hi)) => self.layer(emit, Op::Clip, vec![x, lo, hi], shape),
            (Some(lo), None) => self.layer(emit, Op::Max, vec![x, lo], shape),
            (None, Some(hi)) => self.layer(emit, Op::Min, vec![x, hi], shape),
            (None, None) => self.same_elements(emit, x, shape),
        }
    }

    fn batch_normalization(&mut self, node: &NodeProto, emit: &Emit) -> Result<()> {
        if node.int_or("training_mode", 0).map_err(invalid)? != 0 {
            return Err(no("training mode"));
        }
        let (x, shape) = self.activation(node, 0)?;
        let channels = *shape
            .get(1)
            .ok_or_else(|| no("an input without channels"))?;
        let epsilon = f64::from(node.float_or("epsilon", 1e-5).map_err(invalid)?);
        let mut parts = Vec::new();
        for (i, what) in ["scale", "bias", "mean", "variance"].iter().enumerate() {
            let (_, values) = self.needed(node, i + 1, what)?;
            if values.len() != channels {
                return Err(invalid(format!(
                    "the {what} is not one number for each channel"
                )));
            }
            parts.push(values);
        }
        let [scale, bias, mean, variance] = parts.as_slice() else {
            return Err(Error::internal("four parts were read"));
        };
        let (mut mul, mut add) = (Vec::new(), Vec::new());
        for (((s, b), m), v) in scale.iter().zip(bias).zip(mean).zip(variance) {
            let k = s / (v + epsilon).sqrt();
            mul.push(k);
            add.push(b - m * k);
        }
        let mul = self.quantised(
            format!("{}.scale", emit.name),
            vec![channels],
            &mul,
            SCALE_BITS,
        )?;
        let add = self.quantised(
            format!("{}.bias", emit.name),
            vec![channels],
            &add,
            BIAS_BITS,
        )?;
        self.layer(emit, Op::BatchNormalization, vec![x, mul, add], shape)
    }

    fn reshape(&mut self, node: &NodeProto, emit: &Emit) -> Result<()> {
        let (x, shape) = self.activation(node, 0)?;
        if node.is("Identity") {
            return self.same_elements(emit, x, shape);
        }
        let (_, target) = self.needed(node, 1, "target shape")?;
        let allow_zero = node.int_or("allowzero", 0).map_err(invalid)? != 0;
        let total: usize = shape.iter().product();
        let mut to = Vec::new();
        let mut open = None;
        for (i, d) in target.iter().enumerate() {
            to.push(match *d as i64 {
                -1 => {
                    open = Some(i);
                    1
                }
                0 if !allow_zero => *shape
                    .get(i)
                    .ok_or_else(|| invalid("a 0 in the target shape names no dimension"))?,
                d => usize::try_from(d).map_err(|_| invalid("a negative target dimension"))?,
            });
        }
        let product: usize = to.iter().product();
        if let Some(slot) = open.and_then(|i| to.get_mut(i)) {
            *slot = total.checked_div(product).unwrap_or(0);
        }
        if to.iter().product::<usize>() != total {
            return Err(invalid(format!("shape {shape:?} can't become {to:?}")));
        }
        self.same_elements(emit, x, to)
    }

    /// A `Reshape` whose target is concrete.
    fn same_elements(&mut self, emit: &Emit, x: String, to: Vec<usize>) -> Result<()> {
        let target = to
            .iter()
            .map(|d| i64::try_from(*d).map_err(|_| no("a dimension beyond 2^63")))
            .collect::<Result<Vec<_>>>()?;
        let name = format!("{}.shape", emit.name);
        self.constant(name.clone(), vec![target.len()], target, 0)?;
        self.layer(emit, Op::Reshape(Reshape::Reshape), vec![x, name], to)
    }
}

/// Names of what a node becomes.
struct Emit<'a> {
    name: &'a str,
    output: &'a str,
}

fn four(shape: &[usize], what: &str) -> Result<[usize; 4]> {
    shape.try_into().map_err(|_| {
        no(format!(
            "a {what} of shape {shape:?}, expected four dimensions"
        ))
    })
}

fn size(v: i64) -> Result<usize> {
    usize::try_from(v)
        .ok()
        .filter(|v| (1..1 << 20).contains(v))
        .ok_or_else(|| invalid(format!("{v} is no window size")))
}

/// Whether a constant broadcasts to the activation's own shape.
fn fits(constant: &[usize], shape: &[usize]) -> Result<()> {
    let missing = shape.len().checked_sub(constant.len());
    let ok = missing.is_some_and(|m| {
        constant
            .iter()
            .zip(shape.get(m..).unwrap_or_default())
            .all(|(c, d)| *c == 1 || c == d)
    });
    if ok {
        Ok(())
    } else {
        Err(no(format!(
            "a constant of shape {constant:?} widens the computed operand of shape {shape:?}"
        )))
    }
}

/// An axis as an index; `end` allows the position after the last dimension.
fn position(axis: i64, rank: usize, end: bool) -> Result<usize> {
    let wrapped = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(wrapped)
        .ok()
        .filter(|i| *i < rank + usize::from(end))
        .ok_or_else(|| invalid(format!("axis {axis} is outside rank {rank}")))
}

/// The window attributes of Conv and MaxPool.
fn window(node: &NodeProto, kernel: [usize; 2]) -> Result<Window> {
    let pair = |key: &str| -> Result<[usize; 2]> {
        match node.ints(key).map_err(invalid)? {
            None => Ok([1, 1]),
            Some(&[a, b]) => Ok([size(a)?, size(b)?]),
            Some(v) => Err(no(format!("{key} {v:?}, expected two"))),
        }
    };
    match node.string_or("auto_pad", "NOTSET").map_err(invalid)? {
        "NOTSET" | "VALID" => {}
        other => return Err(no(format!("auto_pad \"{other}\""))),
    }
    let pads = match node.ints("pads").map_err(invalid)? {
        None => [0; 4],
        Some(&[t, l, b, r]) if t == b && l == r && t >= 0 && l >= 0 => {
            let side = |v: i64| usize::try_from(v).map_err(|_| invalid("a pad is too large"));
            [side(t)?, side(l)?, side(b)?, side(r)?]
        }
        Some(pads) => return Err(no(format!("asymmetric or negative pads {pads:?}"))),
    };
    let dilations = pair("dilations")?;
    if dilations != [1, 1] {
        return Err(no(format!("dilations {dilations:?}")));
    }
    Ok(Window {
        kernel,
        strides: pair("strides")?,
        dilations,
        pads,
    })
}

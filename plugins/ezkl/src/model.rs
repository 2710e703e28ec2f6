//! What EZKL can be asked to do, and the model in the form that it reads correctly.
//!
//! EZKL reads ONNX itself, so only two things are needed: attributes that it does not
//! default (a Conv without strides fails), and a refusal of what it computes wrongly
//! without an error. What passes here is still compared with the float model at `compile`.

use dsperse_onnx::{AttributeProto, Constants, DataType, GraphProto, ModelProto, NodeProto};
use dsperse_plugin_api::{Error, OperatorSupport, Result};

/// Operators, with their limits.
const OPERATORS: &[(&str, &str)] = &[
    ("Add", ""),
    ("AveragePool", "no padding"),
    ("BatchNormalization", "inference"),
    ("Clip", ""),
    ("Concat", ""),
    ("Constant", ""),
    ("Conv", "constant weights, no dilations"),
    ("Div", "by a constant"),
    ("Erf", ""),
    ("Exp", ""),
    ("Flatten", ""),
    ("Gather", "constant indices"),
    ("Gemm", ""),
    ("GlobalAveragePool", ""),
    ("Identity", ""),
    ("LeakyRelu", ""),
    ("MatMul", ""),
    ("Max", "of computed tensors"),
    ("MaxPool", "no padding or dilations"),
    ("Min", "of computed tensors"),
    ("Mul", ""),
    ("Neg", ""),
    ("Pad", "constant mode and pads"),
    ("ReduceMean", ""),
    ("ReduceSum", ""),
    ("Relu", ""),
    ("Reshape", "constant target"),
    ("Sigmoid", ""),
    ("Slice", "constant bounds"),
    ("Softmax", ""),
    ("Split", ""),
    ("Squeeze", ""),
    ("Sub", ""),
    ("Tanh", ""),
    ("Transpose", ""),
    ("Unsqueeze", ""),
];

/// The operators for the descriptor.
pub fn operators() -> Vec<OperatorSupport> {
    OPERATORS
        .iter()
        .map(|(op, limits)| OperatorSupport {
            op: (*op).into(),
            domain: String::new(),
            since_opset: 7,
            until_opset: None,
            dtypes: vec!["float".into()],
            limits: (*limits).into(),
        })
        .collect()
}

/// Checks a slice and writes it with explicit names and attributes.
///
/// # Errors
/// `unsupported` with node and operator; `invalid_input` for a file that is no model.
pub fn normalise(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut model = ModelProto::parse(bytes)
        .map_err(|e| Error::invalid_input(format!("the slice's model can't be read: {e}")))?;
    let graph = model.main_graph().map_err(invalid)?;
    check(graph)?;
    let added = graph
        .node
        .iter()
        .map(|n| defaults(n, &Constants::of(graph)))
        .collect::<Result<Vec<_>>>()?;
    if let Some(graph) = &mut model.graph {
        for (i, (node, added)) in graph.node.iter_mut().zip(added).enumerate() {
            node.attribute.extend(added);
            if node.name().is_empty() {
                node.name = Some(format!("node_{i}"));
            }
        }
    }
    Ok(model.to_bytes())
}

fn invalid(e: impl std::fmt::Display) -> Error {
    Error::invalid_input(format!("the slice's model is not valid: {e}"))
}

fn check(graph: &GraphProto) -> Result<()> {
    for port in graph.real_inputs().into_iter().chain(&graph.output) {
        if port.dtype() != DataType::F32 || port.shape().is_none() {
            return Err(Error::unsupported(format!(
                "tensor \"{}\" is not float with a concrete shape",
                port.name()
            )));
        }
    }
    let constants = Constants::of(graph);
    let mut computes = false;
    for node in &graph.node {
        computes |= !node.is_constant();
        if let Some(reason) = refusal(node, &constants)? {
            return Err(Error::unsupported(reason).at_node(node.label(), node.op_type()));
        }
    }
    if computes {
        Ok(())
    } else {
        Err(Error::unsupported("the slice computes nothing"))
    }
}

/// Why a node can't be done, if so.
fn refusal(node: &NodeProto, constants: &Constants) -> Result<Option<String>> {
    let fixed = |i: usize| {
        node.input
            .get(i)
            .is_some_and(|name| constants.contains(name))
    };
    if !node.is_standard() || !OPERATORS.iter().any(|(op, _)| *op == node.op_type()) {
        return Ok(Some(
            "this operator is not among those known to work".into(),
        ));
    }
    let no = |why: &str| Ok(Some(why.to_owned()));
    let dilated = node
        .ints("dilations")
        .map_err(invalid)?
        .is_some_and(|d| d.iter().any(|d| *d != 1));
    match node.op_type() {
        "Conv" | "MaxPool" | "AveragePool" if dilated => no("a dilated window"),
        "Pad" if node.string_or("mode", "constant").map_err(invalid)? != "constant" => {
            no("a mode of padding other than \"constant\"")
        }
        "Conv" if !fixed(1) => no("the weight is not a constant"),
        "Div" if !fixed(1) => no("EZKL computes a division by a tensor wrongly"),
        "Max" | "Min" if (0..node.input.len()).any(fixed) => {
            no("EZKL fails on a constant operand here")
        }
        "MaxPool" | "AveragePool" => {
            let pads = node.ints("pads").map_err(invalid)?.unwrap_or_default();
            let auto = node.string_or("auto_pad", "NOTSET").map_err(invalid)?;
            if pads.iter().any(|p| *p != 0) || !matches!(auto, "NOTSET" | "VALID") {
                return no("EZKL pads with zeros here, which is wrong for negative values");
            }
            if node.int_or("ceil_mode", 0).map_err(invalid)? != 0 {
                return no("ceil_mode");
            }
            Ok(None)
        }
        "Reshape" | "Gather" | "Pad" if !fixed(1) => no("the second operand is not a constant"),
        "Slice" if (1..node.input.len()).any(|i| !fixed(i)) => no("the bounds are not constants"),
        _ => Ok(None),
    }
}

/// Attributes that EZKL does not default.
fn defaults(node: &NodeProto, constants: &Constants) -> Result<Vec<AttributeProto>> {
    if !matches!(node.op_type(), "Conv" | "MaxPool" | "AveragePool") {
        return Ok(Vec::new());
    }
    let mut added = Vec::new();
    let kernel: Vec<i64> = match node.ints("kernel_shape").map_err(invalid)? {
        Some(kernel) => kernel.to_vec(),
        None => {
            let weight = node.input.get(1).map_or("", String::as_str);
            let weight = constants
                .get(weight)
                .map_err(invalid)?
                .ok_or_else(|| invalid("a window without kernel_shape"))?;
            let dims = weight.dims.get(2..).unwrap_or_default();
            let kernel: Vec<i64> = dims.iter().map(|d| *d as i64).collect();
            added.push(AttributeProto::from_ints("kernel_shape", &kernel));
            kernel
        }
    };
    let n = kernel.len();
    let mut ints = |name: &str, value: i64, count: usize| -> Result<()> {
        if node.attr(name).is_none() {
            added.push(AttributeProto::from_ints(name, &vec![value; count]));
        }
        Ok(())
    };
    ints("strides", 1, n)?;
    if node.string_or("auto_pad", "NOTSET").map_err(invalid)? == "NOTSET" {
        ints("pads", 0, 2 * n)?;
    }
    if node.op_type() == "Conv" {
        ints("dilations", 1, n)?;
        if node.attr("group").is_none() {
            added.push(AttributeProto::from_int("group", 1));
        }
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_onnx::{Tensor, ValueInfoProto, Values};

    fn model(node: NodeProto, constants: &[(&str, &[usize])]) -> Vec<u8> {
        let port = |n| ValueInfoProto::concrete(n, DataType::F32, &[1, 2, 4, 4]);
        let graph = GraphProto {
            name: Some("g".into()),
            node: vec![node],
            input: vec![port("x")],
            output: vec![port("y")],
            initializer: constants
                .iter()
                .map(|(name, dims)| {
                    let n = dims.iter().product();
                    Tensor::new(dims.to_vec(), Values::F32(vec![1.0; n]))
                        .unwrap()
                        .to_proto(name)
                })
                .collect(),
            ..GraphProto::default()
        };
        ModelProto::from_graph(graph, 17).to_bytes()
    }

    #[test]
    fn a_conv_gets_every_attribute() {
        let node = NodeProto::new("Conv", &["x", "w"], &["y"]);
        let bytes = normalise(model(node, &[("w", &[2, 2, 3, 1])])).unwrap();
        let model = ModelProto::parse(bytes).unwrap();
        let node = &model.main_graph().unwrap().node[0];
        assert_eq!(node.name(), "node_0");
        assert_eq!(node.ints("kernel_shape").unwrap(), Some(&[3, 1][..]));
        assert_eq!(node.ints("strides").unwrap(), Some(&[1, 1][..]));
        assert_eq!(node.ints("pads").unwrap(), Some(&[0, 0, 0, 0][..]));
        assert_eq!(node.ints("dilations").unwrap(), Some(&[1, 1][..]));
        assert_eq!(node.int_or("group", 9).unwrap(), 1);
    }

    #[test]
    fn what_goes_wrong_silently_is_refused() {
        let refused = |node: NodeProto, constants: &[(&str, &[usize])]| {
            let e = normalise(model(node, constants)).unwrap_err();
            assert_eq!(e.kind, dsperse_plugin_api::ErrorKind::Unsupported);
            assert!(e.node.is_some());
            e.message
        };
        let pool = NodeProto::new("MaxPool", &["x"], &["y"])
            .with(AttributeProto::from_ints("kernel_shape", &[2, 2]))
            .with(AttributeProto::from_ints("pads", &[0, 0, 1, 1]));
        assert!(refused(pool, &[]).contains("pads with zeros"));
        let div = NodeProto::new("Div", &["x", "x"], &["y"]);
        assert!(refused(div, &[]).contains("division"));
        let max = NodeProto::new("Max", &["x", "k"], &["y"]);
        assert!(refused(max, &[("k", &[1])]).contains("constant operand"));
        refused(NodeProto::new("Sqrt", &["x"], &["y"]), &[]);
        refused(NodeProto::new("Loop", &["x"], &["y"]), &[]);
    }
}

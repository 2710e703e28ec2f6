//! What EZKL can be asked to do, and the model in the form that it reads correctly.
//!
//! EZKL reads ONNX itself, so three things are needed: operators that it lacks or computes
//! wrongly without an error become simpler ones that it has, by the rules of
//! [`dsperse_rewrite`]; those for which that leads nowhere are refused; and attributes that
//! it does not default are written out (a Conv without strides fails). What passes here is
//! still compared with the float model at `compile`.

use dsperse_onnx::{AttributeProto, Constants, DataType, GraphProto, ModelProto, NodeProto};
use dsperse_plugin_api::{Error, OperatorSupport, Result};
use dsperse_rewrite::Site;
use std::collections::HashMap;
use std::sync::OnceLock;

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

/// The operators for the descriptor: first those of EZKL, then those that are rewritten.
pub fn operators() -> Vec<OperatorSupport> {
    static GAINED: OnceLock<Vec<dsperse_rewrite::Gained>> = OnceLock::new();
    let gained = GAINED.get_or_init(|| dsperse_rewrite::gained(&native));
    let own = OPERATORS.iter().map(|(op, limits)| ("", *op, *limits));
    let more = gained
        .iter()
        .filter(|g| !g.domain.is_empty() || OPERATORS.iter().all(|(op, _)| *op != g.operator))
        .map(|g| (g.domain, g.operator, OperatorSupport::REWRITTEN));
    own.chain(more)
        .map(|(domain, op, limits)| OperatorSupport {
            op: op.into(),
            domain: domain.into(),
            since_opset: if domain.is_empty() { 7 } else { 1 },
            until_opset: None,
            dtypes: vec!["float".into()],
            limits: limits.into(),
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
    let outcome = dsperse_rewrite::rewrite(&mut model, &native).map_err(invalid)?;
    let reasons: HashMap<String, String> = outcome
        .declined
        .into_iter()
        .map(|d| (d.node, d.reason))
        .collect();
    let graph = model.main_graph().map_err(invalid)?;
    check(graph, &reasons)?;
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

/// Whether EZKL does this node itself.
fn native(site: &Site<'_>) -> bool {
    refusal(site.node(), &|i| site.is_constant(i)).is_ok_and(|r| r.is_none())
}

/// `reasons`: why a node could not be rewritten, by label.
fn check(graph: &GraphProto, reasons: &HashMap<String, String>) -> Result<()> {
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
        let fixed = |i: usize| {
            let name = node.input.get(i);
            name.is_some_and(|name| constants.contains(name))
        };
        if let Some(mut reason) = refusal(node, &fixed)? {
            if let Some(why) = reasons.get(&node.label()) {
                reason = format!("{reason}, and can't be rewritten: {why}");
            }
            return Err(Error::unsupported(reason).at_node(node.label(), node.op_type()));
        }
    }
    if computes {
        Ok(())
    } else {
        Err(Error::unsupported("the slice computes nothing"))
    }
}

/// Why EZKL can't do a node, if so; `fixed`: whether the node's `i`-th input is a constant.
fn refusal(node: &NodeProto, fixed: &dyn Fn(usize) -> bool) -> Result<Option<String>> {
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
        let div = NodeProto::new("Div", &["x", "x"], &["y"]);
        assert!(refused(div, &[]).contains("division"));
        refused(NodeProto::new("Sqrt", &["x"], &["y"]), &[]);
        refused(NodeProto::new("Loop", &["x"], &["y"]), &[]);
    }

    #[test]
    fn what_is_lacking_is_rewritten() {
        let made = |node: NodeProto| -> Vec<String> {
            let model = ModelProto::parse(normalise(model(node, &[])).unwrap()).unwrap();
            let nodes = &model.main_graph().unwrap().node;
            nodes.iter().map(|n| n.op_type().to_owned()).collect()
        };
        let abs = NodeProto::new("Abs", &["x"], &["y"]);
        assert_eq!(made(abs), ["Relu", "Neg", "Relu", "Add"]);
        // Max with a constant fails inside EZKL.
        let max = NodeProto::new("Max", &["x", "k"], &["y"]);
        let bytes = normalise(model(max, &[("k", &[1])])).unwrap();
        let max = ModelProto::parse(bytes).unwrap();
        let nodes = &max.main_graph().unwrap().node;
        assert!(nodes.iter().all(|n| n.op_type() != "Max"));
        let padded = NodeProto::new("MaxPool", &["x"], &["y"])
            .with(AttributeProto::from_ints("kernel_shape", &[3, 3]))
            .with(AttributeProto::from_ints("pads", &[1, 1, 1, 1]));
        assert!(made(padded).iter().all(|op| op != "MaxPool"));
        let listed = operators();
        for op in ["Abs", "Elu", "HardSwish", "LSTM", "ConvTranspose", "Expand"] {
            assert!(listed.iter().any(|o| o.op == op), "{op}");
        }
        // EZKL has no comparison that is known to work.
        assert!(listed.iter().all(|o| o.op != "ArgMax"));
    }
}

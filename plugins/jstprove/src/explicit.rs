//! A [`Network`] written back as ONNX: every attribute explicit, every bias there, weights
//! as the single-precision numbers that JSTprove quantises to the very same integers. The
//! `jst` command takes a slice in this form.

use crate::network::{Constant, Network, Op, Port, Reshape, Window};
use dsperse_onnx::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, Tensor, TensorProto,
    ValueInfoProto, Values,
};
use dsperse_plugin_api::{Error, Result};

/// The operator set of the models that are written, the lowest in which all operators have
/// the form that is used here.
const OPSET: i64 = 13;

/// Writes a slice.
///
/// # Errors
/// `internal` when a constant is not what quantisation makes of a single-precision number.
pub fn model(network: &Network) -> Result<ModelProto> {
    let mut initializer = Vec::new();
    for constant in &network.constants {
        initializer.push(tensor(constant)?);
    }
    let node = network
        .layers
        .iter()
        .map(|layer| {
            let mut inputs: Vec<&str> = layer.inputs.iter().map(String::as_str).collect();
            let zeros = format!("{}.mean", layer.name);
            let ones = format!("{}.variance", layer.name);
            let target = format!("{}.target", layer.name);
            let mut op = layer.op.name();
            match &layer.op {
                // (x - 0) / sqrt(1 + 0) · scale + bias is what the layer computes.
                Op::BatchNormalization => {
                    let channels = layer.shape.get(1).copied().unwrap_or_default();
                    initializer.push(floats(&zeros, vec![channels], vec![0.0; channels])?);
                    initializer.push(floats(&ones, vec![channels], vec![1.0; channels])?);
                    inputs.extend([zeros.as_str(), ones.as_str()]);
                }
                Op::Reshape(Reshape::Squeeze(_) | Reshape::Unsqueeze(_)) => {
                    let dims: Vec<i64> = layer.shape.iter().map(|d| *d as i64).collect();
                    initializer.push(proto(&target, vec![dims.len()], Values::I64(dims))?);
                    inputs.push(&target);
                    op = "Reshape";
                }
                _ => {}
            }
            let node = NodeProto::new(op, &inputs, &[&layer.output]).named(&layer.name);
            Ok(attributes(&layer.op)
                .into_iter()
                .fold(node, NodeProto::with))
        })
        .collect::<Result<_>>()?;
    let ports = |ports: &[Port]| -> Vec<ValueInfoProto> {
        ports
            .iter()
            .map(|p| {
                let shape: Vec<u64> = p.shape.iter().map(|d| *d as u64).collect();
                ValueInfoProto::concrete(&p.name, DataType::F32, &shape)
            })
            .collect()
    };
    let graph = GraphProto {
        name: Some("slice".into()),
        node,
        input: ports(&network.inputs),
        output: ports(&network.outputs),
        initializer,
        ..GraphProto::default()
    };
    Ok(ModelProto::from_graph(graph, OPSET))
}

fn attributes(op: &Op) -> Vec<AttributeProto> {
    let int = AttributeProto::from_int;
    match op {
        Op::Conv(w) => window(w, vec![int("group", 1)]),
        Op::MaxPool(w) => window(w, vec![int("ceil_mode", 0), int("storage_order", 0)]),
        Op::Gemm { trans_a, trans_b } => vec![
            AttributeProto::from_float("alpha", 1.0),
            AttributeProto::from_float("beta", 1.0),
            int("transA", i64::from(*trans_a)),
            int("transB", i64::from(*trans_b)),
        ],
        Op::BatchNormalization => vec![AttributeProto::from_float("epsilon", 0.0)],
        Op::Reshape(Reshape::Flatten(axis)) => vec![int("axis", *axis)],
        _ => vec![],
    }
}

fn window(w: &Window, mut attributes: Vec<AttributeProto>) -> Vec<AttributeProto> {
    let lists: [(&str, &[usize]); 4] = [
        ("kernel_shape", &w.kernel),
        ("strides", &w.strides),
        ("dilations", &w.dilations),
        ("pads", &w.pads),
    ];
    for (name, values) in lists {
        let values: Vec<i64> = values.iter().map(|v| *v as i64).collect();
        attributes.push(AttributeProto::from_ints(name, &values));
    }
    attributes
}

fn tensor(c: &Constant) -> Result<TensorProto> {
    if c.bits == 0 {
        return proto(&c.name, c.shape.clone(), Values::I64(c.data.clone()));
    }
    let scale = 2f64.powi(c.bits as i32);
    let values = c.data.iter().map(|v| (*v as f64 / scale) as f32);
    let exact = |(f, v): (f32, &i64)| (f64::from(f) * scale) as i64 == *v;
    if !values.clone().zip(&c.data).all(exact) {
        return Err(Error::internal(format!(
            "constant \"{}\" is not exact in single precision",
            c.name
        )));
    }
    floats(&c.name, c.shape.clone(), values.collect())
}

fn floats(name: &str, shape: Vec<usize>, values: Vec<f32>) -> Result<TensorProto> {
    proto(name, shape, Values::F32(values))
}

fn proto(name: &str, shape: Vec<usize>, values: Values) -> Result<TensorProto> {
    Tensor::new(shape, values)
        .map(|t| t.to_proto(name))
        .ok_or_else(|| Error::internal(format!("constant \"{name}\" has another size")))
}

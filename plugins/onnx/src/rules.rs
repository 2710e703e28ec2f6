//! Operators that the engine would compute wrongly without an error.
//!
//! tract looks an operator up by its name and reads only the attributes that it knows.
//! Where one that it passes over changes the meaning, or its own formula is wrong, it gives
//! wrong values; a verifier that recomputes would then confirm them. The cases refused
//! here were found by comparing the attributes of the standard (up to opset 28) with those
//! that the engine's source reads, by running ONNX's own node tests (`tests/node_cases.rs`)
//! and by comparing about 1000 further single nodes with ONNX Runtime.
//!
//! Deviations that depend on values and not on the graph can't be refused: a maximum or
//! minimum (Relu, Clip, pooling and reductions too) passes over NaN where the standard keeps
//! it; the maximum of nothing but −∞ is the lowest finite number, and so for the minimum.
//! Where ONNX's reference and ONNX Runtime differ (Resize with `align_corners` and scales
//! that give no whole size), the engine follows the reference.

use dsperse_onnx::{Constants, NodeProto, OnnxError, Values};
use dsperse_plugin_api::{Error, Result};
use half::f16;

/// Attributes that the engine passes over, and the values with which that is right: those
/// listed, and the attribute's absence.
const PASSED_OVER: [(&str, &str, &[f32]); 9] = [
    ("Attention", "left_window_size", &[-1.0]),
    ("Attention", "right_window_size", &[-1.0]),
    ("BatchNormalization", "training_mode", &[0.0]),
    ("Celu", "alpha", &[1.0]),
    ("DequantizeLinear", "output_dtype", &[0.0, 1.0]),
    ("MultiHeadAttention", "unidirectional", &[0.0]),
    ("QuantizeLinear", "output_dtype", &[0.0, 2.0]),
    ("QuantizeLinear", "precision", &[0.0, 1.0]),
    ("Swish", "alpha", &[1.0]),
];

/// Attributes that the engine passes over and that change the meaning by being there.
const NOT_READ: [(&str, &str); 13] = [
    // The broadcasting of opsets below 7, along a named axis.
    ("Add", "axis"),
    ("And", "axis"),
    ("Div", "axis"),
    ("Equal", "axis"),
    ("Greater", "axis"),
    ("Less", "axis"),
    ("Mul", "axis"),
    ("Or", "axis"),
    ("Pow", "axis"),
    ("Sub", "axis"),
    ("Xor", "axis"),
    // Scan of opset 8.
    ("Scan", "directions"),
    ("TreeEnsembleClassifier", "base_values_as_tensor"),
];

/// Checks one node.
///
/// # Errors
/// `unsupported` with the reason; `invalid_input` when an attribute is of the wrong kind.
pub fn node(n: &NodeProto, opset: i64, constants: &Constants) -> Result<()> {
    let op = n.op_type();
    for (_, name, right) in PASSED_OVER.iter().filter(|e| e.0 == op) {
        if let Some(a) = n.attr(name) {
            #[allow(clippy::cast_precision_loss)] // small enumerations
            let value = a.f.unwrap_or(a.i.unwrap_or(0) as f32);
            if !right.contains(&value) {
                let reason = format!("attribute \"{name}\" is {value}, which the engine ignores");
                return Err(at(n, &reason));
            }
        }
    }
    if let Some((_, name)) = NOT_READ.iter().find(|e| e.0 == op && n.attr(e.1).is_some()) {
        return Err(at(n, &format!("the engine ignores attribute \"{name}\"")));
    }
    match op {
        "LSTM" | "GRU" | "RNN" => recurrent(n),
        "Attention" => attention(n, opset),
        "BitShift" => bit_shift(n, constants),
        "GatherBlockQuantized" | "MatMulNBits" => block_scales(n, constants),
        "GridSample" => grid_sample(n),
        "Resize" => resize(n, opset, constants),
        "RotaryEmbedding" if n.domain() == "com.microsoft" => {
            match n.int_or("rotary_embedding_dim", 0).map_err(malformed)? {
                0 => Ok(()),
                _ => Err(at(n, "a part of each head is rotated wrongly")),
            }
        }
        "Slice" => slice(n, constants),
        "SkipSimplifiedLayerNormalization" if has_input(n, 3) => {
            Err(at(n, "the engine ignores its bias"))
        }
        "SpaceToDepth" => match n.string_or("mode", "DCR").map_err(malformed)? {
            "DCR" => Ok(()),
            mode => Err(at(n, &format!("mode \"{mode}\" is computed as \"DCR\""))),
        },
        _ => Ok(()),
    }
}

fn has_input(n: &NodeProto, at: usize) -> bool {
    n.input.get(at).is_some_and(|i| !i.is_empty())
}

/// From opset 24 on the causal mask is shifted by the length of the past.
fn attention(n: &NodeProto, opset: i64) -> Result<()> {
    let causal = n.int_or("is_causal", 0).map_err(malformed)? != 0;
    if opset >= 24 && causal && has_input(n, 4) {
        return Err(at(
            n,
            "with past keys, the causal mask of opset 24 is computed as in opset 23",
        ));
    }
    Ok(())
}

/// ONNX Runtime gives 0 for a shift by the width or more; the engine takes the amount
/// modulo the width. So the amount has to be a constant below the width.
fn bit_shift(n: &NodeProto, constants: &Constants) -> Result<()> {
    let name = n.input.get(1).map_or("", String::as_str);
    let Some(amount) = constants.get(name).map_err(malformed)? else {
        return Err(at(
            n,
            "its shift is not constant, so it may reach the type's width",
        ));
    };
    let (bits, largest) = match &amount.values {
        Values::U8(v) => (8, v.iter().max().map(|m| u64::from(*m))),
        Values::U16(v) => (16, v.iter().max().map(|m| u64::from(*m))),
        Values::U32(v) => (32, v.iter().max().map(|m| u64::from(*m))),
        Values::U64(v) => (64, v.iter().max().copied()),
        other => {
            let reason = format!("its shift is of type {}, not unsigned", other.dtype());
            return Err(at(n, &reason));
        }
    };
    match largest {
        Some(shift) if shift >= bits => {
            Err(at(n, &format!("it shifts {bits}-bit integers by {shift}")))
        }
        _ => Ok(()),
    }
}

/// Scales of quantised blocks are rounded to half precision, an error of up to 5e-4.
fn block_scales(n: &NodeProto, constants: &Constants) -> Result<()> {
    let name = n.input.get(2).map_or("", String::as_str);
    let exact = match constants.get(name).map_err(malformed)?.map(|c| c.values) {
        Some(Values::F16(_)) => true,
        Some(Values::F32(v)) => v.iter().all(|s| f16::from_f32(*s).to_f32() == *s),
        _ => false,
    };
    if exact {
        Ok(())
    } else {
        Err(at(
            n,
            "its scales are rounded to half precision, and these are not exact there",
        ))
    }
}

/// Cubic interpolation clamps the point and not each of its neighbours.
fn grid_sample(n: &NodeProto) -> Result<()> {
    let mode = n.string_or("mode", "").map_err(malformed)?;
    let padding = n.string_or("padding_mode", "").map_err(malformed)?;
    if mode.ends_with("cubic") && padding == "border" {
        return Err(at(
            n,
            "cubic interpolation with border padding is computed wrongly",
        ));
    }
    Ok(())
}

/// The engine reads neither `direction` nor the cell's functions.
fn recurrent(n: &NodeProto) -> Result<()> {
    let direction = n.string_or("direction", "forward").map_err(malformed)?;
    if direction == "reverse" {
        return Err(at(n, "direction \"reverse\" is computed as \"forward\""));
    }
    let standard: &[&str] = match n.op_type() {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    let activations = n.strings("activations").map_err(malformed)?;
    if !activations
        .iter()
        .flat_map(|a| a.chunks(standard.len()))
        .all(|a| a == standard)
    {
        let reason = format!("only the activations {} are supported", standard.join(", "));
        return Err(at(n, &reason));
    }
    if n.attr("clip").is_some() {
        return Err(at(n, "attribute \"clip\" is not supported"));
    }
    if n.int_or("input_forget", 0).map_err(malformed)? != 0 {
        return Err(at(n, "attribute \"input_forget\" is not supported"));
    }
    Ok(())
}

/// Nearest neighbours of opset 10 come out right only where the scale is exact in binary.
fn resize(n: &NodeProto, opset: i64, constants: &Constants) -> Result<()> {
    let mode = n.string_or("mode", "nearest").map_err(malformed)?;
    if opset > 10 || mode != "nearest" {
        return Ok(());
    }
    let name = n.input.get(1).map_or("", String::as_str);
    let scales = constants.get(name).map_err(malformed)?;
    let exact = match scales.as_ref().map(|s| &s.values) {
        // A power of two has no bit set in its fraction.
        Some(Values::F32(v)) => v.iter().all(|s| s.is_normal() && s.to_bits() << 9 == 0),
        _ => false,
    };
    if exact {
        Ok(())
    } else {
        Err(at(
            n,
            "opset 10 with mode \"nearest\" is right only for constant scales that are powers of two",
        ))
    }
}

/// Positions are cut to 32 bits, except those that stand for "the end".
fn slice(n: &NodeProto, constants: &Constants) -> Result<()> {
    let wrong = |v: &i64| (1 << 31..1 << 62).contains(&v.unsigned_abs());
    let refuse = |v: &i64| Err(at(n, &format!("position {v} is beyond 32 bits")));
    for name in ["starts", "ends"] {
        let listed = n.ints(name).map_err(malformed)?.unwrap_or_default();
        if let Some(v) = listed.iter().find(|v| wrong(v)) {
            return refuse(v);
        }
    }
    for name in n.input.iter().skip(1).take(2) {
        let constant = constants.get(name).map_err(malformed)?;
        if let Some(Values::I64(v)) = constant.map(|c| c.values)
            && let Some(v) = v.iter().find(|v| wrong(v))
        {
            return refuse(v);
        }
    }
    Ok(())
}

/// A model that contradicts the standard.
pub fn malformed(e: OnnxError) -> Error {
    Error::invalid_input(format!("the slice's ONNX file is not valid: {e}"))
        .with_hint("slice the model again")
}

/// A refusal of this node.
pub fn at(n: &NodeProto, reason: &str) -> Error {
    Error::unsupported(format!("{} \"{}\": {reason}", n.op_type(), n.label()))
        .at_node(n.label(), n.op_type())
}

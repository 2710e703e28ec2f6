//! Rewrites, before cutting, what shape inference or the engine can't do or does wrongly.
//!
//! Whatever backends can do on their own is left alone: they rewrite for themselves what
//! they lack. The rules are those of [`dsperse_rewrite`].

use crate::facts::Facts;
use dsperse_documents::Rewrite;
use dsperse_onnx::{DataType, GraphProto, ModelProto, ValueInfoProto};
use dsperse_rewrite::{Known, Site, TensorType, rewrite_with};
use std::collections::HashMap;

/// Rewrites the model's main graph; `facts` is what is known of its tensors. Returns what
/// was done; empty when nothing changed.
pub(crate) fn rewrite(model: &mut ModelProto, facts: &Facts) -> Vec<Rewrite> {
    let known = Known {
        types: facts
            .iter()
            .filter_map(|(name, fact)| {
                let (dtype, shape) = fact.known()?;
                let shape = shape
                    .iter()
                    .map(|d| usize::try_from(*d).ok())
                    .collect::<Option<_>>()?;
                Some((name.clone(), TensorType { dtype, shape }))
            })
            .collect(),
        values: facts
            .iter()
            .filter_map(|(name, fact)| Some((name.clone(), fact.value.clone()?)))
            .collect(),
    };
    let Ok(outcome) = rewrite_with(model, &known, &in_good_hands) else {
        return Vec::new();
    };
    for d in &outcome.declined {
        tracing::debug!("{} ({}) is not rewritten: {}", d.node, d.operator, d.reason);
    }
    outcome
        .applied
        .into_iter()
        .map(|a| Rewrite {
            node: a.node,
            operator: a.operator,
            rules: a.rules.into_iter().map(str::to_owned).collect(),
            ..Rewrite::default()
        })
        .collect()
}

/// Whether shape inference and the engine do this node, and do it right.
fn in_good_hands(site: &Site<'_>) -> bool {
    if !site.node().is_standard() {
        // Classical models and ONNX Runtime's own operators: little of them is known to the
        // engine, and nothing to backends.
        return false;
    }
    match site.operator() {
        "Attention" | "RMSNormalization" | "RotaryEmbedding" | "SimplifiedLayerNormalization" => {
            false
        }
        "BatchNormalization" => (1..5).all(|i| site.is_constant(i)),
        "LSTM" | "GRU" | "RNN" => {
            let direction = site.node().string_or("direction", "forward");
            direction.is_ok_and(|d| d != "reverse")
        }
        // A repeated tensor keeps symbols in its shape, which a product then refuses.
        "Tile" => !site.is_constant(1),
        _ => true,
    }
}

/// Outputs that are no tensors of numbers can't be carried: in place of a `ZipMap`'s map its
/// matrix becomes the output, and others (sequences, maps, names of classes) go, as long as
/// one is left. Returns a sentence for each.
pub(crate) fn drop_maps(graph: &mut GraphProto) -> Vec<String> {
    let zipped: HashMap<String, String> = graph
        .node
        .iter()
        .filter(|n| n.op_type() == "ZipMap" && n.domain() == dsperse_rewrite::rule::ML)
        .filter_map(|n| Some((n.output.first()?.clone(), n.input.first()?.clone())))
        .collect();
    let mut notes = Vec::new();
    let mut kept: Vec<ValueInfoProto> = Vec::new();
    let outputs = std::mem::take(&mut graph.output);
    let tensors = outputs
        .iter()
        .filter(|o| carried(o) || zipped.contains_key(o.name()))
        .count();
    for output in outputs {
        match zipped.get(output.name()) {
            Some(matrix) if !output.is_tensor() => {
                notes.push(format!(
                    "output \"{}\" is a map of each class to its score; \"{matrix}\", the matrix \
                     of scores, takes its place",
                    output.name()
                ));
                if kept.iter().all(|k| k.name() != matrix) {
                    kept.push(ValueInfoProto::tensor(matrix, DataType::Undefined, &[]));
                    if let Some(info) = kept.last_mut() {
                        info.r#type = None;
                    }
                }
            }
            _ if carried(&output) || tensors == 0 => kept.push(output),
            _ => notes.push(format!(
                "output \"{}\" is {} and is left out",
                output.name(),
                if output.is_tensor() {
                    "of strings"
                } else {
                    "a sequence or a map"
                }
            )),
        }
    }
    graph.output = kept;
    notes
}

/// Whether an output is a tensor of numbers, or of a type that the file does not say.
fn carried(output: &ValueInfoProto) -> bool {
    output.is_tensor() && output.dtype() != DataType::String
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_onnx::{NodeProto, TypeProto, type_proto};

    fn map(name: &str) -> ValueInfoProto {
        ValueInfoProto {
            name: Some(name.into()),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::SequenceType(Box::default())),
                denotation: None,
            }),
            ..ValueInfoProto::default()
        }
    }

    #[test]
    fn a_map_of_classes_gives_way_to_its_matrix() {
        let mut zip = NodeProto::new("ZipMap", &["scores"], &["probs"]);
        zip.domain = Some("ai.onnx.ml".into());
        let mut g = GraphProto {
            node: vec![zip],
            output: vec![
                ValueInfoProto::concrete("label", DataType::I64, &[1]),
                map("probs"),
                map("other"),
            ],
            ..GraphProto::default()
        };
        let notes = drop_maps(&mut g);
        let names: Vec<&str> = g.output.iter().map(|o| o.name()).collect();
        assert_eq!(names, ["label", "scores"]);
        assert!(notes[0].contains("\"scores\"") && notes[1].contains("\"other\""));
    }

    #[test]
    fn names_of_classes_are_left_out() {
        let mut g = GraphProto {
            output: vec![
                ValueInfoProto::concrete("name", DataType::String, &[1]),
                ValueInfoProto::concrete("score", DataType::F32, &[1, 3]),
            ],
            ..GraphProto::default()
        };
        let notes = drop_maps(&mut g);
        assert_eq!(g.output.len(), 1);
        assert!(notes[0].contains("\"name\" is of strings"));
    }

    #[test]
    fn the_only_output_stays_so_that_the_error_names_it() {
        let mut g = GraphProto {
            output: vec![map("only")],
            ..GraphProto::default()
        };
        assert!(drop_maps(&mut g).is_empty());
        assert_eq!(g.output.len(), 1);
    }
}

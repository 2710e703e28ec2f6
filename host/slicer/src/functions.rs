//! Replaces calls of the model's own functions by their bodies.
//!
//! Exporters write layers as functions. Their inside is invisible to shape inference and to
//! most backends, and weights inside would not be found, so calls are expanded. A function
//! that was written for another version of an operator set than the model stays a call.

use crate::error::{Result, SliceError};
use crate::graph;
use dsperse_onnx::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};
use std::collections::{HashMap, HashSet};

/// Expansions until a model counts as calling itself for ever.
const MAX_NODES: usize = 1_000_000;
/// Nesting until a function counts as calling itself.
const MAX_DEPTH: usize = 64;

/// Expands all calls in the main graph that can be expanded.
pub(crate) fn inline(model: &mut ModelProto) -> Result<()> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let Some(mut graph) = model.graph.take() else {
        return Ok(());
    };
    let mut taken = graph::all_names(&graph);
    for depth in 0.. {
        let mut nodes = Vec::with_capacity(graph.node.len());
        let mut expanded = false;
        for node in std::mem::take(&mut graph.node) {
            match called(model, &node) {
                Some(f) => {
                    nodes.extend(expand(f, &node, &mut taken));
                    expanded = true;
                }
                None => nodes.push(node),
            }
        }
        graph.node = nodes;
        if !expanded {
            break;
        }
        if depth > MAX_DEPTH || graph.node.len() > MAX_NODES {
            return Err(SliceError::Graph(
                "a function of the model calls itself".into(),
            ));
        }
        // Operators of the bodies may need operator sets that only the function imports.
        add_imports(model, &graph);
    }
    model.graph = Some(graph);
    Ok(())
}

/// The function that a node calls, when it can be expanded.
fn called<'a>(model: &'a ModelProto, node: &NodeProto) -> Option<&'a FunctionProto> {
    let f = model.functions.iter().find(|f| {
        f.name() == node.op_type() && f.domain() == node.domain() && f.overload() == node.overload()
    })?;
    let same_versions = f.opset_import.iter().all(|o| {
        model
            .opset(o.domain())
            .is_none_or(|version| version == o.version())
    });
    (same_versions && node.input.len() <= f.input.len() && node.output.len() <= f.output.len())
        .then_some(f)
}

fn add_imports(model: &mut ModelProto, graph: &GraphProto) {
    let used: HashSet<&str> = graph.node.iter().map(|n| n.domain()).collect();
    let missing: Vec<_> = model
        .functions
        .iter()
        .flat_map(|f| &f.opset_import)
        .filter(|o| used.contains(o.domain()))
        .cloned()
        .collect();
    for o in missing {
        if model.opset(o.domain()).is_none() {
            model.opset_import.push(o);
        }
    }
}

fn expand(f: &FunctionProto, call: &NodeProto, taken: &mut HashSet<String>) -> Vec<NodeProto> {
    let mut names: HashMap<String, String> = HashMap::new();
    for (i, formal) in f.input.iter().enumerate() {
        let actual = call.input.get(i).cloned().unwrap_or_default();
        names.insert(formal.clone(), actual);
    }
    let mut passed = Vec::new();
    for (formal, actual) in f.output.iter().zip(&call.output) {
        if actual.is_empty() {
            continue;
        }
        match names.get(formal) {
            // An input that is handed out, or a result that is handed out twice.
            Some(inner) => passed.push(NodeProto::new("Identity", &[inner], &[actual])),
            None => {
                names.insert(formal.clone(), actual.clone());
            }
        }
    }
    for own in f.node.iter().flat_map(|n| &n.output) {
        if own.is_empty() || names.contains_key(own) {
            continue;
        }
        let wanted = format!("{}/{own}", call.label());
        let mut name = wanted.clone();
        let mut k = 1;
        while !taken.insert(name.clone()) {
            k += 1;
            name = format!("{wanted}__{k}");
        }
        names.insert(own.clone(), name);
    }
    let mut nodes = f.node.clone();
    for n in &mut nodes {
        n.name = Some(match n.name() {
            "" => String::new(),
            name => format!("{}/{name}", call.label()),
        });
        bind(n, f, call);
    }
    graph::rename(&mut nodes, &names);
    nodes.extend(passed);
    nodes
}

/// Puts the call's attributes in the places of references, also in sub-graphs.
fn bind(n: &mut NodeProto, f: &FunctionProto, call: &NodeProto) {
    n.attribute.retain_mut(|a| {
        if !a.ref_attr_name().is_empty() {
            let given = call.attr(a.ref_attr_name()).or_else(|| {
                f.attribute_proto
                    .iter()
                    .find(|d| d.name() == a.ref_attr_name())
            });
            let Some(given) = given else {
                return false;
            };
            *a = AttributeProto {
                name: a.name.clone(),
                ..given.clone()
            };
        }
        for g in a.g.as_deref_mut().into_iter().chain(&mut a.graphs) {
            for n in &mut g.node {
                bind(n, f, call);
            }
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_onnx::{AttributeType, DataType, OperatorSetIdProto, ValueInfoProto};

    fn model(version: i64) -> ModelProto {
        let axis = AttributeProto {
            name: Some("axis".into()),
            ref_attr_name: Some("where".into()),
            r#type: Some(AttributeType::Int as i32),
            ..AttributeProto::default()
        };
        let f = FunctionProto {
            name: Some("F".into()),
            domain: Some("own".into()),
            input: vec!["a".into()],
            output: vec!["r".into()],
            attribute: vec!["where".into()],
            node: vec![
                NodeProto::new("Softmax", &["a"], &["t"]).with(axis),
                NodeProto::new("Neg", &["t"], &["r"]),
            ],
            opset_import: vec![OperatorSetIdProto {
                domain: None,
                version: Some(version),
            }],
            ..FunctionProto::default()
        };
        let call = |i: &str, o: &str, axis: i64| {
            let mut n = NodeProto::new("F", &[i], &[o])
                .named("call")
                .with(AttributeProto::from_int("where", axis));
            n.domain = Some("own".into());
            n
        };
        let graph = GraphProto {
            node: vec![call("x", "y", 1), call("y", "z", 0)],
            input: vec![ValueInfoProto::concrete("x", DataType::F32, &[2, 2])],
            output: vec![ValueInfoProto::concrete("z", DataType::F32, &[2, 2])],
            ..GraphProto::default()
        };
        ModelProto {
            functions: vec![f],
            ..ModelProto::from_graph(graph, 17)
        }
    }

    #[test]
    fn calls_become_bodies_with_their_own_names_and_attributes() {
        let mut m = model(17);
        inline(&mut m).unwrap();
        let g = m.graph.unwrap();
        let written: Vec<&str> = g.node.iter().map(|n| n.output[0].as_str()).collect();
        assert_eq!(written, ["call/t", "y", "call/t__2", "z"]);
        assert_eq!(g.node[0].int("axis"), Ok(Some(1)));
        assert_eq!(g.node[2].int("axis"), Ok(Some(0)));
        assert_eq!(g.node[3].input, ["call/t__2"]);
    }

    #[test]
    fn another_operator_set_version_stays_a_call() {
        let mut m = model(12);
        inline(&mut m).unwrap();
        assert_eq!(m.graph.unwrap().node.len(), 2);
    }

    #[test]
    fn endless_calls_are_an_error() {
        let mut m = model(17);
        let again = m.graph.as_ref().unwrap().node[0].clone();
        m.functions[0].node[1] = NodeProto {
            input: vec!["t".into()],
            output: vec!["r".into()],
            ..again
        };
        assert!(
            inline(&mut m)
                .unwrap_err()
                .to_string()
                .contains("calls itself")
        );
    }
}

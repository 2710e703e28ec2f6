//! Facts of the model.

use super::Fact;
use crate::subject::Subject;
use crate::text;
use serde::Serialize;

/// A tensor that crosses a boundary.
#[derive(Debug, Clone, Serialize)]
pub struct TensorRow {
    /// Name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Shape.
    pub shape: String,
    /// Producer; `None` for a model input.
    pub from: Option<usize>,
    /// Consumers.
    pub to: Vec<usize>,
    /// Whether it is a model output.
    pub output: bool,
}

/// Facts of the model and of the run.
#[must_use]
pub fn facts(subject: &Subject) -> Vec<Fact> {
    let m = &subject.model;
    let mut facts = vec![
        Fact::new(
            "ONNX file",
            format!("{}, {}", m.model.name, text::bytes(m.model.size)),
        ),
        Fact::code("SHA-256 of the file", &m.model.sha256),
        Fact::code("Model identity", &m.identity),
        Fact::new("Nodes", text::grouped(m.nodes)),
        Fact::new("Parameters", text::grouped(m.parameters)),
        Fact::new("Multiply-accumulates", text::grouped(m.macs)),
        Fact::new(
            "Cut",
            format!(
                "strategy {}, {}",
                m.strategy.name,
                text::plural(m.slices.len(), "slice")
            ),
        ),
    ];
    let opsets: Vec<String> = m
        .opset_imports
        .iter()
        .map(|(domain, version)| {
            if domain.is_empty() {
                version.to_string()
            } else {
                format!("{domain} {version}")
            }
        })
        .collect();
    facts.push(Fact::new("Opset", opsets.join(", ")));
    if !m.model.external_data.is_empty() {
        let size = m.model.external_data.iter().map(|e| e.size).sum();
        facts.push(Fact::new(
            "External data",
            format!(
                "{}, {}",
                text::plural(m.model.external_data.len(), "file"),
                text::bytes(size)
            ),
        ));
    }
    if !m.rewritten.is_empty() {
        facts.push(Fact::new(
            "Rewritten before cutting",
            text::plural(m.rewritten.len(), "node"),
        ));
    }
    facts.push(Fact::new(
        "Sliced by",
        format!("dsperse {}", m.tool_version),
    ));
    if let Some(run) = &subject.run {
        facts.push(Fact::new("Run started", &run.started));
        facts.push(Fact::new("Run by", format!("dsperse {}", run.tool_version)));
        if !run.engine.name.is_empty() {
            facts.push(Fact::new(
                "Engine of the run",
                format!(
                    "{} {} on {}",
                    run.engine.name, run.engine.version, run.engine.instruction_set
                ),
            ));
        }
    }
    facts
}

/// Tensors that enter, leave or cross a boundary.
#[must_use]
pub fn tensors(subject: &Subject) -> Vec<TensorRow> {
    let m = &subject.model;
    m.edges
        .iter()
        .map(|e| {
            let made = m.slices.iter().flat_map(|s| &s.outputs);
            let info = m.inputs.iter().chain(made).find(|t| t.name == e.tensor);
            TensorRow {
                name: e.tensor.clone(),
                dtype: info.map_or_else(String::new, |t| t.encoding.name().to_owned()),
                shape: info.map_or_else(String::new, |t| text::shape(&t.shape)),
                from: e.producer,
                to: e.consumers.clone(),
                output: e.model_output,
            }
        })
        .collect()
}

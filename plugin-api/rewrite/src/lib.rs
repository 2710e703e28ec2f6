//! Rewrites ONNX operators by simpler ones, for whoever lacks the operator.
//!
//! A consumer (a proof system, an engine) says with a predicate which nodes it can do;
//! [`rewrite`] replaces the others where a rule, or a chain of rules, ends in nodes that it
//! can do. Nothing changes otherwise: a node that would only become other nodes that the
//! consumer lacks stays as it is, and [`Outcome::declined`] says why.
//!
//! ```
//! use dsperse_onnx::{DataType, GraphProto, ModelProto, NodeProto, ValueInfoProto};
//!
//! let graph = GraphProto {
//!     node: vec![NodeProto::new("Softsign", &["x"], &["y"])],
//!     input: vec![ValueInfoProto::concrete("x", DataType::F32, &[2, 3])],
//!     output: vec![ValueInfoProto::concrete("y", DataType::F32, &[2, 3])],
//!     ..GraphProto::default()
//! };
//! let mut model = ModelProto::from_graph(graph, 17);
//! let native = |site: &dsperse_rewrite::Site<'_>| matches!(site.operator(), "Abs" | "Add" | "Div");
//! let outcome = dsperse_rewrite::rewrite(&mut model, &native)?;
//! assert_eq!(outcome.applied[0].rules, ["softsign"]);
//! let made: Vec<&str> = model.main_graph()?.node.iter().map(|n| n.op_type()).collect();
//! assert_eq!(made, ["Abs", "Add", "Div"]);
//! # Ok::<(), dsperse_onnx::OnnxError>(())
//! ```
//!
//! - `rules`: one rule a file, each with its equation or the standard's words;
//! - [`rule`]: what a rule is and what it sees of a node;
//! - `builder`: what rules make nodes with;
//! - `shapes`, `constants`: types of results, and values of what depends on constants only.
//!
//! All shapes must be static. Only the main graph is rewritten, not the bodies of `If`,
//! `Loop` and `Scan`.

mod builder;
pub mod constants;
mod context;
mod driver;
pub mod operand;
pub mod rule;
mod rules;
mod samples;
mod shapes;

pub use driver::{Applied, Declined, Known, Outcome, rewrite, rewrite_with};
pub use operand::TensorType;
pub use rule::{Rule, Site};
pub use rules::RULES;
pub use samples::{Gained, gained};

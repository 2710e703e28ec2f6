//! The full ONNX schema as prost types, and helpers that read and edit models.
//!
//! Start with [`ModelProto::parse`], go through `model.main_graph()?.node`, read attributes
//! with the typed getters of [`NodeProto`] (`node.int_or("axis", -1)?`), look up fixed values
//! with [`Constants`], and weights with [`Tensor::read`]. Everything here is safe on hostile
//! bytes: wrong models are errors, never panics.
//!
//! - [`schema`]: the messages, re-exported at the crate's root;
//! - [`dtype`]: element types;
//! - [`tensor`]: elements of tensors, all storage forms;
//! - [`attributes`]: getters and constructors of attributes;
//! - [`model`]: look-ups and walks over models, graphs and nodes;
//! - [`external`]: weights in files beside the model.

pub mod attributes;
pub mod dtype;
pub mod error;
pub mod external;
pub mod model;
pub mod schema;
pub mod tensor;

pub use dtype::DataType;
pub use error::{OnnxError, Result};
pub use model::{Constants, Dim};
pub use schema::*;
pub use tensor::{Tensor, Values};

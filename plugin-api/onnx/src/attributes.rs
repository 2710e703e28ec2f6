//! Attributes of nodes: typed getters that name the node when the kind is wrong, and
//! constructors.

use crate::{AttributeProto, AttributeType, GraphProto, NodeProto, OnnxError, Result, TensorProto};
use bytes::Bytes;

impl AttributeProto {
    /// Kind of the attribute. Files before IR version 2 do not say it: then it is what
    /// the filled field tells.
    #[must_use]
    pub fn kind(&self) -> AttributeType {
        if let Some(t) = self.r#type
            && let Ok(t) = AttributeType::try_from(t)
            && t != AttributeType::Undefined
        {
            return t;
        }
        if self.f.is_some() {
            AttributeType::Float
        } else if self.i.is_some() {
            AttributeType::Int
        } else if self.s.is_some() {
            AttributeType::String
        } else if self.t.is_some() {
            AttributeType::Tensor
        } else if self.g.is_some() {
            AttributeType::Graph
        } else if !self.floats.is_empty() {
            AttributeType::Floats
        } else if !self.ints.is_empty() {
            AttributeType::Ints
        } else if !self.strings.is_empty() {
            AttributeType::Strings
        } else if !self.tensors.is_empty() {
            AttributeType::Tensors
        } else if !self.graphs.is_empty() {
            AttributeType::Graphs
        } else if self.sparse_tensor.is_some() {
            AttributeType::SparseTensor
        } else if !self.sparse_tensors.is_empty() {
            AttributeType::SparseTensors
        } else if self.tp.is_some() {
            AttributeType::TypeProto
        } else if !self.type_protos.is_empty() {
            AttributeType::TypeProtos
        } else {
            AttributeType::Undefined
        }
    }

    /// The graphs that the attribute holds.
    pub fn all_graphs(&self) -> impl Iterator<Item = &GraphProto> {
        self.g.as_deref().into_iter().chain(&self.graphs)
    }

    fn new(name: &str, kind: AttributeType) -> Self {
        Self {
            name: Some(name.to_owned()),
            r#type: Some(kind as i32),
            ..Self::default()
        }
    }
    /// Makes an integer attribute.
    #[must_use]
    pub fn from_int(name: &str, value: i64) -> Self {
        Self {
            i: Some(value),
            ..Self::new(name, AttributeType::Int)
        }
    }
    /// Makes a list of integers.
    #[must_use]
    pub fn from_ints(name: &str, values: &[i64]) -> Self {
        Self {
            ints: values.to_vec(),
            ..Self::new(name, AttributeType::Ints)
        }
    }
    /// Makes a float attribute.
    #[must_use]
    pub fn from_float(name: &str, value: f32) -> Self {
        Self {
            f: Some(value),
            ..Self::new(name, AttributeType::Float)
        }
    }
    /// Makes a list of floats.
    #[must_use]
    pub fn from_floats(name: &str, values: &[f32]) -> Self {
        Self {
            floats: values.to_vec(),
            ..Self::new(name, AttributeType::Floats)
        }
    }
    /// Makes a string attribute.
    #[must_use]
    pub fn from_string(name: &str, value: &str) -> Self {
        Self {
            s: Some(Bytes::copy_from_slice(value.as_bytes())),
            ..Self::new(name, AttributeType::String)
        }
    }
    /// Makes a tensor attribute.
    #[must_use]
    pub fn from_tensor(name: &str, value: TensorProto) -> Self {
        Self {
            t: Some(value),
            ..Self::new(name, AttributeType::Tensor)
        }
    }
    /// Makes a graph attribute.
    #[must_use]
    pub fn from_graph(name: &str, value: GraphProto) -> Self {
        Self {
            g: Some(Box::new(value)),
            ..Self::new(name, AttributeType::Graph)
        }
    }
}

impl NodeProto {
    /// The attribute of this name, if the node has it.
    #[must_use]
    pub fn attr(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|a| a.name() == name)
    }

    fn typed<'a, T>(
        &'a self,
        name: &str,
        kind: AttributeType,
        expected: &'static str,
        get: impl FnOnce(&'a AttributeProto) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(attr) = self.attr(name) else {
            return Ok(None);
        };
        let found = attr.kind();
        // An empty list in a file without kinds looks like nothing at all.
        let fits =
            found == kind || (found == AttributeType::Undefined && attr.ref_attr_name().is_empty());
        match get(attr).filter(|_| fits) {
            Some(v) => Ok(Some(v)),
            None => Err(OnnxError::Attribute {
                node: self.label(),
                attribute: name.to_owned(),
                expected,
                found: if attr.ref_attr_name().is_empty() {
                    format!("{found:?}").to_lowercase()
                } else {
                    format!("a reference to \"{}\"", attr.ref_attr_name())
                },
            }),
        }
    }

    /// An integer attribute.
    ///
    /// # Errors
    /// [`OnnxError::Attribute`] when it is of another kind; so for all getters here.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        self.typed(name, AttributeType::Int, "an integer", |a| a.i)
    }
    /// An integer attribute with a default.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.int(name)?.unwrap_or(default))
    }
    /// A float attribute.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn float(&self, name: &str) -> Result<Option<f32>> {
        self.typed(name, AttributeType::Float, "a float", |a| a.f)
    }
    /// A float attribute with a default.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn float_or(&self, name: &str, default: f32) -> Result<f32> {
        Ok(self.float(name)?.unwrap_or(default))
    }
    /// A list of integers.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn ints(&self, name: &str) -> Result<Option<&[i64]>> {
        self.typed(name, AttributeType::Ints, "integers", |a| {
            Some(a.ints.as_slice())
        })
    }
    /// A list of floats.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn floats(&self, name: &str) -> Result<Option<&[f32]>> {
        self.typed(name, AttributeType::Floats, "floats", |a| {
            Some(a.floats.as_slice())
        })
    }
    /// A string attribute (UTF-8).
    ///
    /// # Errors
    /// As [`int`](Self::int); also when the bytes are not UTF-8.
    pub fn string(&self, name: &str) -> Result<Option<&str>> {
        self.typed(name, AttributeType::String, "a string", |a| {
            std::str::from_utf8(a.s.as_deref()?).ok()
        })
    }
    /// A string attribute with a default.
    ///
    /// # Errors
    /// As [`string`](Self::string).
    pub fn string_or<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str> {
        Ok(self.string(name)?.unwrap_or(default))
    }
    /// A list of strings (UTF-8).
    ///
    /// # Errors
    /// As [`string`](Self::string).
    pub fn strings(&self, name: &str) -> Result<Option<Vec<&str>>> {
        self.typed(name, AttributeType::Strings, "strings", |a| {
            a.strings
                .iter()
                .map(|s| std::str::from_utf8(s).ok())
                .collect()
        })
    }
    /// A tensor attribute.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn tensor(&self, name: &str) -> Result<Option<&TensorProto>> {
        self.typed(name, AttributeType::Tensor, "a tensor", |a| a.t.as_ref())
    }
    /// A graph attribute.
    ///
    /// # Errors
    /// As [`int`](Self::int).
    pub fn graph(&self, name: &str) -> Result<Option<&GraphProto>> {
        self.typed(name, AttributeType::Graph, "a graph", |a| a.g.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeProto {
        let mut n = NodeProto::new("Conv", &["x"], &["y"]);
        n.attribute = vec![
            AttributeProto::from_int("group", 2),
            AttributeProto::from_ints("pads", &[1, 2]),
            AttributeProto::from_string("auto_pad", "VALID"),
            AttributeProto::from_float("alpha", 0.5),
        ];
        n
    }

    #[test]
    fn getters_return_values_and_defaults() {
        let n = node();
        assert_eq!(n.int_or("group", 1), Ok(2));
        assert_eq!(n.int_or("axis", 1), Ok(1));
        assert_eq!(n.ints("pads"), Ok(Some([1, 2].as_slice())));
        assert_eq!(n.string("auto_pad"), Ok(Some("VALID")));
        assert_eq!(n.float("alpha"), Ok(Some(0.5)));
        assert_eq!(n.tensor("value"), Ok(None));
    }

    #[test]
    fn wrong_kind_names_node_and_both_kinds() {
        assert_eq!(
            node().float("group").unwrap_err().to_string(),
            "attribute \"group\" of node \"Conv -> y\": expected a float, found int"
        );
    }

    #[test]
    fn old_files_without_kinds_are_read() {
        let mut n = node();
        for a in &mut n.attribute {
            a.r#type = None;
        }
        assert_eq!(n.int_or("group", 1), Ok(2));
        assert_eq!(n.ints("pads"), Ok(Some([1, 2].as_slice())));
        assert!(n.ints("group").is_err());
    }

    #[test]
    fn references_of_functions_are_not_values() {
        let mut n = node();
        n.attribute = vec![AttributeProto {
            name: Some("axis".into()),
            ref_attr_name: Some("outer".into()),
            r#type: Some(AttributeType::Int as i32),
            ..AttributeProto::default()
        }];
        assert!(
            n.int("axis")
                .unwrap_err()
                .to_string()
                .ends_with("found a reference to \"outer\"")
        );
    }
}

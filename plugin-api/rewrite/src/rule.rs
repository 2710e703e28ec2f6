//! What a rule is, and what it sees of a node.

use crate::builder::Builder;
use crate::operand::{Operand, TensorType, position};
use dsperse_onnx::{NodeProto, OnnxError};

/// Why a rule does not apply to a node: the end of a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decline(pub String);

impl Decline {
    pub(crate) fn because<T>(reason: impl Into<String>) -> Done<T> {
        Err(Self(reason.into()))
    }
}

impl From<OnnxError> for Decline {
    fn from(e: OnnxError) -> Self {
        Self(e.to_string())
    }
}

/// Result of a step of a rule.
pub(crate) type Done<T = Vec<Operand>> = std::result::Result<T, Decline>;

/// One rewriting rule. What it makes may contain operators that the consumer lacks as well;
/// then other rules are applied to these.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Name for records (`celu`); unique, and it never changes its meaning.
    pub name: &'static str,
    /// Domain of the operator; empty for the standard's own.
    pub domain: &'static str,
    /// The operator.
    pub operator: &'static str,
    /// Makes the nodes and returns what takes the place of the node's outputs, in order.
    /// Outputs beyond those returned must be unused.
    pub(crate) apply: fn(&mut Builder<'_>, &Site<'_>) -> Done,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rule({})", self.name)
    }
}

/// Domain of classical machine learning.
pub const ML: &str = "ai.onnx.ml";
/// Domain of ONNX Runtime's own operators.
pub const MICROSOFT: &str = "com.microsoft";

impl Rule {
    /// A rule for a standard operator.
    pub(crate) const fn new(
        name: &'static str,
        operator: &'static str,
        apply: fn(&mut Builder<'_>, &Site<'_>) -> Done,
    ) -> Self {
        Self::of("", name, operator, apply)
    }

    /// A rule for an operator of another domain.
    pub(crate) const fn of(
        domain: &'static str,
        name: &'static str,
        operator: &'static str,
        apply: fn(&mut Builder<'_>, &Site<'_>) -> Done,
    ) -> Self {
        Self {
            name,
            domain,
            operator,
            apply,
        }
    }
}

/// A node in its place: with the version of its operator set and the types of its inputs.
#[derive(Debug)]
pub struct Site<'a> {
    pub(crate) node: &'a NodeProto,
    pub(crate) version: i64,
    pub(crate) types: Vec<Option<TensorType>>,
    pub(crate) constant: Vec<bool>,
    /// Which outputs are read by someone.
    pub(crate) used: Vec<bool>,
}

impl<'a> Site<'a> {
    /// The node.
    #[must_use]
    pub fn node(&self) -> &'a NodeProto {
        self.node
    }

    /// The operator.
    #[must_use]
    pub fn operator(&self) -> &'a str {
        self.node.op_type()
    }

    /// Version of the operator set that the node belongs to (0 when the model names none).
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Whether the node's `i`-th input is given.
    #[must_use]
    pub fn has(&self, i: usize) -> bool {
        self.node.input.get(i).is_some_and(|n| !n.is_empty())
    }

    /// Whether the node's `i`-th input is given and fixed in the file.
    #[must_use]
    pub fn is_constant(&self, i: usize) -> bool {
        self.constant.get(i).copied().unwrap_or(false)
    }

    /// Type and shape of the node's `i`-th input, when it is given and known.
    #[must_use]
    pub fn input_type(&self, i: usize) -> Option<&TensorType> {
        self.types.get(i)?.as_ref()
    }

    /// Whether the node's `i`-th output is read by another node or is an output of the graph.
    #[must_use]
    pub fn output_is_used(&self, i: usize) -> bool {
        self.used.get(i).copied().unwrap_or(false)
    }

    /// The node's `i`-th input.
    pub(crate) fn input(&self, i: usize) -> Done<Operand> {
        match self.optional(i)? {
            Some(x) => Ok(x),
            None => Decline::because(format!("its input {i} is missing")),
        }
    }

    /// The node's `i`-th input, when it is given.
    pub(crate) fn optional(&self, i: usize) -> Done<Option<Operand>> {
        let Some(name) = self.node.input.get(i).filter(|n| !n.is_empty()) else {
            return Ok(None);
        };
        let Some(t) = self.input_type(i) else {
            return Decline::because(format!("type and shape of \"{name}\" are not known"));
        };
        match t.elements() {
            Some(n) if n > 0 => Ok(Some(Operand {
                name: name.clone(),
                dtype: t.dtype,
                shape: t.shape.clone(),
            })),
            Some(_) => Decline::because(format!("\"{name}\" has no elements")),
            None => Decline::because(format!("\"{name}\" is too large")),
        }
    }

    /// The node's `i`-th input as constant integers, when it is given.
    pub(crate) fn optional_list(&self, b: &Builder<'_>, i: usize) -> Done<Option<Vec<i64>>> {
        if !self.has(i) {
            return Ok(None);
        }
        // Without `optional`, which refuses the empty lists that are legal here.
        let name = &self.node.input[i];
        match b.list(name) {
            Some(v) => Ok(Some(v)),
            None => Decline::because(format!("its input \"{name}\" is not constant")),
        }
    }

    /// All inputs; none may be left out.
    pub(crate) fn inputs(&self) -> Done<Vec<Operand>> {
        (0..self.node.input.len()).map(|i| self.input(i)).collect()
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> Done<i64> {
        Ok(self.node.int_or(name, default)?)
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Done<bool> {
        Ok(self.node.int_or(name, i64::from(default))? != 0)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> Done<f64> {
        Ok(f64::from(self.node.float_or(name, default)?))
    }

    pub(crate) fn text(&self, name: &str, default: &'a str) -> Done<&'a str> {
        Ok(self.node.string_or(name, default)?)
    }

    pub(crate) fn floats(&self, name: &str) -> Done<&'a [f32]> {
        Ok(self.node.floats(name)?.unwrap_or_default())
    }

    pub(crate) fn ints(&self, name: &str) -> Done<Option<&'a [i64]>> {
        Ok(self.node.ints(name)?)
    }
}

/// An axis of a tensor of this rank.
pub(crate) fn axis(axis: i64, rank: usize) -> Done<usize> {
    position(axis, rank)
        .ok_or_else(|| Decline(format!("its axis {axis} is out of range for {rank} axes")))
}

/// Several axes, sorted and each once.
pub(crate) fn axes(list: &[i64], rank: usize) -> Done<Vec<usize>> {
    let mut out = list
        .iter()
        .map(|a| axis(*a, rank))
        .collect::<Done<Vec<_>>>()?;
    out.sort_unstable();
    let n = out.len();
    out.dedup();
    if out.len() == n {
        Ok(out)
    } else {
        Decline::because("an axis is named twice")
    }
}

//! Comparisons, logic, choices, and what is made of them. Booleans are 0 and 1.

use super::{Importer, Kind, Step};
use crate::array::Array;
use crate::graph::{Id, Op};
use dsperse_onnx::{DataType, NodeProto};

impl Importer<'_> {
    /// `[a > b]` and its siblings, by the sign of the difference.
    pub(super) fn compare(&mut self, node: &NodeProto) -> Step<Id> {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        let (more, strict) = match node.op_type() {
            "Greater" => (true, true),
            "Less" => (false, true),
            "GreaterOrEqual" => (true, false),
            "LessOrEqual" => (false, false),
            _ => return self.equal(a, b),
        };
        let sign = if more { 1.0 } else { -1.0 };
        let difference = self.sum_of(a, sign, b, -sign)?;
        self.step(difference, strict)
    }

    fn step(&mut self, input: Id, strict: bool) -> Step<Id> {
        self.graph.add(Op::Step { input, strict })
    }

    /// `1 - [a > b] - [a < b]`.
    pub(super) fn equal(&mut self, a: Id, b: Id) -> Step<Id> {
        let difference = self.sum_of(a, 1.0, b, -1.0)?;
        let more = self.step(difference, true)?;
        let negative = self.affine(&[(difference, -1.0)], 0.0)?;
        let less = self.step(negative, true)?;
        self.affine(&[(more, -1.0), (less, -1.0)], 1.0)
    }

    pub(super) fn logic(&mut self, node: &NodeProto) -> Step<Id> {
        let a = self.input(node, 0)?;
        if node.op_type() == "Not" {
            return self.affine(&[(a, -1.0)], 1.0);
        }
        let b = self.input(node, 1)?;
        let both = self.product(a, b)?;
        if node.op_type() == "And" {
            return Ok(both);
        }
        let either = self.sum_of(a, 1.0, b, 1.0)?;
        let twice = if node.op_type() == "Xor" { -2.0 } else { -1.0 };
        self.sum_of(either, 1.0, both, twice)
    }

    /// `|x| = max(x, -x)`, `sign(x) = [x > 0] - [-x > 0]`, `⌈x⌉ = -⌊-x⌋`.
    pub(super) fn rounded(&mut self, node: &NodeProto) -> Step<Id> {
        let x = self.input(node, 0)?;
        if node.op_type() == "Floor" {
            return self.floor(x);
        }
        let negative = self.affine(&[(x, -1.0)], 0.0)?;
        match node.op_type() {
            "Abs" => self.graph.add(Op::Max {
                inputs: vec![x, negative],
            }),
            "Sign" => {
                let (more, less) = (self.step(x, true)?, self.step(negative, true)?);
                self.affine(&[(more, 1.0), (less, -1.0)], 0.0)
            }
            _ => {
                let floor = self.floor(negative)?;
                self.affine(&[(floor, -1.0)], 0.0)
            }
        }
    }

    fn floor(&mut self, input: Id) -> Step<Id> {
        if self.graph.nodes[input].integral {
            return Ok(input);
        }
        self.graph.add(Op::Floor { input })
    }

    /// Max and Min of any number of tensors; a constant that is the same everywhere is a
    /// limit.
    pub(super) fn extremum(&mut self, node: &NodeProto) -> Step<Id> {
        let least = node.op_type() == "Min";
        let mut all = self.input(node, 0)?;
        for i in 1..node.input.len() {
            let next = self.input(node, i)?;
            let shape = self.broadcast_shape(all, next)?;
            let limit = [(all, next), (next, all)].into_iter().find_map(|(x, c)| {
                let value = self.graph.constant(c)?.uniform()?;
                Some((x, value))
            });
            if let Some((x, value)) = limit {
                let input = self.broadcast_to(x, &shape)?;
                let (lo, hi) = if least {
                    (f64::NEG_INFINITY, value)
                } else {
                    (value, f64::INFINITY)
                };
                all = self.graph.add(Op::Clamp { input, lo, hi })?;
                continue;
            }
            let sign = if least { -1.0 } else { 1.0 };
            let inputs = [all, next]
                .into_iter()
                .map(|x| {
                    let x = self.broadcast_to(x, &shape)?;
                    self.affine(&[(x, sign)], 0.0)
                })
                .collect::<Step<Vec<_>>>()?;
            let most = self.graph.add(Op::Max { inputs })?;
            all = self.affine(&[(most, sign)], 0.0)?;
        }
        Ok(all)
    }

    /// `c·x + (1 - c)·y`; with a constant condition each side keeps its own elements only,
    /// whatever the other elements are.
    pub(super) fn choose(&mut self, node: &NodeProto) -> Step<Id> {
        let (c, x, y) = (
            self.input(node, 0)?,
            self.input(node, 1)?,
            self.input(node, 2)?,
        );
        let not = self.affine(&[(c, -1.0)], 1.0)?;
        let (x, y) = (self.chosen(c, x)?, self.chosen(not, y)?);
        self.sum_of(x, 1.0, y, 1.0)
    }

    /// `c·x` for a condition.
    fn chosen(&mut self, c: Id, x: Id) -> Step<Id> {
        let x = self.tamed(x);
        let shape = self.broadcast_shape(c, x)?;
        match self.graph.constant(c).and_then(Array::uniform) {
            Some(0.0) => return Ok(self.graph.constant_node(Array::filled(shape, 0.0))),
            Some(1.0) => return self.broadcast_to(x, &shape),
            _ => {}
        }
        let both = self.graph.constant(c).zip(self.graph.constant(x));
        if let Some((c, x)) = both {
            let kept = c.zip(x, |c, x| if c == 0.0 { 0.0 } else { x });
            let kept = kept.ok_or("its operands do not broadcast")?;
            return Ok(self.graph.constant_node(kept));
        }
        self.product(c, x)
    }

    pub(super) fn cast(&mut self, node: &NodeProto) -> Step<Id> {
        let value = self.value(node, 0)?;
        let to = node.int_or("to", 1).map_err(|e| e.to_string())?;
        let to = DataType::from_number(i32::try_from(to).ok());
        match (value.kind, Kind::of(to)) {
            (_, Kind::Float) | (Kind::Bool, _) | (Kind::Integer, Kind::Integer) => Ok(value.id),
            (_, Kind::Bool) => {
                let zero = self.graph.constant_node(Array::filled(vec![], 0.0));
                let equal = self.equal(value.id, zero)?;
                self.affine(&[(equal, -1.0)], 1.0)
            }
            // Towards zero: ⌊max(x, 0)⌋ - ⌊max(-x, 0)⌋.
            (Kind::Float, Kind::Integer) => {
                if self.graph.nodes[value.id].integral {
                    return Ok(value.id);
                }
                let mut sides = Vec::new();
                for sign in [1.0, -1.0] {
                    let side = self.affine(&[(value.id, sign)], 0.0)?;
                    let side = self.graph.add(Op::Clamp {
                        input: side,
                        lo: 0.0,
                        hi: f64::INFINITY,
                    })?;
                    sides.push((self.floor(side)?, sign));
                }
                self.affine(&sides, 0.0)
            }
        }
    }
}

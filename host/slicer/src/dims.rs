//! Fixing the sizes that a model leaves open.
//!
//! Slices have concrete shapes, so every open size of a model input must become a number.
//! The first axis, and every size whose name speaks of a batch, becomes the batch size;
//! everything else must be given, because guessing the length of a sequence would make a
//! different model.

use crate::error::{Result, SliceError};
use dsperse_documents::setting::{DIM, FIX, INPUT_SHAPE};
use dsperse_onnx::{DataType, Dim, GraphProto, Tensor, ValueInfoProto, Values};
use std::collections::BTreeMap;

/// Most elements of an input that becomes a constant.
const MOST_FIXED: usize = 1 << 20;

/// What the user says of the model before it is cut: open sizes, values, and how big a layer may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DimOptions {
    /// The batch size (`--batch N`); when nobody says, that of the given input, else 1.
    pub batch: Option<u64>,
    /// Sizes by name (`--dim NAME=N`).
    pub dims: BTreeMap<String, u64>,
    /// Whole shapes by input (`--input-shape NAME=N,N,…`).
    pub shapes: BTreeMap<String, Vec<u64>>,
    /// Shapes of an input that the user has: what is left open is taken from them.
    pub given: BTreeMap<String, Vec<u64>>,
    /// Inputs that become constants, every element this number (`--fix NAME=VALUE`).
    pub fixed: BTreeMap<String, String>,
    /// Layers with more weights than this are split (`--split-above N`).
    pub split_above: Option<u64>,
}

/// Inputs with concrete shapes, and what every named size became.
#[derive(Debug, Clone, Default)]
pub(crate) struct FixedDims {
    /// Name, type and shape of each real input, in graph order.
    pub inputs: Vec<(String, DataType, Vec<u64>)>,
    /// Size of each name.
    pub named: BTreeMap<String, u64>,
    /// Sentences about what was decided.
    pub warnings: Vec<String>,
}

impl FixedDims {
    /// The shape of a value as the file describes it, when all its sizes are fixed now.
    pub fn shape_of(&self, info: &ValueInfoProto) -> Option<Vec<u64>> {
        info.dims()?
            .into_iter()
            .map(|d| match d {
                Dim::Known(n) => Some(n),
                Dim::Named(name) => self.named.get(&name).copied(),
                Dim::Open => None,
            })
            .collect()
    }
}

/// Fixes the inputs' shapes.
pub(crate) fn fix(graph: &GraphProto, options: &DimOptions) -> Result<FixedDims> {
    let inputs = graph.real_inputs();
    for name in options.shapes.keys() {
        if !inputs.iter().any(|v| v.name() == name) {
            return Err(SliceError::Dim {
                flag: format!("{INPUT_SHAPE} {name}"),
                reason: format!(
                    "the model has no such input; found: {}",
                    inputs
                        .iter()
                        .map(|v| v.name())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            });
        }
    }
    let mut out = FixedDims {
        named: options.dims.clone(),
        ..FixedDims::default()
    };
    let mut used: Vec<String> = Vec::new();
    // Whole shapes first: they also tell the sizes of names that other inputs share.
    for v in &inputs {
        if let (Some(shape), Some(dims)) = (options.shapes.get(v.name()), v.dims()) {
            check_shape(v.name(), &dims, shape, &mut out.named)?;
        }
    }
    for v in &inputs {
        let dtype = input_type(v)?;
        let shape = match (options.shapes.get(v.name()), v.dims()) {
            (Some(shape), _) => shape.clone(),
            (None, None) if options.given.contains_key(v.name()) => {
                let shape = options.given.get(v.name()).cloned().unwrap_or_default();
                out.warnings.push(format!(
                    "the shape of input \"{}\" is {shape:?}, as in the given input",
                    v.name()
                ));
                shape
            }
            (None, None) => {
                return Err(SliceError::OpenDim {
                    input: v.name().to_owned(),
                    axis: 0,
                    name: String::new(),
                    flag: format!("{INPUT_SHAPE} {}=N,N,…", v.name()),
                });
            }
            (None, Some(dims)) => dims
                .iter()
                .enumerate()
                .map(|(axis, d)| size(v.name(), axis, d, &dims, options, &mut out, &mut used))
                .collect::<Result<_>>()?,
        };
        out.inputs.push((v.name().to_owned(), dtype, shape));
    }
    for name in options.dims.keys() {
        if !used.contains(name) {
            let known = inputs
                .iter()
                .flat_map(|v| v.dims().unwrap_or_default())
                .any(|d| d == Dim::Named(name.clone()));
            if !known {
                return Err(SliceError::Dim {
                    flag: format!("{DIM} {name}"),
                    reason: "no input has a size of this name".into(),
                });
            }
        }
    }
    Ok(out)
}

/// Makes constants of the inputs that are fixed.
pub(crate) fn fix_values(
    graph: &mut GraphProto,
    inputs: &mut FixedDims,
    options: &DimOptions,
) -> Result<()> {
    for (name, text) in &options.fixed {
        let wrong = |reason: String| SliceError::Dim {
            flag: format!("{FIX} {name}={text}"),
            reason,
        };
        let Some(at) = inputs.inputs.iter().position(|(n, ..)| n == name) else {
            let names: Vec<&str> = inputs.inputs.iter().map(|(n, ..)| n.as_str()).collect();
            let names = names.join(", ");
            return Err(wrong(format!(
                "the model has no such input; found: {names}"
            )));
        };
        let (_, dtype, shape) = inputs.inputs.remove(at);
        let dims: Vec<usize> = shape
            .iter()
            .filter_map(|d| usize::try_from(*d).ok())
            .collect();
        let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let count = count.filter(|n| *n <= MOST_FIXED && dims.len() == shape.len());
        let Some(n) = count else {
            return Err(wrong(format!(
                "the input has the shape {shape:?}; at most {MOST_FIXED} elements can be fixed"
            )));
        };
        let values = match dtype {
            DataType::F32 => text.parse().ok().map(|v| Values::F32(vec![v; n])),
            DataType::F64 => text.parse().ok().map(|v| Values::F64(vec![v; n])),
            DataType::I32 => text.parse().ok().map(|v| Values::I32(vec![v; n])),
            DataType::I64 => text.parse().ok().map(|v| Values::I64(vec![v; n])),
            DataType::Bool => text.parse().ok().map(|v| Values::Bool(vec![v; n])),
            _ => None,
        };
        let tensor = values.and_then(|values| Tensor::new(dims, values));
        let tensor = tensor.ok_or_else(|| wrong(format!("that is no value of type {dtype}")))?;
        graph.initializer.push(tensor.to_proto(name));
    }
    Ok(())
}

fn input_type(v: &ValueInfoProto) -> Result<DataType> {
    let wrong = |found: String| SliceError::Type {
        what: "input",
        tensor: v.name().to_owned(),
        found,
        hint: String::new(),
    };
    if !v.is_tensor() {
        return Err(wrong("not a tensor".into()));
    }
    match v.dtype() {
        DataType::Undefined => Err(wrong("without a type".into())),
        d if crate::facts::encoding(d).is_none() => Err(wrong(format!("of type {d}"))),
        d => Ok(d),
    }
}

fn check_shape(
    input: &str,
    dims: &[Dim],
    shape: &[u64],
    named: &mut BTreeMap<String, u64>,
) -> Result<()> {
    let wrong = |reason: String| SliceError::Dim {
        flag: format!("{INPUT_SHAPE} {input}"),
        reason,
    };
    if dims.len() != shape.len() {
        return Err(wrong(format!(
            "expected {} sizes, found {}",
            dims.len(),
            shape.len()
        )));
    }
    for (axis, (d, n)) in dims.iter().zip(shape).enumerate() {
        match d {
            Dim::Known(k) if k != n => {
                return Err(wrong(format!("axis {axis} is {k} in the model, found {n}")));
            }
            Dim::Named(name) => match named.get(name) {
                Some(k) if k != n => {
                    return Err(wrong(format!(
                        "axis {axis} (\"{name}\") is already {k}, found {n}"
                    )));
                }
                _ => {
                    named.insert(name.clone(), *n);
                }
            },
            _ => {}
        }
    }
    Ok(())
}

fn size(
    input: &str,
    axis: usize,
    dim: &Dim,
    all: &[Dim],
    options: &DimOptions,
    out: &mut FixedDims,
    used: &mut Vec<String>,
) -> Result<u64> {
    let name = match dim {
        Dim::Known(n) => return Ok(*n),
        Dim::Named(name) => name.as_str(),
        Dim::Open => "",
    };
    if let Some(n) = out.named.get(name) {
        used.push(name.to_owned());
        return Ok(*n);
    }
    let is_batch = axis == 0 || name.to_lowercase().contains("batch");
    let given = options.given.get(input);
    let given = given.filter(|shape| shape.len() == all.len());
    let given = given.and_then(|shape| shape.get(axis)).copied();
    let (size, why) = match (given, options.batch) {
        (_, Some(batch)) if is_batch => (batch, "fixed to"),
        (Some(n), _) if n > 0 => (n, "that of the given input,"),
        _ if is_batch => (1, "fixed to"),
        _ => {
            let flag = if name.is_empty() {
                let sizes: Vec<String> = all
                    .iter()
                    .map(|d| match d {
                        Dim::Known(n) => n.to_string(),
                        _ => "N".into(),
                    })
                    .collect();
                format!("{INPUT_SHAPE} {input}={}", sizes.join(","))
            } else {
                format!("{DIM} {name}=N")
            };
            return Err(SliceError::OpenDim {
                input: input.to_owned(),
                axis,
                name: name.to_owned(),
                flag,
            });
        }
    };
    let what = if name.is_empty() {
        format!("axis {axis}")
    } else {
        out.named.insert(name.to_owned(), size);
        format!("size \"{name}\"")
    };
    out.warnings
        .push(format!("{what} of input \"{input}\" is {why} {size}"));
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(dims: &[(&str, Vec<Dim>)]) -> GraphProto {
        GraphProto {
            input: dims
                .iter()
                .map(|(n, d)| ValueInfoProto::tensor(n, DataType::F32, d))
                .collect(),
            ..GraphProto::default()
        }
    }
    fn named(s: &str) -> Dim {
        Dim::Named(s.into())
    }

    #[test]
    fn batch_is_one_unless_given() {
        let g = graph(&[
            ("x", vec![named("n"), Dim::Known(3)]),
            ("y", vec![Dim::Known(2), named("n"), named("batch_size")]),
            ("z", vec![Dim::Open]),
        ]);
        let f = fix(&g, &DimOptions::default()).unwrap();
        let shapes: Vec<_> = f.inputs.iter().map(|i| i.2.clone()).collect();
        assert_eq!(shapes, vec![vec![1, 3], vec![2, 1, 1], vec![1]]);
        assert_eq!(f.warnings.len(), 3);
        let f = fix(
            &g,
            &DimOptions {
                batch: Some(4),
                ..DimOptions::default()
            },
        )
        .unwrap();
        assert_eq!(f.inputs[1].2, vec![2, 4, 4]);
    }

    #[test]
    fn other_sizes_must_be_given_and_the_error_says_how() {
        let g = graph(&[("ids", vec![named("batch"), named("seq")])]);
        assert_eq!(
            fix(&g, &DimOptions::default()).unwrap_err().to_string(),
            "input \"ids\": the size of axis 1 (\"seq\") is not fixed; set it with dim seq=N"
        );
        let mut o = DimOptions::default();
        o.dims.insert("seq".into(), 16);
        assert_eq!(fix(&g, &o).unwrap().inputs[0].2, vec![1, 16]);

        let g = graph(&[("x", vec![Dim::Known(1), Dim::Open])]);
        assert!(
            fix(&g, &DimOptions::default())
                .unwrap_err()
                .to_string()
                .ends_with("input-shape x=1,N")
        );
        let mut o = DimOptions::default();
        o.shapes.insert("x".into(), vec![1, 7]);
        assert_eq!(fix(&g, &o).unwrap().inputs[0].2, vec![1, 7]);
    }

    #[test]
    fn open_sizes_are_those_of_the_given_input() {
        let g = graph(&[
            ("ids", vec![named("batch"), named("seq")]),
            ("mask", vec![named("batch"), named("seq"), Dim::Open]),
        ]);
        let given = |ids: &[u64], mask: &[u64]| DimOptions {
            given: [("ids".into(), ids.to_vec()), ("mask".into(), mask.to_vec())].into(),
            ..DimOptions::default()
        };
        let shapes = |o: &DimOptions| -> Vec<Vec<u64>> {
            let fixed = fix(&g, o).unwrap();
            fixed.inputs.into_iter().map(|i| i.2).collect()
        };
        let mut o = given(&[2, 5], &[2, 5, 3]);
        assert_eq!(shapes(&o), [vec![2, 5], vec![2, 5, 3]]);
        let warnings = fix(&g, &o).unwrap().warnings;
        assert_eq!(
            warnings,
            [
                "size \"batch\" of input \"ids\" is that of the given input, 2",
                "size \"seq\" of input \"ids\" is that of the given input, 5",
                "axis 2 of input \"mask\" is that of the given input, 3",
            ]
        );
        // What the user says goes before what the input has.
        o.batch = Some(1);
        o.dims.insert("seq".into(), 7);
        assert_eq!(shapes(&o), [vec![1, 7], vec![1, 7, 3]]);
        // An array of another rank says nothing of single sizes.
        let error = fix(&g, &given(&[5], &[2, 5, 3])).unwrap_err().to_string();
        assert!(error.ends_with("set it with dim seq=N"), "{error}");
    }

    #[test]
    fn inputs_become_constants() {
        let g = GraphProto {
            input: vec![
                ValueInfoProto::concrete("x", DataType::F32, &[2]),
                ValueInfoProto::concrete("rate", DataType::I64, &[]),
            ],
            ..GraphProto::default()
        };
        let options = |name: &str, value: &str| DimOptions {
            fixed: [(name.to_owned(), value.to_owned())].into(),
            ..DimOptions::default()
        };
        let fixed = |o: &DimOptions| {
            let (mut g, mut f) = (g.clone(), fix(&g, o).unwrap());
            fix_values(&mut g, &mut f, o).map(|()| (g, f.inputs.len()))
        };
        let (g, inputs) = fixed(&options("rate", "16000")).unwrap();
        assert_eq!(inputs, 1);
        for (name, value, reason) in [
            ("rate", "fast", "that is no value of type i64"),
            ("y", "1", "the model has no such input; found: x, rate"),
        ] {
            let error = fixed(&options(name, value)).unwrap_err().to_string();
            assert_eq!(error, format!("fix {name}={value}: {reason}"));
        }
        let rate = Tensor::read(&g.initializer[0]).unwrap();
        assert_eq!(rate.values, Values::I64(vec![16000]));
        assert!(rate.dims.is_empty());
    }

    #[test]
    fn wrong_sizes_are_named() {
        let g = graph(&[("x", vec![Dim::Known(2), named("s")])]);
        let with = |shape: Vec<u64>| {
            let mut o = DimOptions::default();
            o.shapes.insert("x".into(), shape);
            fix(&g, &o).unwrap_err().to_string()
        };
        assert_eq!(
            with(vec![1, 7]),
            "input-shape x: axis 0 is 2 in the model, found 1"
        );
        assert_eq!(with(vec![2]), "input-shape x: expected 2 sizes, found 1");
        let mut o = DimOptions::default();
        o.dims.insert("t".into(), 1);
        o.dims.insert("s".into(), 1);
        assert_eq!(
            fix(&g, &o).unwrap_err().to_string(),
            "dim t: no input has a size of this name"
        );
        let mut o = DimOptions::default();
        o.shapes.insert("y".into(), vec![]);
        assert!(fix(&g, &o).unwrap_err().to_string().ends_with("found: x"));
    }

    #[test]
    fn shapes_given_for_one_input_fix_names_of_others() {
        let g = graph(&[
            ("a", vec![Dim::Known(1), named("s")]),
            ("b", vec![Dim::Known(1), named("s")]),
        ]);
        let mut o = DimOptions::default();
        o.shapes.insert("b".into(), vec![1, 5]);
        assert_eq!(fix(&g, &o).unwrap().inputs[0].2, vec![1, 5]);
    }
}

//! Model inputs (and claimed outputs) from the files that users have: JSON in its
//! accepted shapes, `.npy` and `.npz`.
//!
//! Every value is checked against the model: number of elements and shape (a flattened
//! array and missing or extra axes of length 1 are fine), finite numbers only, integers
//! in range for integer tensors.

mod json;
mod numpy;

use crate::error::{Error, Result};
use crate::fidelity::Tensor;
use crate::values::{self, Scalar};
use dsperse_plugin_api::TensorInfo;
use std::path::Path;

/// An array as it was found in a file, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub shape: Vec<u64>,
    pub elements: Vec<Scalar>,
}

/// What a file holds: arrays in order, or by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arrays {
    InOrder(Vec<Array>),
    ByName(Vec<(String, Array)>),
}

/// Which side of the model a file is for; decides the keys that are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Model inputs: `input_data`, `input`.
    Input,
    /// Model outputs: `outputs`, `output_data`, `output`.
    Output,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// Reads a file and brings it into the form that the model has.
///
/// # Errors
/// When the file can't be read, or holds something else than the model wants; the message
/// names the tensor, the expected shape and what was found.
pub fn read(path: &Path, wanted: &[TensorInfo], side: Side) -> Result<Vec<Tensor>> {
    let bytes = std::fs::read(path)
        .map_err(|e| Error::io(&format!("read the {} file", side.word()), path, &e))?;
    let extension = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    let arrays = match extension.as_deref() {
        Some("npy") => numpy::npy(&bytes, wanted),
        Some("npz") => numpy::npz(&bytes, wanted),
        _ => json::parse(&bytes, wanted, side),
    };
    arrays
        .and_then(|a| fit(a, wanted, side))
        .map_err(|e| e.at(format!("\"{}\"", path.display())))
}

/// Assigns arrays to tensors and converts them.
fn fit(arrays: Arrays, wanted: &[TensorInfo], side: Side) -> Result<Vec<Tensor>> {
    let word = side.word();
    match arrays {
        Arrays::InOrder(list) => {
            if list.len() != wanted.len() {
                return Err(Error::bad_input(format!(
                    "the model has {}, the file has {}",
                    count(wanted.len(), word),
                    count(list.len(), "array")
                ))
                .with_hint(format!("{word}s in order: {}", describe(wanted))));
            }
            wanted
                .iter()
                .zip(&list)
                .map(|(w, a)| convert(w, a, word))
                .collect()
        }
        Arrays::ByName(list) => wanted
            .iter()
            .map(|w| {
                let found = list.iter().find(|(name, _)| *name == w.name);
                let (_, array) = found.ok_or_else(|| {
                    Error::bad_input(format!(
                        "{word} \"{}\" of shape {} is missing; found: {}",
                        w.name,
                        shape(&w.shape),
                        list.iter()
                            .map(|(n, _)| format!("\"{n}\""))
                            .collect::<Vec<_>>()
                            .join(", ")
                    ))
                })?;
                convert(w, array, word)
            })
            .collect(),
    }
}

fn convert(wanted: &TensorInfo, array: &Array, word: &str) -> Result<Tensor> {
    let without_ones = |s: &[u64]| s.iter().copied().filter(|d| *d != 1).collect::<Vec<_>>();
    let elements = array.elements.len() as u64;
    let flat = array.shape.len() == 1 && wanted.len() == Some(elements);
    if !flat && without_ones(&array.shape) != without_ones(&wanted.shape) {
        return Err(Error::bad_input(format!(
            "{word} \"{}\": expected shape {} ({} elements), found {} ({elements} elements)",
            wanted.name,
            shape(&wanted.shape),
            wanted.len().unwrap_or(u64::MAX),
            shape(&array.shape),
        )));
    }
    let mut bytes = Vec::with_capacity(array.elements.len() * wanted.encoding.element_size());
    for (at, value) in array.elements.iter().enumerate() {
        values::encode(wanted.encoding, *value, &mut bytes).map_err(|why| {
            Error::bad_input(format!(
                "{word} \"{}\" ({}), element {at}: {why}",
                wanted.name,
                dsperse_types::digest::dtype_name(wanted.encoding)
            ))
        })?;
    }
    Ok(Tensor {
        info: wanted.clone(),
        bytes,
    })
}

pub(crate) fn shape(shape: &[u64]) -> String {
    let list: Vec<String> = shape.iter().map(u64::to_string).collect();
    format!("[{}]", list.join(", "))
}

pub(crate) fn describe(wanted: &[TensorInfo]) -> String {
    wanted
        .iter()
        .map(|w| {
            format!(
                "\"{}\" {} {}",
                w.name,
                dsperse_types::digest::dtype_name(w.encoding),
                shape(&w.shape)
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn count(n: usize, word: &str) -> String {
    if n == 1 {
        format!("1 {word}")
    } else {
        format!("{n} {word}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_plugin_api::Encoding;
    use std::io::Write;

    fn info(name: &str, encoding: Encoding, shape: &[u64]) -> TensorInfo {
        TensorInfo {
            name: name.into(),
            encoding,
            shape: shape.to_vec(),
        }
    }

    fn json(text: &str, wanted: &[TensorInfo]) -> Result<Vec<Vec<f64>>> {
        let arrays = json::parse(text.as_bytes(), wanted, Side::Input)?;
        Ok(fit(arrays, wanted, Side::Input)?
            .iter()
            .map(|t| values::to_f64(t.info.encoding, &t.bytes))
            .collect())
    }

    #[test]
    fn every_accepted_json_shape() {
        let one = [info("x", Encoding::F32, &[1, 2, 2])];
        let expected = Ok(vec![vec![1.0, 2.0, 3.0, 4.5]]);
        for text in [
            r#"{"input_data": [[1, 2, 3, 4.5]]}"#,
            r#"{"input_data": [[[1, 2], [3, 4.5]]]}"#,
            r#"{"input_data": [[[[1, 2], [3, 4.5]]]]}"#,
            r#"{"input_data": [1, 2, 3, 4.5]}"#,
            r#"{"input": [1, 2, 3, 4.5]}"#,
            r#"{"input": [[[1, 2], [3, 4.5]]]}"#,
            r#"{"x": [[1, 2], [3, 4.5]]}"#,
            r#"[[1, 2], [3, 4.5]]"#,
            r#"[1, 2, 3, 4.5]"#,
        ] {
            assert_eq!(json(text, &one), expected, "{text}");
        }
        let two = [
            info("a", Encoding::I64, &[2]),
            info("b", Encoding::F32, &[1]),
        ];
        let expected = Ok(vec![vec![1.0, 2.0], vec![0.5]]);
        for text in [
            r#"{"input_data": [[1, 2], [0.5]]}"#,
            r#"{"input": [[1, 2], [0.5]]}"#,
            r#"{"b": [0.5], "a": [1, 2], "note": "ignored"}"#,
            r#"{"b": 0.5, "a": [1, 2]}"#,
        ] {
            assert_eq!(json(text, &two), expected, "{text}");
        }
    }

    #[test]
    fn messages_of_wrong_inputs() {
        let one = [info("x", Encoding::F32, &[1, 2, 2])];
        let two = [
            info("a", Encoding::I8, &[2]),
            info("b", Encoding::F32, &[1]),
        ];
        let cases: [(&str, &[TensorInfo]); 10] = [
            ("{", &one),
            (r#"{"input_data": [[1, 2, 3]]}"#, &one),
            (r#"{"input_data": [[[1, 2], [3]]]}"#, &one),
            (r#"{"input_data": [["a", 2, 3, 4]]}"#, &one),
            (r#"{"input_data": [[1e39, 2, 3, 4]]}"#, &one),
            (r#"{"y": [1]}"#, &one),
            (r#"{"input_data": [[1, 2]]}"#, &two),
            (r#"{"a": [1, 200], "b": [1]}"#, &two),
            (r#"{"a": [1, 2]}"#, &two),
            ("3", &two),
        ];
        let shown: Vec<String> = cases
            .iter()
            .map(|(text, wanted)| {
                let e = json(text, wanted).expect_err("the input is wrong");
                assert_eq!(e.class, crate::ErrorClass::BadInput);
                format!(
                    "{text}\n  {e}\n  hint: {}",
                    e.hint.as_deref().unwrap_or_default()
                )
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    fn npy(descr: &str, fortran: bool, dims: &str, data: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let mut header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({dims}), }}");
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        let len = u16::try_from(header.len()).expect("short header");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn numpy_files() -> Result<(), Box<dyn std::error::Error>> {
        let wanted = [info("x", Encoding::F32, &[1, 3])];
        let data: Vec<u8> = [1.0f64, 2.0, 3.5]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("x.npy");
        std::fs::write(&path, npy("<f8", false, "3,", &data))?;
        let tensors = read(&path, &wanted, Side::Input)?;
        assert_eq!(
            values::to_f64(Encoding::F32, &tensors[0].bytes),
            [1.0, 2.0, 3.5]
        );

        std::fs::write(&path, npy("<f8", false, "99999999,99999999", &data))?;
        let e = read(&path, &wanted, Side::Input).expect_err("wrong shape");
        assert!(e.message.contains("expected shape [1, 3]"), "{e}");

        let archive = dir.path().join("x.npz");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&archive)?);
        zip.start_file("x.npy", zip::write::SimpleFileOptions::default())?;
        zip.write_all(&npy(
            "<i4",
            false,
            "3,",
            &[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0],
        ))?;
        zip.finish()?;
        let tensors = read(&archive, &wanted, Side::Input)?;
        assert_eq!(
            values::to_f64(Encoding::F32, &tensors[0].bytes),
            [1.0, 2.0, 3.0]
        );
        Ok(())
    }

    #[test]
    fn fortran_order_is_transposed() -> Result<(), Box<dyn std::error::Error>> {
        let wanted = [info("x", Encoding::U8, &[2, 3])];
        let bytes = npy("|u1", true, "2, 3", &[1, 4, 2, 5, 3, 6]);
        let arrays = numpy::npy(&bytes, &wanted)?;
        let tensors = fit(arrays, &wanted, Side::Input)?;
        assert_eq!(tensors[0].bytes, [1, 2, 3, 4, 5, 6]);
        Ok(())
    }
}

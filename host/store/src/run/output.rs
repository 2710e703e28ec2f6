//! Tensors as JSON, for people and for tools that want it.
//!
//! The document has the values twice: `output_data` (or `input_data`), one flat array per
//! tensor in order, which is what tools of the field read; and `outputs` (`inputs`) by
//! name with shape and dtype, which is exact: fixed-point tensors stand there as their
//! integers with the exponent. JSON has no infinities and no NaN; they are written as
//! `null`, and reading them back is an error.

use crate::files::atomic::{AtomicFile, clean_abandoned};
use crate::files::error::{BundleError, IoContext, Result};
use dsperse_tensor::{Encoding, Number, Tensor};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Whether a document holds inputs or outputs; decides the names of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `input_data` and `inputs`.
    Input,
    /// `output_data` and `outputs`.
    Output,
}

impl Direction {
    pub(crate) fn data_key(self) -> &'static str {
        match self {
            Self::Input => "input_data",
            Self::Output => "output_data",
        }
    }
    pub(crate) fn typed_key(self) -> &'static str {
        match self {
            Self::Input => "inputs",
            Self::Output => "outputs",
        }
    }
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// A tensor as it stands in a document. Making the digits costs more than everything else
/// that is done with most tensors, so it is done once, although they stand in a document
/// twice, and often in two documents.
#[derive(Debug)]
pub(crate) struct TensorText {
    /// The opening of the object below `outputs`, up to its data.
    head: String,
    /// The list of exact elements.
    exact: Vec<u8>,
    /// The list of plain numbers, where it is another.
    plain: Option<Vec<u8>>,
}

impl TensorText {
    pub(crate) fn new(t: &Tensor) -> Result<Self> {
        let json = |e: serde_json::Error| {
            BundleError::Request(format!("tensor \"{}\" has no JSON form: {e}", t.info.name))
        };
        let mut head = serde_json::to_string(&t.info.name).map_err(json)?;
        head += ": {\"shape\": ";
        head += &serde_json::to_string(&t.info.shape).map_err(json)?;
        head += &format!(", \"dtype\": \"{}\"", t.info.encoding.name());
        let mut plain = None;
        if let Encoding::Fixed { exponent } = t.info.encoding {
            head += &format!(", \"exponent\": {exponent}");
            let values = t.to_f64().into_iter();
            plain = Some(list(values, write_number).map_err(json)?);
        }
        head += ", \"data\": ";
        let exact = if t.info.encoding == Encoding::F32 {
            let (values, _) = t.data.as_chunks::<4>();
            list(values.iter().map(|v| f32::from_le_bytes(*v)), write_number)
        } else {
            let encoding = t.info.encoding;
            list(t.numbers(), |out, n| match n {
                // i128 covers every integer type.
                Number::Int(i) => write_number(out, i),
                Number::Bool(b) => write_number(out, b),
                // The shortest digits that give the same value again in its own type.
                Number::Float(x) if encoding != Encoding::F64 => write_number(out, x as f32),
                Number::Float(x) => write_number(out, x),
            })
        };
        Ok(Self {
            head,
            exact: exact.map_err(json)?,
            plain,
        })
    }

    /// Bytes in memory.
    pub(crate) fn size(&self) -> usize {
        self.head.len() + self.exact.len() + self.plain.as_ref().map_or(0, Vec::len)
    }
}

fn write_number(out: &mut Vec<u8>, number: impl serde::Serialize) -> serde_json::Result<()> {
    serde_json::to_writer(out, &number)
}

fn list<T>(
    values: impl ExactSizeIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T) -> serde_json::Result<()>,
) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(values.len().saturating_mul(12));
    out.push(b'[');
    for (i, value) in values.enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        write(&mut out, value)?;
    }
    out.push(b']');
    Ok(out)
}

/// Writes tensors as a JSON file, in one step. What commands that died left of the same file
/// goes away.
///
/// # Errors
/// When the file can't be written.
pub fn write_json(path: &Path, direction: Direction, tensors: &[Tensor]) -> Result<()> {
    let texts = tensors
        .iter()
        .map(TensorText::new)
        .collect::<Result<Vec<_>>>()?;
    clean_abandoned(path);
    write_texts(path, direction, texts.iter())?.commit()
}

/// Appends tensors as one line of JSON, of the same document that [`write_json`] writes.
///
/// # Errors
/// When a tensor has no JSON form.
pub fn write_json_line(out: &mut Vec<u8>, direction: Direction, tensors: &[Tensor]) -> Result<()> {
    let texts = tensors
        .iter()
        .map(TensorText::new)
        .collect::<Result<Vec<_>>>()?;
    let mut whole = Vec::new();
    document(&mut whole, direction, texts.iter()).at("write", Path::new("a line"))?;
    // Line breaks stand between elements only: those of names are escaped.
    out.extend(whole.into_iter().filter(|byte| *byte != b'\n'));
    out.push(b'\n');
    Ok(())
}

/// Writes tensors as a JSON file, which the caller puts in place.
pub(crate) fn write_texts<'a>(
    path: &Path,
    direction: Direction,
    tensors: impl Iterator<Item = &'a TensorText> + Clone,
) -> Result<AtomicFile> {
    let mut file = AtomicFile::create(path)?;
    {
        let mut out = BufWriter::new(file.file());
        document(&mut out, direction, tensors)
            .and_then(|()| out.flush())
            .at("write", path)?;
    }
    Ok(file)
}

fn document<'a>(
    out: &mut impl Write,
    direction: Direction,
    tensors: impl Iterator<Item = &'a TensorText> + Clone,
) -> io::Result<()> {
    let start = |i| -> &[u8] { if i == 0 { b"\n    " } else { b",\n    " } };
    write!(out, "{{\n  \"{}\": [", direction.data_key())?;
    for (i, t) in tensors.clone().enumerate() {
        out.write_all(start(i))?;
        out.write_all(t.plain.as_ref().unwrap_or(&t.exact))?;
    }
    write!(out, "\n  ],\n  \"{}\": {{", direction.typed_key())?;
    for (i, t) in tensors.enumerate() {
        out.write_all(start(i))?;
        out.write_all(t.head.as_bytes())?;
        out.write_all(&t.exact)?;
        out.write_all(b"}")?;
    }
    out.write_all(b"\n  }\n}\n")
}

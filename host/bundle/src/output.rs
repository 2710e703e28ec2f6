//! Tensors as JSON, for people and for tools that want it.
//!
//! The document has the values twice: `output_data` (or `input_data`), one flat array per
//! tensor in order, which is what tools of the field read; and `outputs` (`inputs`) by
//! name with shape and dtype, which is exact: fixed-point tensors stand there as their
//! integers with the exponent. JSON has no infinities and no NaN; they are written as
//! `null`, and reading them back is an error.

use crate::atomic::AtomicFile;
use crate::error::{IoContext, Result};
use crate::values::{Number, Tensor};
use dsperse_plugin_api::Encoding;
use dsperse_types::digest::dtype_name;
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

/// Writes tensors as a JSON file, in one step.
///
/// # Errors
/// When the file can't be written.
pub fn write_json(path: &Path, direction: Direction, tensors: &[Tensor]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    {
        let mut out = BufWriter::new(file.file());
        write_json_to(&mut out, direction, tensors)
            .and_then(|()| out.flush())
            .at("write", path)?;
    }
    file.commit()
}

/// Writes tensors as a JSON document.
///
/// # Errors
/// Those of `out`.
pub fn write_json_to(
    out: &mut dyn Write,
    direction: Direction,
    tensors: &[Tensor],
) -> io::Result<()> {
    write!(out, "{{\n  \"{}\": [", direction.data_key())?;
    for (i, t) in tensors.iter().enumerate() {
        out.write_all(if i == 0 { b"\n    " } else { b",\n    " })?;
        match t.info.encoding {
            Encoding::Fixed { .. } => {
                list(
                    out,
                    t.to_f64().into_iter().map(Number::Float),
                    Encoding::F64,
                )?;
            }
            encoding => list(out, t.numbers(), encoding)?,
        }
    }
    write!(out, "\n  ],\n  \"{}\": {{", direction.typed_key())?;
    for (i, t) in tensors.iter().enumerate() {
        out.write_all(if i == 0 { b"\n    " } else { b",\n    " })?;
        serde_json::to_writer(&mut *out, &t.info.name)?;
        out.write_all(b": {\"shape\": ")?;
        serde_json::to_writer(&mut *out, &t.info.shape)?;
        write!(out, ", \"dtype\": \"{}\"", dtype_name(t.info.encoding))?;
        if let Encoding::Fixed { exponent } = t.info.encoding {
            write!(out, ", \"exponent\": {exponent}")?;
        }
        out.write_all(b", \"data\": ")?;
        list(out, t.numbers(), t.info.encoding)?;
        out.write_all(b"}")?;
    }
    out.write_all(b"\n  }\n}\n")
}

fn list(
    out: &mut dyn Write,
    numbers: impl Iterator<Item = Number>,
    encoding: Encoding,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (i, n) in numbers.enumerate() {
        if i > 0 {
            out.write_all(b", ")?;
        }
        match n {
            Number::Int(i) => write!(out, "{i}")?,
            Number::Bool(b) => write!(out, "{b}")?,
            // The shortest digits that give the same f32 again, not those of its f64.
            Number::Float(x) if encoding != Encoding::F64 => {
                serde_json::to_writer(&mut *out, &(x as f32))?;
            }
            Number::Float(x) => serde_json::to_writer(&mut *out, &x)?,
        }
    }
    out.write_all(b"]")
}

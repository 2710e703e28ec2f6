//! What users give as model input, and as claimed output.
//!
//! JSON: `{"input_data": [[…], …]}` (one flat or shaped array per model input, in order),
//! `{"input": …}`, one key per input name, the document that this program writes (see
//! [`crate::write_json`]), or a bare nested array for a model with one input. NumPy: `.npy`
//! for a model with one input, `.npz` with arrays by name or in order (`arr_0`, …).
//!
//! An array fits when its dimensions are those of the model, dimensions of 1 aside, or
//! when it is flat and has the right number of elements. Values must be finite and in the
//! range of the tensor's type.

use crate::files::error::BundleError;
use crate::run::output::Direction;
use dsperse_archive::{Archive, Limits};
use dsperse_documents::setting::FIX;
use dsperse_tensor::npy::Npy;
use dsperse_tensor::{Encoding, Number, Tensor, TensorInfo};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Why an input can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The file can't be read.
    #[error("can't read \"{}\": {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not JSON.
    #[error("\"{}\" is not valid JSON: {reason}", path.display())]
    NotJson {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// The tensors can't be found in the document.
    #[error("\"{}\": {reason}; expected {expected}", path.display())]
    Structure {
        /// Which file.
        path: PathBuf,
        /// What was found.
        reason: String,
        /// What would do.
        expected: String,
    },
    /// An array has the wrong shape.
    #[error("\"{}\": {what} \"{name}\" has shape {found}, expected {expected} (or the same number of elements, flat)", path.display())]
    Shape {
        /// Which file.
        path: PathBuf,
        /// `input` or `output`.
        what: &'static str,
        /// Which tensor.
        name: String,
        /// The model's shape and number of elements.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A value can't be an element of the tensor.
    #[error("\"{}\": {what} \"{name}\" holds {found}, expected {expected}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// `input` or `output`.
        what: &'static str,
        /// Which tensor.
        name: String,
        /// The tensor's type, and what would do.
        expected: String,
        /// What was found, and at which element in row-major order.
        found: String,
    },
    /// An `.npy` array is damaged or of a kind that can't be used.
    #[error("\"{}\": {reason}", path.display())]
    Npy {
        /// Which file.
        path: PathBuf,
        /// Which array, and why.
        reason: String,
    },
    /// An `.npz` archive is damaged or hostile.
    #[error(transparent)]
    Npz(#[from] Box<BundleError>),
}

type Result<T, E = InputError> = std::result::Result<T, E>;

/// The values of inputs that slicing made constants, by name. A file may leave them out, but not
/// give them another value.
pub type Fixed = BTreeMap<String, String>;

/// For what has no such inputs.
static NONE_FIXED: Fixed = Fixed::new();

/// Reads a model's inputs, in the order of `wanted`.
///
/// # Errors
/// With the name of the input, the expected shape and what was found; when the file gives
/// another value to one of `fixed`.
pub fn read_inputs(path: &Path, wanted: &[TensorInfo], fixed: &Fixed) -> Result<Vec<Tensor>> {
    let mut reader = Reader::new(path, wanted, Direction::Input);
    reader.fixed = fixed;
    reader.file()
}

/// Reads a model's claimed outputs, in the order of `wanted`. A tensor that stands there
/// as fixed point is returned as such.
///
/// # Errors
/// As [`read_inputs`].
pub fn read_outputs(path: &Path, wanted: &[TensorInfo]) -> Result<Vec<Tensor>> {
    Reader::new(path, wanted, Direction::Output).file()
}

/// The shapes that a file gives for inputs of these names, before the model's own are known:
/// what a model leaves open can be taken from them. Values are not looked at. Of a directory and
/// of JSON lines the first input counts.
///
/// # Errors
/// As [`read_inputs`], shapes and values aside.
pub fn input_shapes(path: &Path, names: &[String]) -> Result<BTreeMap<String, Vec<u64>>> {
    let wanted: Vec<TensorInfo> = names
        .iter()
        .map(|name| TensorInfo {
            name: name.clone(),
            shape: Vec::new(),
            encoding: Encoding::F64,
        })
        .collect();
    let first = if path.is_dir() {
        files_in(path)?.into_iter().next()
    } else {
        None
    };
    let path = first.as_deref().unwrap_or(path);
    let mut reader = Reader::new(path, &wanted, Direction::Input);
    reader.large = true;
    reader.measured = Some(RefCell::default());
    if is_json_lines(path) {
        let bytes = read_bytes(path)?;
        let mut lines = bytes.split(|b| *b == b'\n');
        let first = lines.find(|line| !line.trim_ascii().is_empty());
        reader.json(first.unwrap_or_default())?;
    } else {
        reader.file()?;
    }
    Ok(reader.measured.take().unwrap_or_default().into_inner())
}

/// One of several inputs for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the file, and which of its inputs where there are several.
    pub source: String,
    /// The model's inputs.
    pub tensors: Vec<Tensor>,
}

/// Endings of the files that a directory of samples may hold.
const ENDINGS: [&str; 5] = ["json", "npy", "npz", "jsonl", "ndjson"];

/// Reads samples of a model's inputs: one file of them, a file with a batch (the first
/// dimension of every array is so many times the model's, or an additional one), a file of
/// JSON lines (`.jsonl`, `.ndjson`: each line what a JSON file would hold), or a directory of
/// such files, in the order of their names.
///
/// # Errors
/// As [`read_inputs`]; and when a directory or a file holds none.
pub fn read_samples(path: &Path, wanted: &[TensorInfo], fixed: &Fixed) -> Result<Vec<Sample>> {
    if path.is_dir() {
        let files = files_in(path)?;
        let samples: Vec<Vec<Sample>> = files
            .iter()
            .map(|file| read_samples(file, wanted, fixed))
            .collect::<Result<_>>()?;
        return Ok(samples.into_iter().flatten().collect());
    }
    if is_json_lines(path) {
        return json_lines(path, wanted, fixed);
    }
    let file = path.file_name().unwrap_or(path.as_os_str());
    let file = file.to_string_lossy().into_owned();
    let mut reader = Reader::new(path, wanted, Direction::Input);
    reader.large = true;
    reader.fixed = fixed;
    let error = match reader.file() {
        Ok(tensors) => {
            return Ok(vec![Sample {
                source: file,
                tensors,
            }]);
        }
        Err(e) => e,
    };
    let found = reader.found.take();
    let size = found.and_then(|(name, shape)| {
        let info = wanted.iter().find(|w| w.name == name)?;
        batch_size(&shape, &info.shape)
    });
    let Some((size, joined)) = size else {
        return Err(error);
    };
    let batched = wanted.iter().map(|w| times(w, size, joined));
    let batched: Option<Vec<TensorInfo>> = batched.collect();
    let Some(batched) = batched else {
        return Err(error);
    };
    let mut reader = Reader::new(path, &batched, Direction::Input);
    reader.large = true;
    let tensors = reader.file()?;
    let sample = |at: usize| -> Result<Sample> {
        let parts = tensors.iter().zip(wanted).map(|(t, w)| {
            let len = t.data.len() / usize::try_from(size).unwrap_or(usize::MAX).max(1);
            let part = t.data.get(at * len..(at + 1) * len).unwrap_or_default();
            reader.tensor(w, w.encoding, part.to_vec())
        });
        Ok(Sample {
            source: format!("{file}, input {}", at + 1),
            tensors: parts.collect::<Result<_>>()?,
        })
    };
    (0..usize::try_from(size).unwrap_or(0))
        .map(sample)
        .collect()
}

/// The files with inputs in a directory, in the order of their names.
fn files_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |source| InputError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let extension = file.extension().map(|e| e.to_ascii_lowercase());
        if extension.is_some_and(|e| ENDINGS.iter().any(|ending| e == *ending)) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(InputError::Structure {
            path: dir.to_owned(),
            reason: "the directory holds no input".into(),
            expected: "files that end in .json, .jsonl, .npy or .npz".into(),
        });
    }
    Ok(files)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| InputError::Read {
        path: path.to_owned(),
        source,
    })
}

fn is_json_lines(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_ascii_lowercase());
    extension.is_some_and(|e| e == "jsonl" || e == "ndjson")
}

/// One sample a line; empty lines do not count.
fn json_lines(path: &Path, wanted: &[TensorInfo], fixed: &Fixed) -> Result<Vec<Sample>> {
    let bytes = read_bytes(path)?;
    let mut samples = Vec::new();
    for (at, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let place = |path: &std::ffi::OsStr| format!("{}, line {}", path.to_string_lossy(), at + 1);
        let whole = PathBuf::from(place(path.as_os_str()));
        let mut reader = Reader::new(&whole, wanted, Direction::Input);
        reader.fixed = fixed;
        samples.push(Sample {
            source: place(path.file_name().unwrap_or(path.as_os_str())),
            tensors: reader.json(line)?,
        });
    }
    if samples.is_empty() {
        return Err(InputError::Structure {
            path: path.to_owned(),
            reason: "the file holds no input".into(),
            expected: "a JSON document on each line".into(),
        });
    }
    Ok(samples)
}

/// How many samples an array of this shape holds, when one has the other shape, and whether
/// they are joined along a first dimension of more than 1.
fn batch_size(found: &[u64], one: &[u64]) -> Option<(u64, bool)> {
    let (first, rest) = found.split_first()?;
    let (size, joined) = match one.split_first() {
        _ if rest == one => (*first, false),
        Some((own, others)) if rest == others && *own > 0 && first % own == 0 => {
            (first / own, *own > 1)
        }
        _ => return None,
    };
    (size > 1).then_some((size, joined))
}

/// The tensor that holds a batch of so many; `None` when there is no such shape.
fn times(info: &TensorInfo, size: u64, joined: bool) -> Option<TensorInfo> {
    let mut shape = info.shape.clone();
    match shape.first_mut().filter(|_| joined) {
        Some(first) => *first = first.checked_mul(size)?,
        // Dimensions of 1 do not count, so this is also a batch along a first one of 1.
        None => shape.insert(0, size),
    }
    Some(TensorInfo {
        shape,
        ..info.clone()
    })
}

impl Reader<'_> {
    fn file(&self) -> Result<Vec<Tensor>> {
        let (reader, path) = (self, self.path);
        let extension = path.extension().map(|e| e.to_ascii_lowercase());
        if extension.as_deref().is_some_and(|e| e == "npz") {
            return reader.npz();
        }
        let bytes = read_bytes(path)?;
        if extension.as_deref().is_some_and(|e| e == "npy") {
            reader.npy(&bytes)
        } else {
            reader.json(&bytes)
        }
    }
}

/// Reads a JSON document that is already in memory; `path` is for messages.
///
/// # Errors
/// As [`read_inputs`].
pub fn parse_json(
    path: &Path,
    bytes: &[u8],
    wanted: &[TensorInfo],
    direction: Direction,
) -> Result<Vec<Tensor>> {
    Reader::new(path, wanted, direction).json(bytes)
}

/// Reads an `.npy` file that is already in memory; `path` is for messages.
///
/// # Errors
/// As [`read_inputs`].
pub fn parse_npy(
    path: &Path,
    bytes: &[u8],
    wanted: &[TensorInfo],
    direction: Direction,
) -> Result<Vec<Tensor>> {
    Reader::new(path, wanted, direction).npy(bytes)
}

/// Where and why, with a word on the numbers that other programs write.
fn not_json(e: &serde_json::Error, bytes: &[u8]) -> String {
    let has = |word: &[u8]| bytes.windows(word.len()).any(|w| w == word);
    if has(b"NaN") || has(b"Infinity") {
        format!("{e} (NaN and Infinity are not JSON numbers)")
    } else {
        e.to_string()
    }
}

/// Most bytes of one array of samples.
const LARGE: u64 = 1 << 32;

struct Reader<'a> {
    path: &'a Path,
    wanted: &'a [TensorInfo],
    direction: Direction,
    /// What the file may not contradict.
    fixed: &'a Fixed,
    /// Whether arrays of an archive may be much larger than the model's inputs.
    large: bool,
    /// The first array that has another shape: of which tensor, and the shape.
    found: RefCell<Option<(String, Vec<u64>)>>,
    /// Only shapes are wanted, and these are those that were found.
    measured: Option<RefCell<BTreeMap<String, Vec<u64>>>>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, wanted: &'a [TensorInfo], direction: Direction) -> Self {
        Self {
            path,
            wanted,
            direction,
            fixed: &NONE_FIXED,
            large: false,
            found: RefCell::default(),
            measured: None,
        }
    }
}

impl Reader<'_> {
    /// When only shapes are wanted: notes this one, and stands in for the tensor.
    fn measure(&self, w: &TensorInfo, shape: &[u64]) -> Option<Tensor> {
        let seen = self.measured.as_ref()?;
        seen.borrow_mut().insert(w.name.clone(), shape.to_vec());
        Some(Tensor {
            info: w.clone(),
            data: Vec::new(),
        })
    }

    /// Whether an array has the shape of a tensor; if not, it is remembered.
    fn fits(&self, found: &[u64], w: &TensorInfo) -> bool {
        let fits = fits(found, w);
        if !fits {
            let mut first = self.found.borrow_mut();
            first.get_or_insert_with(|| (w.name.clone(), found.to_vec()));
        }
        fits
    }

    fn json(&self, bytes: &[u8]) -> Result<Vec<Tensor>> {
        // Editors of Windows begin a file with this mark.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let root: Value = serde_json::from_slice(bytes).map_err(|e| InputError::NotJson {
            path: self.path.to_owned(),
            reason: not_json(&e, bytes),
        })?;
        let Value::Object(fields) = &root else {
            return self.list(&root, "a bare array");
        };
        self.json_fixed(fields)?;
        if let Some(Value::Object(typed)) = fields.get(self.direction.typed_key())
            && self.wanted.iter().all(|w| typed.contains_key(&w.name))
        {
            let typed = self.wanted.iter().map(|w| (w, typed.get(&w.name)));
            let exact = typed
                .map(|(w, v)| self.typed(w, v))
                .collect::<Result<Vec<_>>>()?;
            for key in [self.direction.data_key(), self.direction.word()] {
                if let Some(value) = fields.get(key) {
                    self.same(&exact, key, value)?;
                }
            }
            return Ok(exact);
        }
        if !self.wanted.is_empty() && self.wanted.iter().all(|w| fields.contains_key(&w.name)) {
            let named = self
                .wanted
                .iter()
                .filter_map(|w| Some((w, fields.get(&w.name)?)));
            return named.map(|(w, v)| self.array(w, v, w.encoding)).collect();
        }
        for key in [self.direction.data_key(), self.direction.word()] {
            if let Some(value) = fields.get(key) {
                return self.list(value, &format!("\"{key}\""));
            }
        }
        Err(self.structure(format!("it has the keys {}", keys(fields))))
    }

    /// Refuses a document that gives a constant another value, in either of its forms.
    fn json_fixed(&self, fields: &Map<String, Value>) -> Result<()> {
        let typed = fields.get(self.direction.typed_key());
        for (name, value) in self.fixed {
            let exact = typed.and_then(|t| t.get(name)).and_then(|t| t.get("data"));
            for given in [fields.get(name), exact].into_iter().flatten() {
                let mut open = vec![given];
                while let Some(next) = open.pop() {
                    let number = match next {
                        Value::Array(items) => {
                            open.extend(items);
                            continue;
                        }
                        Value::Bool(b) => Some(f64::from(u8::from(*b))),
                        other => other.as_f64(),
                    };
                    self.same_as_fixed(name, value, number, next)?;
                }
            }
        }
        Ok(())
    }

    fn same_as_fixed(
        &self,
        name: &str,
        value: &str,
        number: Option<f64>,
        found: impl std::fmt::Display,
    ) -> Result<()> {
        let fixed = match value {
            "true" => Some(1.0),
            "false" => Some(0.0),
            number => number.parse().ok(),
        };
        if number.is_some() && number == fixed {
            return Ok(());
        }
        Err(InputError::Structure {
            path: self.path.to_owned(),
            reason: format!("\"{name}\" is {found}"),
            expected: format!(
                "{value}, which the model was sliced with ({FIX} {name}={value}); slice it again for another value"
            ),
        })
    }

    /// The document has its values twice: once for people, once exactly. Who reads the one
    /// and who reads the other must not be told different things.
    fn same(&self, exact: &[Tensor], key: &str, value: &Value) -> Result<()> {
        let items = match (exact, value) {
            ([_], v) => vec![v],
            (many, Value::Array(items)) if items.len() == many.len() => items.iter().collect(),
            _ => return Err(self.structure(format!("\"{key}\" is {}", kind(value)))),
        };
        for ((w, exact), item) in self.wanted.iter().zip(exact).zip(items) {
            let fixed = matches!(exact.info.encoding, Encoding::Fixed { .. });
            let encoding = if fixed { Encoding::F64 } else { w.encoding };
            let plain = self.array(w, item, encoding)?;
            let agrees = if fixed {
                plain.to_f64() == exact.to_f64()
            } else {
                plain.data == exact.data
            };
            if !agrees {
                return Err(self.structure(format!(
                    "\"{key}\" and \"{}\" hold different values of \"{}\"",
                    self.direction.typed_key(),
                    w.name
                )));
            }
        }
        Ok(())
    }

    /// One array for each tensor, or just the array for a single one.
    fn list(&self, value: &Value, what: &str) -> Result<Vec<Tensor>> {
        match (self.wanted, value) {
            ([one], v) => Ok(vec![self.array(one, v, one.encoding)?]),
            (many, Value::Array(items)) if items.len() == many.len() => many
                .iter()
                .zip(items)
                .map(|(w, v)| self.array(w, v, w.encoding))
                .collect(),
            (_, Value::Array(items)) => {
                Err(self.structure(format!("{what} has {} arrays", items.len())))
            }
            (_, other) => Err(self.structure(format!("{what} is {}", kind(other)))),
        }
    }

    /// `{"shape": …, "dtype": …, "data": …}`, as this program writes it.
    fn typed(&self, w: &TensorInfo, value: Option<&Value>) -> Result<Tensor> {
        let field = |name: &str| value.and_then(|v| v.get(name));
        let shape: Option<Vec<u64>> = field("shape")
            .and_then(Value::as_array)
            .and_then(|s| s.iter().map(Value::as_u64).collect());
        if let Some(done) = shape.as_deref().and_then(|shape| self.measure(w, shape)) {
            return Ok(done);
        }
        let dtype = field("dtype").and_then(Value::as_str).unwrap_or_default();
        let exponent = field("exponent")
            .and_then(Value::as_i64)
            .and_then(|e| i32::try_from(e).ok());
        let encoding = match (dtype, exponent) {
            ("fixed", Some(exponent)) if self.direction == Direction::Output => {
                Encoding::Fixed { exponent }
            }
            (name, None) if name == w.encoding.name() => w.encoding,
            _ => {
                return Err(self.structure(format!(
                    "{} \"{}\" has dtype \"{dtype}\"",
                    self.direction.word(),
                    w.name
                )));
            }
        };
        if shape.as_ref() != Some(&w.shape) {
            let found = field("shape").map_or("none".into(), Value::to_string);
            return Err(self.shape(w, found));
        }
        match field("data") {
            Some(data) => self.array(w, data, encoding),
            None => Err(self.structure(format!(
                "{} \"{}\" has no \"data\"",
                self.direction.word(),
                w.name
            ))),
        }
    }

    fn array(&self, w: &TensorInfo, value: &Value, encoding: Encoding) -> Result<Tensor> {
        let mut found = Vec::new();
        let mut first = value;
        while let Value::Array(items) = first {
            found.push(items.len() as u64);
            match items.first() {
                Some(v) => first = v,
                None => break,
            }
        }
        if let Some(done) = self.measure(w, &found) {
            return Ok(done);
        }
        if !self.fits(&found, w) {
            return Err(self.shape(w, format!("{found:?}{}", elements(&found))));
        }
        let mut data = Vec::new();
        let mut position = 0;
        self.flatten(w, value, &found, encoding, &mut position, &mut data)?;
        self.tensor(w, encoding, data)
    }

    fn flatten(
        &self,
        w: &TensorInfo,
        value: &Value,
        shape: &[u64],
        encoding: Encoding,
        position: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        match (shape.split_first(), value) {
            (Some((len, rest)), Value::Array(items)) => {
                if items.len() as u64 != *len {
                    return Err(self.shape(
                        w,
                        format!("uneven rows of {len} and {} elements", items.len()),
                    ));
                }
                for item in items {
                    self.flatten(w, item, rest, encoding, position, out)?;
                }
                Ok(())
            }
            (None, Value::Array(_)) => Err(self.shape(w, "rows of uneven depth".into())),
            (Some(_), _) => Err(self.shape(w, "rows of uneven depth".into())),
            (None, value) => {
                let number = match value {
                    Value::Bool(b) => Some(Number::Bool(*b)),
                    Value::Number(n) => n
                        .as_i64()
                        .map(|i| Number::Int(i.into()))
                        .or(n.as_u64().map(|i| Number::Int(i.into())))
                        .or(n.as_f64().map(Number::Float)),
                    _ => None,
                };
                let result = match number {
                    Some(n) => n.write(encoding, out),
                    None => Err("a number".into()),
                };
                let at = *position;
                *position += 1;
                result.map_err(|expected| {
                    let mut found = value.to_string();
                    if found.len() > 60 {
                        found = kind(value).to_owned();
                    }
                    self.value(w, at, expected, found)
                })
            }
        }
    }

    fn npy(&self, bytes: &[u8]) -> Result<Vec<Tensor>> {
        match self.wanted {
            [one] => Ok(vec![self.npy_array(one, bytes, "")?]),
            _ => Err(self.structure("an .npy file holds one array".into())),
        }
    }

    fn npy_parsed<'b>(&self, bytes: &'b [u8], entry: &str) -> Result<Npy<'b>> {
        Npy::parse(bytes).map_err(|reason| InputError::Npy {
            path: if entry.is_empty() {
                self.path.to_path_buf()
            } else {
                self.path.join(entry)
            },
            reason,
        })
    }

    fn npy_array(&self, w: &TensorInfo, bytes: &[u8], entry: &str) -> Result<Tensor> {
        let array = self.npy_parsed(bytes, entry)?;
        if let Some(done) = self.measure(w, &array.shape) {
            return Ok(done);
        }
        if !self.fits(&array.shape, w) {
            let shape = &array.shape;
            return Err(self.shape(w, format!("{shape:?}{}", elements(shape))));
        }
        let mut data = Vec::new();
        for (at, n) in array.numbers().enumerate() {
            n.write(w.encoding, &mut data).map_err(|expected| {
                self.value(w, at, expected, format!("{n} ({})", array.descr))
            })?;
        }
        self.tensor(w, w.encoding, data)
    }

    fn npz(&self) -> Result<Vec<Tensor>> {
        // An array of the right shape can't be larger than this; anything else is refused
        // before it is inflated.
        let most = self
            .wanted
            .iter()
            .filter_map(TensorInfo::len)
            .max()
            .unwrap_or(0)
            .saturating_mul(8)
            .saturating_add(1 << 16);
        let limits = Limits {
            // How many elements a constant has is not known here.
            document_bytes: if self.large || !self.fixed.is_empty() {
                LARGE
            } else {
                most
            },
            ..Limits::default()
        };
        let mut archive = Archive::open(self.path, limits).map_err(|e| Box::new(e.into()))?;
        let names: Vec<String> = archive
            .names()
            .filter_map(|n| n.strip_suffix(".npy"))
            .map(str::to_owned)
            .collect();
        let has = |n: &str| names.iter().any(|x| x == n);
        let mut read = |name: &str| {
            let entry = format!("{name}.npy");
            let bytes = archive.read_document(&entry);
            bytes
                .map(|bytes| (entry, bytes))
                .map_err(|e| Box::new(e.into()))
        };
        for (name, value) in self.fixed.iter().filter(|(name, _)| has(name)) {
            let (entry, bytes) = read(name)?;
            for n in self.npy_parsed(&bytes, &entry)?.numbers() {
                self.same_as_fixed(name, value, Some(n.to_f64()), n)?;
            }
        }
        let chosen: Vec<String> = if self.wanted.iter().all(|w| has(&w.name)) {
            self.wanted.iter().map(|w| w.name.clone()).collect()
        } else if let ([_], [one]) = (self.wanted, names.as_slice()) {
            vec![one.clone()]
        } else if names.len() == self.wanted.len()
            && (0..names.len()).all(|i| has(&format!("arr_{i}")))
        {
            (0..names.len()).map(|i| format!("arr_{i}")).collect()
        } else {
            return Err(self.structure(format!("it has the arrays {names:?}")));
        };
        self.wanted
            .iter()
            .zip(chosen)
            .map(|(w, name)| {
                let (entry, bytes) = read(&name)?;
                self.npy_array(w, &bytes, &entry)
            })
            .collect()
    }

    fn tensor(&self, w: &TensorInfo, encoding: Encoding, data: Vec<u8>) -> Result<Tensor> {
        let info = TensorInfo {
            encoding,
            ..w.clone()
        };
        Tensor::new(info, data).map_err(|e| self.shape(w, e.to_string()))
    }

    fn structure(&self, reason: String) -> InputError {
        let word = self.direction.word();
        let names: Vec<String> = self
            .wanted
            .iter()
            .map(|w| match self.measured {
                None => format!("\"{}\" {:?}", w.name, w.shape),
                Some(_) => format!("\"{}\"", w.name),
            })
            .collect();
        let names = names.join(", ");
        let expected = match self.wanted.len() {
            1 => format!(
                "\"{}\", \"{word}\", a bare array or a key for the model's {word} {names}",
                self.direction.data_key()
            ),
            n => format!(
                "\"{}\" with {n} arrays, or a key for each of the model's {word}s {names}",
                self.direction.data_key()
            ),
        };
        InputError::Structure {
            path: self.path.to_owned(),
            reason,
            expected,
        }
    }

    fn shape(&self, w: &TensorInfo, found: String) -> InputError {
        InputError::Shape {
            path: self.path.to_owned(),
            what: self.direction.word(),
            name: w.name.clone(),
            expected: format!("{:?}{}", w.shape, elements(&w.shape)),
            found,
        }
    }

    fn value(
        &self,
        w: &TensorInfo,
        position: usize,
        expected: String,
        found: String,
    ) -> InputError {
        InputError::Value {
            path: self.path.to_owned(),
            what: self.direction.word(),
            name: w.name.clone(),
            expected: format!("{expected} ({})", w.encoding.name()),
            found: format!("{found} at element {position}"),
        }
    }
}

/// Whether an array of this shape can be the tensor: the same dimensions, those of 1
/// aside, or flat with the right number of elements.
fn fits(found: &[u64], w: &TensorInfo) -> bool {
    let squeeze = |s: &[u64]| -> Vec<u64> { s.iter().copied().filter(|d| *d != 1).collect() };
    let squeezed = squeeze(found);
    squeezed == squeeze(&w.shape) || (squeezed.len() <= 1 && count(found) == w.len())
}

fn count(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d))
}

fn elements(shape: &[u64]) -> String {
    match count(shape) {
        Some(1) => " (1 element)".into(),
        Some(n) => format!(" ({n} elements)"),
        None => String::new(),
    }
}

fn keys(fields: &Map<String, Value>) -> String {
    let names: Vec<String> = fields.keys().take(20).map(|k| format!("{k:?}")).collect();
    format!("[{}]", names.join(", "))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

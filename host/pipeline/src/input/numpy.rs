//! `.npy` and `.npz` files.

use super::{Array, Arrays, describe, shape};
use crate::error::{Error, Result};
use crate::values::Scalar;
use dsperse_plugin_api::TensorInfo;
use npyz::{DType, NpyFile, Order, TypeChar};
use std::io::{Cursor, Read};

pub(super) fn npy(bytes: &[u8], wanted: &[TensorInfo]) -> Result<Arrays> {
    let most = largest(wanted);
    Ok(Arrays::InOrder(vec![array(bytes, most, wanted)?]))
}

pub(super) fn npz(bytes: &[u8], wanted: &[TensorInfo]) -> Result<Arrays> {
    let broken = |e: zip::result::ZipError| Error::bad_input(format!("not an .npz archive: {e}"));
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let mut list = Vec::new();
    let most = largest(wanted);
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(broken)?;
        let file = entry.name().map_err(broken)?.into_owned();
        let Some(name) = npyz::npz::array_name_from_file_name(&file).map(str::to_owned) else {
            continue;
        };
        // Only what the model asks for is inflated, and no more of it than the model needs
        // (an element has at most 16 bytes, a header at most 64 KiB).
        let numbered = name
            .strip_prefix("arr_")
            .and_then(|n| n.parse::<usize>().ok());
        if wanted.iter().all(|w| w.name != name) && numbered.is_none() {
            continue;
        }
        let mut content = Vec::new();
        entry
            .take(most.saturating_mul(16).saturating_add(1 << 16))
            .read_to_end(&mut content)
            .map_err(|e| Error::bad_input(format!("array \"{name}\" can't be read: {e}")))?;
        let found = array(&content, most, wanted).map_err(|e| e.at(format!("array \"{name}\"")))?;
        list.push((name, numbered, found));
    }
    if wanted
        .iter()
        .any(|w| list.iter().any(|(n, ..)| *n == w.name))
    {
        return Ok(Arrays::ByName(
            list.into_iter().map(|(n, _, a)| (n, a)).collect(),
        ));
    }
    // `np.savez(file, a, b)` calls its arrays arr_0, arr_1, …
    list.sort_by_key(|(_, numbered, _)| *numbered);
    if list.is_empty() {
        return Err(Error::bad_input(format!(
            "the archive holds no array for {}",
            describe(wanted)
        )));
    }
    Ok(Arrays::InOrder(list.into_iter().map(|(.., a)| a).collect()))
}

fn largest(wanted: &[TensorInfo]) -> u64 {
    wanted.iter().filter_map(TensorInfo::len).max().unwrap_or(0)
}

fn array(bytes: &[u8], most: u64, wanted: &[TensorInfo]) -> Result<Array> {
    let file =
        NpyFile::new(bytes).map_err(|e| Error::bad_input(format!("not an .npy array: {e}")))?;
    let dims = file.shape().to_vec();
    let elements = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    // Before anything is allocated by what a header says.
    if elements.is_none_or(|n| n > most) {
        return Err(Error::bad_input(format!(
            "expected shape {}, found {}",
            wanted
                .iter()
                .map(|w| shape(&w.shape))
                .collect::<Vec<_>>()
                .join(" or "),
            shape(&dims)
        )));
    }
    let fortran = file.order() == Order::Fortran;
    let DType::Plain(ty) = file.dtype() else {
        return Err(Error::bad_input("structured arrays can't be model inputs"));
    };
    let unreadable = |e: std::io::Error| Error::bad_input(format!("the array is truncated: {e}"));
    macro_rules! read {
        ($t:ty, $wrap:expr) => {
            file.into_vec::<$t>()
                .map_err(unreadable)?
                .into_iter()
                .map($wrap)
                .collect::<Vec<Scalar>>()
        };
    }
    let elements = match (ty.type_char(), ty.size_field()) {
        (TypeChar::Float, 2) => read!(half::f16, |v| Scalar::Float(v.to_f64())),
        (TypeChar::Float, 4) => read!(f32, |v| Scalar::Float(v.into())),
        (TypeChar::Float, 8) => read!(f64, Scalar::Float),
        (TypeChar::Int, 1) => read!(i8, |v| Scalar::Int(v.into())),
        (TypeChar::Int, 2) => read!(i16, |v| Scalar::Int(v.into())),
        (TypeChar::Int, 4) => read!(i32, |v| Scalar::Int(v.into())),
        (TypeChar::Int, 8) => read!(i64, |v| Scalar::Int(v.into())),
        (TypeChar::Uint, 1) => read!(u8, |v| Scalar::Int(v.into())),
        (TypeChar::Uint, 2) => read!(u16, |v| Scalar::Int(v.into())),
        (TypeChar::Uint, 4) => read!(u32, |v| Scalar::Int(v.into())),
        (TypeChar::Uint, 8) => read!(u64, |v| Scalar::Int(v.into())),
        (TypeChar::Bool, 1) => read!(bool, |v| Scalar::Int(v.into())),
        _ => {
            return Err(Error::bad_input(format!(
                "element type \"{ty}\" can't be used: expected floats, integers or booleans"
            )));
        }
    };
    let elements = if fortran {
        row_major(&elements, &dims)
    } else {
        elements
    };
    Ok(Array {
        shape: dims,
        elements,
    })
}

/// Column-major to row-major.
fn row_major(elements: &[Scalar], dims: &[u64]) -> Vec<Scalar> {
    let mut index = vec![0u64; dims.len()];
    let mut out = Vec::with_capacity(elements.len());
    for _ in 0..elements.len() {
        let mut offset = 0;
        let mut stride = 1;
        for (i, d) in index.iter().zip(dims) {
            offset += i * stride;
            stride *= d;
        }
        let element = usize::try_from(offset).ok().and_then(|o| elements.get(o));
        out.extend(element.copied());
        for (i, d) in index.iter_mut().zip(dims).rev() {
            *i += 1;
            if *i < *d {
                break;
            }
            *i = 0;
        }
    }
    out
}

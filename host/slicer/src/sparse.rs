//! Turns sparse constants into dense ones: shape inference and most executors know only
//! those, and a slice must be readable by all of them.

use crate::error::{Result, SliceError};
use bytes::Bytes;
use dsperse_onnx::{
    AttributeProto, GraphProto, OnnxError, SparseTensorProto, Tensor, TensorProto, tensor,
};

/// Dense forms larger than this are refused: a few bytes of a file could ask for any amount
/// of memory.
const MAX_BYTES: usize = 1 << 31;

/// Replaces sparse initializers and sparse `Constant` values of the main graph.
pub(crate) fn densify(graph: &mut GraphProto) -> Result<()> {
    for s in std::mem::take(&mut graph.sparse_initializer) {
        graph.initializer.push(dense(&s)?);
    }
    for n in graph.node.iter_mut().filter(|n| n.is_constant()) {
        for a in &mut n.attribute {
            if let Some(s) = &a.sparse_tensor {
                *a = AttributeProto::from_tensor("value", dense(s)?);
            }
        }
    }
    Ok(())
}

fn dense(s: &SparseTensorProto) -> Result<TensorProto> {
    let values = s.values.as_ref();
    let name = values.map_or("", TensorProto::name);
    let wrong = |reason: &str| {
        SliceError::Onnx(OnnxError::Tensor {
            tensor: name.to_owned(),
            reason: reason.to_owned(),
        })
    };
    let (Some(values), Some(indices)) = (values, &s.indices) else {
        return Err(wrong("a sparse tensor needs values and indices"));
    };
    let mut out = TensorProto {
        name: values.name.clone(),
        data_type: values.data_type,
        dims: s.dims.clone(),
        ..TensorProto::default()
    };
    let (dims, elements) = tensor::dims(&out)?;
    let dtype = tensor::dtype(values)?;
    let width = dtype
        .bits()
        .filter(|b| b % 8 == 0)
        .map(|b| b / 8)
        .ok_or_else(|| wrong("sparse tensors of this type are not supported"))?;
    let bytes = elements
        .checked_mul(width)
        .filter(|n| *n < MAX_BYTES)
        .ok_or_else(|| wrong("its dense form takes 2 GiB or more"))?;
    let source = tensor::raw(values)?;
    let count = source.len() / width;
    let positions = Tensor::read(indices)?
        .values
        .to_i64()
        .ok_or_else(|| wrong("its indices are not integers"))?;
    // Either one linear index for each value, or one index for each axis.
    let linear: Vec<Option<usize>> = if positions.len() == count && indices.dims.len() == 1 {
        positions.iter().map(|p| usize::try_from(*p).ok()).collect()
    } else if !dims.is_empty() && positions.len() == count * dims.len() {
        positions
            .chunks_exact(dims.len())
            .map(|p| {
                p.iter().zip(&dims).try_fold(0usize, |at, (i, d)| {
                    let i = usize::try_from(*i).ok().filter(|i| i < d)?;
                    at.checked_mul(*d)?.checked_add(i)
                })
            })
            .collect()
    } else {
        return Err(wrong("it has not as many indices as values"));
    };
    let mut raw = vec![0u8; bytes];
    for (at, value) in linear.into_iter().zip(source.chunks_exact(width)) {
        let place = at
            .filter(|at| *at < elements)
            .and_then(|at| raw.get_mut(at * width..(at + 1) * width))
            .ok_or_else(|| wrong("an index lies outside its sizes"))?;
        place.copy_from_slice(value);
    }
    out.raw_data = Some(Bytes::from(raw));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_onnx::Values;

    fn sparse(indices: Tensor, dims: &[i64]) -> SparseTensorProto {
        let values = Tensor::new(vec![2], Values::F32(vec![5.0, 7.0])).unwrap();
        SparseTensorProto {
            values: Some(values.to_proto("s")),
            indices: Some(indices.to_proto("")),
            dims: dims.to_vec(),
        }
    }

    #[test]
    fn both_forms_of_indices() {
        let linear = Tensor::new(vec![2], Values::I64(vec![1, 5])).unwrap();
        let by_axis = Tensor::new(vec![2, 2], Values::I64(vec![0, 1, 1, 2])).unwrap();
        for indices in [linear, by_axis] {
            let t = Tensor::read(&dense(&sparse(indices, &[2, 3])).unwrap()).unwrap();
            assert_eq!(t.values, Values::F32(vec![0.0, 5.0, 0.0, 0.0, 0.0, 7.0]));
        }
    }

    #[test]
    fn wrong_ones_are_refused() {
        let linear = |v| Tensor::new(vec![2], Values::I64(v)).unwrap();
        let text = |t, dims: &[i64]| dense(&sparse(t, dims)).unwrap_err().to_string();
        assert!(text(linear(vec![0, 6]), &[2, 3]).contains("outside"));
        assert!(text(linear(vec![0, -1]), &[2, 3]).contains("outside"));
        assert!(text(linear(vec![0, 1]), &[1 << 40]).contains("2 GiB"));
        let three = Tensor::new(vec![3], Values::I64(vec![0, 1, 2])).unwrap();
        assert!(text(three, &[2, 3]).contains("as many indices"));
    }
}

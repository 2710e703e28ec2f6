//! Sliding windows and pooling.

use super::{Importer, Step};
use crate::array::Array;
use crate::graph::{Id, Op, Window};
use dsperse_onnx::NodeProto;
use dsperse_sumcheck_verifier::wire::Factor;

/// The window of one spatial dimension, with what lies after the last element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) kernel: usize,
    pub(super) size: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) pad: usize,
    pad_end: usize,
}

impl Span {
    /// The window as a factor on dimension `dim`.
    pub(super) fn factor(&self, dim: usize) -> Factor {
        Factor::Window {
            dim,
            kernel: self.kernel,
            size: self.size,
            stride: self.stride,
            dilation: self.dilation,
            pad: self.pad,
        }
    }

    /// The window of one element as a factor.
    pub(super) fn strided(&self, dim: usize, length: usize) -> Factor {
        if self.stride == 1 && self.pad == 0 && self.size == length {
            return Factor::Keep { dim };
        }
        Factor::Strided {
            dim,
            size: self.size,
            start: -(self.pad as i64),
            step: self.stride as i64,
        }
    }

    fn window(&self, dim: usize) -> Window {
        Window {
            dim,
            kernel: self.kernel,
            size: self.size,
            stride: self.stride,
            dilation: self.dilation,
            pad: self.pad,
        }
    }

    /// For each position, how many of the window's elements lie in the tensor (or in
    /// tensor and padding, when `with_pads`).
    fn counts(&self, length: usize, with_pads: bool) -> Vec<f64> {
        let (lo, hi) = if with_pads {
            (0, length + self.pad + self.pad_end)
        } else {
            (self.pad, length + self.pad)
        };
        (0..self.size)
            .map(|o| {
                let at = |k: usize| o * self.stride + k * self.dilation;
                (0..self.kernel)
                    .filter(|&k| (lo..hi).contains(&at(k)))
                    .count() as f64
            })
            .collect()
    }
}

/// The windows of all spatial dimensions.
pub(super) struct Windows(pub(super) Vec<Span>);

impl Windows {
    /// Reads strides, pads and dilations of a node.
    pub(super) fn read(
        node: &NodeProto,
        spatial: &[usize],
        kernel: &[usize],
        ceil: bool,
    ) -> Step<Self> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        let n = spatial.len();
        let list = |name: &str, length: usize, default: usize| -> Step<Vec<usize>> {
            let Some(v) = node.ints(name).map_err(text)? else {
                return Ok(vec![default; length]);
            };
            let ok: Option<Vec<usize>> = v.iter().map(|&x| usize::try_from(x).ok()).collect();
            ok.filter(|v| v.len() == length && v.iter().all(|&x| x <= 1 << 24))
                .ok_or_else(|| format!("attribute \"{name}\" is {v:?}"))
        };
        let strides = list("strides", n, 1)?;
        let dilations = list("dilations", n, 1)?;
        let pads = list("pads", 2 * n, 0)?;
        let auto = node.string_or("auto_pad", "NOTSET").map_err(text)?;
        let mut spans = Vec::new();
        for i in 0..n {
            let (stride, dilation, k) = (strides[i], dilations[i], kernel[i]);
            if stride == 0 || dilation == 0 || k == 0 {
                return Err("a stride, dilation or kernel is 0".into());
            }
            let reach = dilation * (k - 1) + 1;
            let (pad, pad_end) = match auto {
                "NOTSET" => (pads[i], pads[n + i]),
                "VALID" => (0, 0),
                "SAME_UPPER" | "SAME_LOWER" => {
                    let positions = spatial[i].div_ceil(stride);
                    let total = ((positions - 1) * stride + reach).saturating_sub(spatial[i]);
                    let (less, more) = (total / 2, total.div_ceil(2));
                    if auto == "SAME_UPPER" {
                        (less, more)
                    } else {
                        (more, less)
                    }
                }
                other => return Err(format!("the padding mode \"{other}\" is unknown")),
            };
            let room = (spatial[i] + pad + pad_end)
                .checked_sub(reach)
                .ok_or("its window is larger than its input")?;
            let mut size = room / stride + 1;
            if ceil {
                size = room.div_ceil(stride) + 1;
                // The last window must start in the tensor or in the padding before it.
                if (size - 1) * stride >= spatial[i] + pad {
                    size -= 1;
                }
            }
            spans.push(Span {
                kernel: k,
                size,
                stride,
                dilation,
                pad,
                pad_end,
            });
        }
        Ok(Self(spans))
    }
}

impl Importer<'_> {
    fn pool_windows(&self, node: &NodeProto, shape: &[usize]) -> Step<Windows> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        let kernel = node
            .ints("kernel_shape")
            .map_err(text)?
            .ok_or("its kernel shape is missing")?;
        let spatial = shape.get(2..).unwrap_or_default();
        if spatial.is_empty() || spatial.len() != kernel.len() {
            return Err(format!(
                "kernel {kernel:?} does not fit the input {shape:?}"
            ));
        }
        let kernel: Option<Vec<usize>> = kernel
            .iter()
            .map(|&k| usize::try_from(k).ok().filter(|&k| k <= 1 << 24))
            .collect();
        let kernel = kernel.ok_or("its kernel shape is not positive")?;
        let ceil = node.int_or("ceil_mode", 0).map_err(text)? != 0;
        Windows::read(node, spatial, &kernel, ceil)
    }

    pub(super) fn max_pool(&mut self, node: &NodeProto) -> Step<Id> {
        let input = self.input(node, 0)?;
        let shape = self.shape(input);
        let windows = self.pool_windows(node, &shape)?;
        for (i, s) in windows.0.iter().enumerate() {
            if s.counts(shape[2 + i], false).contains(&0.0) {
                return Err("one of its windows lies in the padding only".into());
            }
        }
        let windows = windows.0.iter().enumerate().map(|(i, s)| s.window(2 + i));
        self.graph.add(Op::MaxPool {
            input,
            windows: windows.collect(),
        })
    }

    pub(super) fn global_max_pool(&mut self, node: &NodeProto) -> Step<Id> {
        let input = self.input(node, 0)?;
        let rank = self.shape(input).len();
        if rank < 3 {
            return Err("its input has no spatial dimensions".into());
        }
        self.greatest(input, &(2..rank).collect::<Vec<_>>())
    }

    /// Greatest element over axes, which keep size 1.
    pub(super) fn greatest(&mut self, input: Id, axes: &[usize]) -> Step<Id> {
        let shape = self.shape(input);
        let windows = axes
            .iter()
            .filter(|&&dim| shape[dim] > 1)
            .map(|&dim| Window {
                dim,
                kernel: shape[dim],
                size: 1,
                stride: 1,
                dilation: 1,
                pad: 0,
            });
        let windows: Vec<Window> = windows.collect();
        if windows.is_empty() {
            return Ok(input);
        }
        self.graph.add(Op::MaxPool { input, windows })
    }

    pub(super) fn average_pool(&mut self, node: &NodeProto) -> Step<Id> {
        let input = self.input(node, 0)?;
        let shape = self.shape(input);
        let windows = self.pool_windows(node, &shape)?;
        let with_pads = node
            .int_or("count_include_pad", 0)
            .map_err(|e| e.to_string())?
            != 0;
        let mut factors = vec![Factor::Keep { dim: 0 }, Factor::Keep { dim: 1 }];
        let mut weight = Array::filled(vec![], 1.0);
        for (i, s) in windows.0.iter().enumerate() {
            factors.push(Factor::Pool {
                dim: 2 + i,
                kernel: s.kernel,
                size: s.size,
                stride: s.stride,
                dilation: s.dilation,
                pad: s.pad,
            });
            let counts = s.counts(shape[2 + i], with_pads);
            if counts.contains(&0.0) {
                return Err("one of its windows lies in the padding only".into());
            }
            let mut dims = weight.shape.clone();
            dims.push(counts.len());
            let data = weight.data.iter();
            let data = data
                .flat_map(|w| counts.iter().map(move |c| w / c))
                .collect();
            weight = Array::new(dims, data).ok_or("its windows have a wrong size")?;
        }
        let sum = self.wire(input, factors)?;
        let weight = self.graph.constant_node(weight);
        self.product(sum, weight)
    }

    pub(super) fn global_average_pool(&mut self, node: &NodeProto) -> Step<Id> {
        let input = self.input(node, 0)?;
        let rank = self.shape(input).len();
        if rank < 3 {
            return Err("its input has no spatial dimensions".into());
        }
        self.mean(input, (2..rank).collect())
    }
}

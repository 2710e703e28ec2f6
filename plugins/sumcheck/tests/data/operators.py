"""Makes operators.zip: one small ONNX model for each case, inputs, and ONNX Runtime's answers.

The cases are the reference for what the sumcheck backend's importer understands by each
operator, so they come from another implementation. Run it again after adding a case:

    python plugins/sumcheck/tests/data/operators.py

Needs numpy, onnx and onnxruntime. The archive holds, for each case, `CASE/model.onnx` and
`CASE/SAMPLE/{input,output}_I.npy` for four samples.
"""

import io
import pathlib
import zipfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(7)
SAMPLES = 4
CASES = []


def f(*shape, scale=1.0):
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def ints(*values):
    return np.array(values, dtype=np.int64)


def case(name, nodes, inputs, consts=None, outputs=("y",), opset=17, low=None, high=None, types=None):
    """`nodes` are (op, inputs, outputs, attributes); `inputs` are name -> shape; `types` are
    name -> element type of inputs and outputs that are no floats. Integers are drawn from
    low..high, high left out."""
    types = types or {}
    number = lambda n: helper.np_dtype_to_tensor_dtype(np.dtype(types.get(n, np.float32)))
    made = [
        helper.make_node(op, ins, outs, name=f"n{i}", domain=attrs.pop("domain", ""), **attrs)
        for i, (op, ins, outs, attrs) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        name,
        [helper.make_tensor_value_info(n, number(n), s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(o, number(o), None) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (consts or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8 if opset < 19 else 9
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for made, known in zip(model.graph.output, session.get_outputs()):
        if not made.type.tensor_type.HasField("shape"):
            made.type.CopyFrom(helper.make_tensor_type_proto(number(made.name), known.shape))
    onnx.checker.check_model(model, full_check=True)
    samples = []
    for _ in range(SAMPLES):
        feed = {}
        for n, s in inputs.items():
            x = f(*s)
            if n in types:
                x = RNG.integers(low or 0, high or 2, s).astype(types[n])
            elif low is not None:
                x = RNG.uniform(low, high, s).astype(np.float32)
            feed[n] = x
        samples.append((list(feed.values()), session.run(list(outputs), feed)))
    CASES.append((name, model, samples))


def one(name, op, shape, consts=None, opset=17, extra=(), low=None, high=None, **attrs):
    """One node that reads `x` and then the constants, in order."""
    consts = consts or {}
    names = ["x", *extra, *consts]
    case(name, [(op, names, ["y"], attrs)], {"x": shape}, consts, opset=opset, low=low, high=high)


# Linear layers
one("gemm", "Gemm", [1, 12], {"w": f(12, 5), "b": f(5)})
one("gemm_flipped", "Gemm", [7, 3], {"w": f(4, 7), "b": f(3, 1)}, transA=1, transB=1, alpha=0.5, beta=2.0)
one("gemm_scalar_bias", "Gemm", [2, 6], {"w": f(6, 4), "b": np.float32(0.7)}, alpha=-1.5)
one("gemm_no_bias", "Gemm", [3, 6], {"w": f(4, 6)}, transB=1)
one("gemm_full_bias", "Gemm", [3, 6], {"w": f(6, 4), "b": f(3, 4)})
case("gemm_computed", [("Gemm", ["x", "z"], ["y"], {"transB": 1, "alpha": 0.3})], {"x": [3, 5], "z": [4, 5]})
one("matmul", "MatMul", [3, 8], {"w": f(8, 5)})
one("matmul_3d", "MatMul", [2, 3, 8], {"w": f(8, 5)})
one("matmul_vector", "MatMul", [8], {"w": f(8, 5)})
one("matmul_column", "MatMul", [4, 8], {"w": f(8)})
one("matmul_batched_weight", "MatMul", [2, 3, 4], {"w": f(2, 4, 5)})
case("matmul_weight_left", [("MatMul", ["w", "x"], ["y"], {})], {"x": [6, 4]}, {"w": f(3, 6)})
case("matmul_computed", [("MatMul", ["x", "z"], ["y"], {})], {"x": [2, 3, 4], "z": [2, 4, 5]})
case("matmul_broadcast", [("MatMul", ["x", "z"], ["y"], {})], {"x": [2, 1, 3, 4], "z": [3, 4, 5]})
case("matmul_self", [("Transpose", ["x"], ["t"], {}), ("MatMul", ["x", "t"], ["y"], {})], {"x": [3, 4]})

# Convolutions: fixed corners, then random attributes
one("conv_1x1", "Conv", [1, 4, 5, 5], {"w": f(6, 4, 1, 1), "b": f(6)})
one("conv_1x1_strided", "Conv", [1, 4, 5, 5], {"w": f(6, 4, 1, 1)}, strides=[2, 2], pads=[1, 0, 1, 0])
one("conv_same_upper", "Conv", [1, 2, 7, 6], {"w": f(3, 2, 3, 3)}, auto_pad="SAME_UPPER", strides=[2, 2])
one("conv_same_lower", "Conv", [1, 2, 7, 6], {"w": f(3, 2, 2, 2)}, auto_pad="SAME_LOWER")
one("conv_valid", "Conv", [1, 2, 7, 6], {"w": f(3, 2, 3, 2)}, auto_pad="VALID")
one("conv_depthwise", "Conv", [1, 4, 6, 6], {"w": f(4, 1, 3, 3), "b": f(4)}, group=4, pads=[1, 1, 1, 1])
one("conv_groups", "Conv", [2, 6, 5, 5], {"w": f(4, 3, 3, 3), "b": f(4)}, group=2)
one("conv_1d", "Conv", [1, 3, 17], {"w": f(4, 3, 5), "b": f(4)}, strides=[2], pads=[2, 1], dilations=[2])
one("conv_1d_groups", "Conv", [1, 4, 9], {"w": f(8, 1, 3)}, group=4, pads=[1, 1])
for i in range(8):
    k = RNG.integers(1, 4, 2)
    g = int(RNG.choice([1, 1, 2]))
    c = g * int(RNG.integers(1, 3))
    one(
        f"conv_random_{i}", "Conv", [int(RNG.integers(1, 3)), c, int(RNG.integers(7, 11)), int(RNG.integers(7, 11))],
        {"w": f(g * 2, c // g, *k)},
        group=g, strides=RNG.integers(1, 4, 2).tolist(), dilations=RNG.integers(1, 3, 2).tolist(),
        pads=RNG.integers(0, 3, 4).tolist(),
    )


def bn(n):
    return {"s": f(n), "t": f(n), "m": f(n), "v": np.abs(f(n)) + np.float32(0.3)}


one("batch_norm", "BatchNormalization", [1, 3, 4, 4], bn(3), epsilon=1e-3)
one("batch_norm_2d", "BatchNormalization", [2, 5], bn(5))
p = bn(4)
case("batch_norm_folded", [("Conv", ["x", "w"], ["c"], {}), ("BatchNormalization", ["c", *p], ["y"], {})],
     {"x": [1, 2, 5, 5]}, {"w": f(4, 2, 3, 3), **p})
case("batch_norm_folded_groups", [("Conv", ["x", "w", "b"], ["c"], {"group": 2}), ("BatchNormalization", ["c", *p], ["y"], {})],
     {"x": [1, 4, 5, 5]}, {"w": f(4, 2, 3, 3), "b": f(4), **p})
case("batch_norm_not_folded",
     [("Conv", ["x", "w"], ["c"], {}), ("BatchNormalization", ["c", *p], ["n"], {}), ("Add", ["c", "n"], ["y"], {})],
     {"x": [1, 2, 5, 5]}, {"w": f(4, 2, 3, 3), **p})
case("batch_norm_gemm", [("Gemm", ["x", "w"], ["c"], {}), ("BatchNormalization", ["c", *p], ["y"], {})],
     {"x": [2, 6]}, {"w": f(6, 4), **p})

one("lrn", "LRN", [1, 7, 3, 4], size=5, alpha=0.3, beta=0.75, bias=2.0)
one("lrn_defaults", "LRN", [2, 6, 2, 2], size=3, low=-60, high=60)

# Element by element
one("relu", "Relu", [2, 3, 4])
one("leaky_relu", "LeakyRelu", [2, 9], alpha=0.1)
one("clip", "Clip", [2, 9], {"lo": np.float32(-0.5), "hi": np.float32(0.8)})
case("clip_upper", [("Clip", ["x", "", "hi"], ["y"], {})], {"x": [9]}, {"hi": np.float32(0.3)})
one("clip_old", "Clip", [2, 9], opset=10, min=0.0, max=6.0)
one("neg", "Neg", [5])
one("add_constant", "Add", [2, 3, 4], {"b": f(3, 1)})
one("add_scalar", "Add", [2, 3], {"b": np.float32(1.25)})
case("add_computed", [("Add", ["x", "z"], ["y"], {})], {"x": [2, 3, 4], "z": [3, 1]})
case("sub_computed", [("Sub", ["x", "z"], ["y"], {})], {"x": [4], "z": [2, 3, 1]})
case("sub_from_constant", [("Sub", ["c", "x"], ["y"], {})], {"x": [2, 3]}, {"c": f(2, 3)})
case("sum", [("Sum", ["x", "z", "c"], ["y"], {})], {"x": [2, 3], "z": [3]}, {"c": f(2, 1)})
one("dropout", "Dropout", [2, 3])
case("add_twice", [("Add", ["x", "x"], ["y"], {})], {"x": [2, 3]})
one("mul_constant", "Mul", [2, 3, 4], {"b": f(3, 1)})
one("mul_scalar", "Mul", [2, 3], {"b": np.float32(-0.37)})
case("mul_computed", [("Mul", ["x", "z"], ["y"], {})], {"x": [2, 3, 4], "z": [1, 3, 1]})
case("mul_square", [("Mul", ["x", "x"], ["y"], {})], {"x": [7]})
one("div_constant", "Div", [2, 3], {"b": np.abs(f(3)) + np.float32(0.5)})
one("div_scalar", "Div", [2, 3], {"b": np.float32(8.0)})
one("pow_square", "Pow", [2, 3], {"e": np.float32(2.0)})
one("pow_cube", "Pow", [2, 3], {"e": np.float32(3.0)})
one("sigmoid", "Sigmoid", [3, 5], low=-6, high=6)
one("tanh", "Tanh", [3, 5], low=-3, high=3)
one("erf", "Erf", [3, 5], low=-2, high=2)
one("exp", "Exp", [3, 5], low=-4, high=1)
one("sqrt", "Sqrt", [3, 5], low=0.0, high=4)
one("gelu", "Gelu", [3, 5], opset=20)
one("gelu_tanh", "Gelu", [3, 5], opset=20, approximate="tanh")
case("gelu_by_erf",
     [("Div", ["x", "r"], ["a"], {}), ("Erf", ["a"], ["e"], {}), ("Add", ["e", "one"], ["p"], {}),
      ("Mul", ["x", "p"], ["q"], {}), ("Mul", ["q", "half"], ["y"], {})],
     {"x": [4, 6]}, {"r": np.float32(2 ** 0.5), "one": np.float32(1), "half": np.float32(0.5)})
case("silu", [("Sigmoid", ["x"], ["s"], {}), ("Mul", ["x", "s"], ["y"], {})], {"x": [4, 6]})

# Pooling
one("max_pool", "MaxPool", [1, 3, 6, 6], kernel_shape=[2, 2], strides=[2, 2])
one("max_pool_padded", "MaxPool", [1, 2, 7, 5], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
one("max_pool_ceil", "MaxPool", [1, 2, 7, 8], kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1)
one("max_pool_dilated", "MaxPool", [1, 2, 9, 9], kernel_shape=[3, 2], dilations=[2, 3])
one("max_pool_1d", "MaxPool", [1, 2, 12], kernel_shape=[5], strides=[2], pads=[2, 0])
one("max_pool_same", "MaxPool", [1, 2, 5, 5], kernel_shape=[2, 2], auto_pad="SAME_UPPER")
one("average_pool", "AveragePool", [1, 3, 6, 6], kernel_shape=[2, 2], strides=[2, 2])
one("average_pool_padded", "AveragePool", [1, 2, 7, 5], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
one("average_pool_with_pads", "AveragePool", [1, 2, 7, 5], kernel_shape=[3, 3], pads=[1, 0, 2, 1], count_include_pad=1)
one("average_pool_ceil", "AveragePool", [1, 2, 7, 8], kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1)
one("average_pool_1d", "AveragePool", [1, 2, 12], kernel_shape=[3], strides=[2], pads=[1, 1])
one("global_average_pool", "GlobalAveragePool", [1, 3, 5, 4])
one("reduce_mean", "ReduceMean", [2, 3, 5], axes=[1, -1])
one("reduce_mean_all", "ReduceMean", [2, 3], keepdims=0)
one("reduce_mean_input", "ReduceMean", [2, 3, 4], {"axes": ints(0, 2)}, opset=18, keepdims=0)
one("reduce_sum", "ReduceSum", [2, 3, 5], {"axes": ints(1)}, keepdims=0)
one("reduce_sum_old", "ReduceSum", [2, 3, 5], opset=11, axes=[0, 2])

# Movement
case("concat", [("Concat", ["x", "z", "c"], ["y"], {"axis": 1})], {"x": [2, 3, 2], "z": [2, 1, 2]}, {"c": f(2, 2, 2)})
case("concat_scales", [("Mul", ["x", "k"], ["a"], {}), ("Concat", ["a", "x"], ["y"], {"axis": -1})],
     {"x": [2, 3]}, {"k": np.float32(100.0)})
case("split", [("Split", ["x"], ["a", "b"], {"axis": 1}), ("Sub", ["a", "b"], ["y"], {})], {"x": [2, 6]})
case("split_uneven", [("Split", ["x", "s"], ["y", "z"], {"axis": -1})], {"x": [2, 5]}, {"s": ints(2, 3)}, outputs=("y", "z"))
case("split_old", [("Split", ["x"], ["y", "z"], {"axis": 0, "split": [1, 3]})], {"x": [4, 2]}, outputs=("y", "z"), opset=11)
one("slice", "Slice", [5, 6, 3], {"s": ints(1, -5), "e": ints(4, 2**62), "a": ints(0, 1), "t": ints(1, 2)})
one("slice_reverse", "Slice", [5, 6], {"s": ints(-1, 4), "e": ints(-(2**62), 0), "a": ints(0, 1), "t": ints(-1, -2)})
one("slice_old", "Slice", [5, 6], opset=9, starts=[1], ends=[-1], axes=[1])
one("gather", "Gather", [5, 3], {"i": np.array([[0, -1], [2, 2]], dtype=np.int64)})
one("gather_scalar", "Gather", [2, 5, 3], {"i": np.int64(3)}, axis=1)
one("pad", "Pad", [2, 3], {"p": ints(1, 0, 2, 1)})
one("pad_value", "Pad", [2, 3], {"p": ints(0, 1, 1, 2), "v": np.float32(1.5)})
one("pad_reflect", "Pad", [2, 4], {"p": ints(0, 3, 0, 2)}, mode="reflect")
one("pad_edge", "Pad", [2, 4], {"p": ints(1, 2, 0, 1)}, mode="edge")
one("pad_crop", "Pad", [4, 4], {"p": ints(-1, 0, 0, -2)})
one("pad_axes", "Pad", [4, 4], {"p": ints(1, 2), "v": np.float32(0), "a": ints(1)}, opset=18)
one("flatten", "Flatten", [2, 3, 4], axis=2)
one("reshape", "Reshape", [2, 3, 4], {"s": ints(0, -1, 2)})
one("reshape_groups", "Reshape", [2, 12, 1, 5], {"s": ints(1, 2, 3, 4, 5)})
one("transpose", "Transpose", [2, 3, 4], perm=[2, 0, 1])
one("transpose_default", "Transpose", [2, 3])
one("squeeze", "Squeeze", [2, 1, 3, 1], {"a": ints(1)})
one("squeeze_all", "Squeeze", [2, 1, 3, 1])
one("unsqueeze", "Unsqueeze", [2, 3], {"a": ints(0, -1)})
one("unsqueeze_old", "Unsqueeze", [2, 3], opset=11, axes=[1])
one("identity", "Identity", [2, 3])
case("constant", [("Constant", [], ["c"], {"value": numpy_helper.from_array(f(3))}), ("Add", ["x", "c"], ["y"], {})], {"x": [2, 3]})

# Division by computed numbers
one("softmax", "Softmax", [3, 7], low=-4, high=4)
one("softmax_axis", "Softmax", [2, 5, 3], axis=1, low=-4, high=4)
one("softmax_old", "Softmax", [2, 3, 4], opset=11, axis=1, low=-4, high=4)
one("softmax_wide", "Softmax", [1, 17], low=-30, high=30)
one("softmax_coarse", "Softmax", [2, 6], low=-1e6, high=1e6)
one("layer_norm", "LayerNormalization", [2, 3, 16], {"s": f(16), "b": f(16)})
one("layer_norm_axes", "LayerNormalization", [2, 3, 5], {"s": f(3, 5)}, axis=1, epsilon=1e-3)
one("layer_norm_long", "LayerNormalization", [2, 300], {"s": f(300), "b": f(300)})
one("layer_norm_small", "LayerNormalization", [3, 8], {"s": f(8), "b": f(8)}, low=-0.01, high=0.01)
for square in ("Pow", "Mul"):
    case(f"layer_norm_by_{square.lower()}",
         [("ReduceMean", ["x"], ["m"], {"axes": [-1]}), ("Sub", ["x", "m"], ["d"], {}),
          (square, ["d", "two" if square == "Pow" else "d"], ["q"], {}),
          ("ReduceMean", ["q"], ["v"], {"axes": [-1]}), ("Add", ["v", "eps"], ["w"], {}),
          ("Sqrt", ["w"], ["r"], {}), ("Div", ["d", "r"], ["n"], {}), ("Mul", ["n", "g"], ["k"], {}),
          ("Add", ["k", "b"], ["y"], {})],
         {"x": [2, 4, 12]}, {"two": np.float32(2), "eps": np.float32(1e-5), "g": f(12), "b": f(12)})

# Small networks
case("folded_shape",
     [("Shape", ["x"], ["s"], {}), ("Gather", ["s", "i"], ["d"], {}), ("Unsqueeze", ["d", "zero"], ["u"], {}),
      ("Concat", ["u", "rest"], ["t"], {"axis": 0}), ("Reshape", ["x", "t"], ["y"], {})],
     {"x": [3, 2, 4]}, {"i": np.int64(0), "zero": ints(0), "rest": ints(-1)})
case("folded_weights", [("Transpose", ["w"], ["t"], {}), ("Mul", ["t", "k"], ["v"], {}), ("MatMul", ["x", "v"], ["y"], {})],
     {"x": [2, 6]}, {"w": f(4, 6), "k": np.float32(0.5)})
case("residual",
     [("Conv", ["x", "w", "b"], ["c"], {"pads": [1, 1, 1, 1]}), ("Add", ["c", "x"], ["s"], {}), ("Relu", ["s"], ["y"], {})],
     {"x": [1, 3, 5, 5]}, {"w": f(3, 3, 3, 3, scale=0.3), "b": f(3)})
case("conv_flatten_gemm",
     [("Conv", ["x", "w"], ["c"], {}), ("Relu", ["c"], ["r"], {}), ("MaxPool", ["r"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
      ("Flatten", ["p"], ["f"], {}), ("Gemm", ["f", "v", "b"], ["y"], {"transB": 1})],
     {"x": [1, 2, 6, 6]}, {"w": f(3, 2, 3, 3), "v": f(4, 12), "b": f(4)})
case("two_outputs", [("Gemm", ["x", "w"], ["y"], {}), ("Relu", ["y"], ["z"], {})], {"x": [2, 4]}, {"w": f(4, 3)}, outputs=("y", "z"))
case("output_copied", [("Relu", ["x"], ["y"], {}), ("Identity", ["y"], ["z"], {})], {"x": [5]}, outputs=("y", "z"))
case("attention",
     [("MatMul", ["x", "wq"], ["q"], {}), ("MatMul", ["x", "wk"], ["k"], {}), ("MatMul", ["x", "wv"], ["v"], {}),
      ("Transpose", ["k"], ["kt"], {"perm": [0, 2, 1]}), ("MatMul", ["q", "kt"], ["a"], {}), ("Mul", ["a", "scale"], ["b"], {}),
      ("Softmax", ["b"], ["p"], {}), ("MatMul", ["p", "v"], ["o"], {}), ("Add", ["x", "o"], ["y"], {})],
     {"x": [1, 5, 8]}, {"wq": f(8, 8, scale=0.4), "wk": f(8, 8, scale=0.4), "wv": f(8, 8, scale=0.4), "scale": np.float32(8 ** -0.5)})



# Choices, comparisons, integers
for op in ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"]:
    case(op.lower(), [(op, ["x", "z"], ["y"], {})], {"x": [3, 7], "z": [7]}, types={"y": np.bool_})
case("equal_integers", [("Equal", ["x", "z"], ["y"], {})], {"x": [3, 7], "z": [3, 7]}, low=-2, high=3,
     types={"x": np.int64, "z": np.int64, "y": np.bool_})
for op in ["And", "Or", "Xor"]:
    case(op.lower(), [(op, ["x", "z"], ["y"], {})], {"x": [3, 7], "z": [7]},
         types={"x": np.bool_, "z": np.bool_, "y": np.bool_})
case("not", [("Not", ["x"], ["y"], {})], {"x": [9]}, types={"x": np.bool_, "y": np.bool_})
case("where", [("Greater", ["x", "z"], ["c"], {}), ("Where", ["c", "x", "z"], ["y"], {})], {"x": [3, 5], "z": [3, 1]})
case("where_input", [("Where", ["c", "x", "k"], ["y"], {})], {"c": [3, 5], "x": [5]}, {"k": f(3, 1)}, types={"c": np.bool_})
case("where_constant", [("Where", ["c", "x", "z"], ["y"], {})], {"x": [4, 4], "z": [4]}, {"c": np.tril(np.ones((4, 4), dtype=bool))})
for name, far in [("infinity", -np.inf), ("least", np.finfo(np.float32).min), ("1e9", -1e9), ("1e4", -1e4)]:
    case(f"mask_where_{name}", [("Where", ["c", "x", "m"], ["s"], {}), ("Softmax", ["s"], ["y"], {})], {"x": [2, 6, 6]},
         {"c": np.tril(np.ones((6, 6), dtype=bool)), "m": np.float32(far)}, low=-3, high=3)
case("mask_input", [("Cast", ["m"], ["f"], {"to": TensorProto.FLOAT}), ("Sub", ["one", "f"], ["n"], {}), ("Mul", ["n", "far"], ["b"], {}),
                    ("Add", ["x", "b"], ["s"], {}), ("Softmax", ["s"], ["y"], {})],
     {"m": [1, 7], "x": [5, 7]}, {"one": np.float32(1), "far": np.float32(np.finfo(np.float32).min)}, types={"m": np.int64})
case("max", [("Max", ["x", "z", "c"], ["y"], {})], {"x": [3, 5], "z": [5]}, {"c": f(3, 1)})
case("max_different_scales", [("Mul", ["x", "k"], ["a"], {}), ("Max", ["a", "x"], ["y"], {})], {"x": [3, 5]}, {"k": np.float32(0.01)})
case("min", [("Min", ["x", "z"], ["y"], {})], {"x": [3, 5], "z": [3, 1]})
one("min_constant", "Min", [9], {"c": np.float32(0.3)})
one("abs", "Abs", [9])
one("sign", "Sign", [9])
one("floor", "Floor", [3, 9], low=-4, high=4)
one("ceil", "Ceil", [3, 9], low=-4, high=4)
one("round", "Round", [3, 9], low=-4, high=4)
case("cast_to_integers", [("Cast", ["x"], ["y"], {"to": TensorProto.INT64})], {"x": [3, 9]}, low=-9, high=9, types={"y": np.int64})
case("cast_of_integers", [("Cast", ["x"], ["f"], {"to": TensorProto.FLOAT}), ("Mul", ["f", "k"], ["y"], {})], {"x": [3, 9]},
     {"k": np.float32(0.37)}, low=-9, high=9, types={"x": np.int32})
case("cast_to_bool", [("Cast", ["x"], ["y"], {"to": TensorProto.BOOL})], {"x": [3, 9]}, low=-1, high=2, types={"x": np.int32, "y": np.bool_})
case("integers", [("Mul", ["x", "z"], ["p"], {}), ("Sub", ["p", "k"], ["d"], {}), ("Neg", ["d"], ["n"], {}), ("Max", ["n", "x"], ["y"], {})],
     {"x": [3, 4], "z": [4]}, {"k": ints(1, -20, 300, 4)}, low=-100, high=100, types={"x": np.int64, "z": np.int64, "y": np.int64})
case("integers_moved", [("Concat", ["x", "z"], ["c"], {"axis": 0}), ("Transpose", ["c"], ["t"], {}), ("Slice", ["t", "s", "e"], ["y"], {})],
     {"x": [2, 3], "z": [1, 3]}, {"s": ints(1), "e": ints(3)}, low=-5, high=5, types={"x": np.int32, "z": np.int32, "y": np.int32})
case("integers_and_floats", [("Identity", ["i"], ["j"], {}), ("Relu", ["x"], ["y"], {})], {"i": [3], "x": [4]}, outputs=("j", "y"),
     low=-5, high=5, types={"i": np.int64, "j": np.int64})
case("embedding", [("Gather", ["w", "ids"], ["e"], {}), ("MatMul", ["e", "v"], ["y"], {})], {"ids": [2, 5]}, {"w": f(11, 6), "v": f(6, 3)},
     low=0, high=11, types={"ids": np.int64})
case("embedding_tied", [("Gather", ["w", "ids"], ["e"], {}), ("Transpose", ["w"], ["t"], {}), ("MatMul", ["e", "t"], ["y"], {})],
     {"ids": [1, 5]}, {"w": f(11, 6)}, low=0, high=11, types={"ids": np.int32})
case("gather_rows", [("Gather", ["x", "ids"], ["y"], {"axis": 1})], {"x": [2, 5, 3], "ids": [4]}, low=0, high=5, types={"ids": np.int64})
case("gather_computed", [("ArgMax", ["x"], ["a"], {"axis": -1, "keepdims": 0}), ("Gather", ["w", "a"], ["y"], {})], {"x": [3, 5]}, {"w": f(5, 4)})
case("arg_max", [("ArgMax", ["x"], ["y"], {"axis": 1})], {"x": [3, 7]}, types={"y": np.int64})
case("arg_min_last", [("ArgMin", ["x"], ["y"], {"axis": 0, "keepdims": 0})], {"x": [5, 4]}, types={"y": np.int64})
case("one_hot", [("OneHot", ["ids", "d", "v"], ["y"], {})], {"ids": [4]}, {"d": ints(6), "v": np.array([0.5, 2.0], dtype=np.float32)},
     low=0, high=6, types={"ids": np.int64})

# Quotients and functions
case("div", [("Div", ["x", "z"], ["y"], {})], {"x": [3, 5], "z": [5]}, low=0.5, high=4)
case("div_signed", [("Add", ["z", "z"], ["w"], {}), ("Sign", ["z"], ["s"], {}), ("Add", ["w", "s"], ["d"], {}), ("Div", ["x", "d"], ["y"], {})], {"x": [3, 5], "z": [3, 1]})
one("reciprocal", "Reciprocal", [3, 5], low=0.4, high=3)
case("div_of_constant", [("Div", ["c", "x"], ["y"], {})], {"x": [3, 5]}, {"c": f(3, 1)}, low=1, high=3)
one("log", "Log", [3, 5], low=0.2, high=6)
one("sin", "Sin", [3, 5], low=-4, high=4)
one("cos", "Cos", [3, 5], low=-4, high=4)
one("pow_computed", "Pow", [3, 5], extra=(), consts={"e": np.abs(f(5)) + np.float32(0.5)}, low=0.3, high=2)
for op in ["Elu", "Selu", "Celu", "Softplus", "Softsign", "HardSigmoid", "HardSwish", "ThresholdedRelu"]:
    one(op.lower(), op, [3, 9], low=-3, high=3)
one("mish", "Mish", [3, 9], opset=18, low=-3, high=3)
one("prelu", "PRelu", [2, 3, 4], {"s": np.abs(f(3, 1))})
one("log_softmax", "LogSoftmax", [3, 7], low=-4, high=4)

# Reductions
one("reduce_max", "ReduceMax", [2, 3, 5], axes=[1], keepdims=0)
one("reduce_min", "ReduceMin", [2, 3, 5], axes=[-1])
one("reduce_l1", "ReduceL1", [2, 3, 5], axes=[-1])
one("reduce_l2", "ReduceL2", [2, 3, 5], axes=[-1])
one("reduce_sum_square", "ReduceSumSquare", [2, 3, 5], axes=[-1])
one("reduce_log_sum_exp", "ReduceLogSumExp", [2, 3, 5], axes=[-1])
one("cumsum", "CumSum", [3, 6], {"a": np.int64(1)})
one("trilu", "Trilu", [4, 4], upper=0)

# Shapes and images
one("expand", "Expand", [3, 1], {"s": ints(2, 3, 4)})
one("tile", "Tile", [2, 3], {"r": ints(2, 2)})
one("depth_to_space", "DepthToSpace", [1, 8, 2, 3], blocksize=2)
one("space_to_depth", "SpaceToDepth", [1, 2, 4, 6], blocksize=2)
case("resize_nearest", [("Resize", ["x", "", "s"], ["y"], {"mode": "nearest"})], {"x": [1, 2, 3, 4]}, {"s": np.array([1, 1, 2, 2], dtype=np.float32)})
case("resize_linear", [("Resize", ["x", "", "s"], ["y"], {"mode": "linear"})], {"x": [1, 2, 3, 4]}, {"s": np.array([1, 1, 2, 2], dtype=np.float32)})
one("conv_3d", "Conv", [1, 2, 4, 5, 4], {"w": f(3, 2, 2, 3, 2), "b": f(3)}, pads=[1, 0, 1, 0, 1, 0])
one("conv_transpose", "ConvTranspose", [1, 3, 4, 4], {"w": f(3, 2, 3, 3), "b": f(2)}, strides=[2, 2], pads=[1, 1, 1, 1])
one("max_pool_3d", "MaxPool", [1, 2, 4, 4, 4], kernel_shape=[2, 2, 2], strides=[2, 2, 2])
one("global_max_pool", "GlobalMaxPool", [1, 3, 4, 5])
case("einsum", [("Einsum", ["x", "z"], ["y"], {"equation": "bij,bkj->bik"})], {"x": [2, 3, 4], "z": [2, 5, 4]})

# Normalisations
one("instance_norm", "InstanceNormalization", [2, 3, 4, 4], {"s": f(3), "b": f(3)})
one("group_norm", "GroupNormalization", [2, 4, 3, 3], {"s": f(4), "b": f(4)}, opset=21, num_groups=2)
one("lp_norm", "LpNormalization", [3, 8])
case("rms_norm_by_power", [("Mul", ["x", "x"], ["q"], {}), ("ReduceMean", ["q"], ["v"], {"axes": [-1]}), ("Add", ["v", "e"], ["w"], {}),
                           ("Pow", ["w", "h"], ["r"], {}), ("Mul", ["x", "r"], ["n"], {}), ("Mul", ["n", "g"], ["y"], {})],
     {"x": [3, 16]}, {"e": np.float32(1e-5), "h": np.float32(-0.5), "g": f(16)})
case("rms_norm_by_root", [("Pow", ["x", "two"], ["q"], {}), ("ReduceMean", ["q"], ["v"], {"axes": [-1]}), ("Add", ["v", "e"], ["w"], {}),
                          ("Sqrt", ["w"], ["r"], {}), ("Div", ["x", "r"], ["y"], {})],
     {"x": [3, 16]}, {"e": np.float32(1e-5), "two": np.float32(2)})
case("rms_norm_by_reciprocal", [("Mul", ["x", "x"], ["q"], {}), ("ReduceMean", ["q"], ["v"], {"axes": [-1]}), ("Add", ["v", "e"], ["w"], {}),
                                ("Sqrt", ["w"], ["r"], {}), ("Reciprocal", ["r"], ["i"], {}), ("Mul", ["x", "i"], ["y"], {})],
     {"x": [3, 16]}, {"e": np.float32(1e-5)})
case("layer_norm_by_division", [("ReduceMean", ["x"], ["m"], {"axes": [-1]}), ("Sub", ["x", "m"], ["d"], {}), ("Mul", ["d", "d"], ["q"], {}),
                                ("ReduceMean", ["q"], ["v"], {"axes": [-1]}), ("Add", ["v", "e"], ["w"], {}), ("Sqrt", ["w"], ["r"], {}), ("Div", ["d", "r"], ["y"], {})],
     {"x": [3, 16]}, {"e": np.float32(1e-5)})

# Recurrent layers
for op, gates in [("LSTM", 4), ("GRU", 3), ("RNN", 1)]:
    case(op.lower(), [(op, ["x", "w", "r", "b"], ["y"], {"hidden_size": 4})], {"x": [5, 1, 3]},
         {"w": f(1, gates * 4, 3, scale=0.5), "r": f(1, gates * 4, 4, scale=0.5), "b": f(1, gates * 8, scale=0.2)})
case("lstm_both_ways", [("LSTM", ["x", "w", "r"], ["", "y"], {"hidden_size": 3, "direction": "bidirectional"})], {"x": [4, 2, 3]},
     {"w": f(2, 12, 3, scale=0.5), "r": f(2, 12, 3, scale=0.5)})

# Quantised models
i8 = lambda *shape: RNG.integers(-127, 128, shape).astype(np.int8)
case("quantize", [("QuantizeLinear", ["x", "s", "z"], ["y"], {})], {"x": [4, 9]}, {"s": np.float32(0.021), "z": np.uint8(131)}, types={"y": np.uint8})
case("quantize_dyadic", [("QuantizeLinear", ["x", "s", "z"], ["y"], {})], {"x": [4, 9]}, {"s": np.float32(2**-5), "z": np.int8(3)}, types={"y": np.int8})
case("dequantize", [("DequantizeLinear", ["x", "s", "z"], ["y"], {"axis": 0})], {"x": [3, 5]},
     {"s": np.array([0.02, 0.5, 0.11], dtype=np.float32), "z": np.array([3, -7, 0], dtype=np.int8)}, low=-128, high=128, types={"x": np.int8})


def qdq(x, name, scale, zero):
    return [("QuantizeLinear", [x, scale, zero], [f"{name}_q"], {}), ("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_d"], {})]


weights = np.float32(0.013) * (1 + np.arange(5, dtype=np.float32))
case("quantised_conv",
     [*qdq("x", "x", "sx", "zx"), ("DequantizeLinear", ["w", "sw", "zw"], ["wd"], {"axis": 0}), ("DequantizeLinear", ["b", "sb", "zb"], ["bd"], {"axis": 0}),
      ("Conv", ["x_d", "wd", "bd"], ["c"], {"pads": [1, 1, 1, 1]}), ("Relu", ["c"], ["r"], {}), ("QuantizeLinear", ["r", "sy", "zx"], ["y"], {})],
     {"x": [1, 3, 6, 6]},
     {"sx": np.float32(0.023), "zx": np.uint8(128), "w": i8(5, 3, 3, 3), "sw": weights, "zw": np.zeros(5, dtype=np.int8),
      "b": RNG.integers(-4000, 4000, 5).astype(np.int32), "sb": np.float32(0.023) * weights, "zb": np.zeros(5, dtype=np.int32), "sy": np.float32(0.31)},
     types={"y": np.uint8})
case("quantised_matmul",
     [*qdq("x", "x", "sx", "zx"), ("DequantizeLinear", ["w", "sw", "zw"], ["wd"], {}), ("MatMul", ["x_d", "wd"], ["m"], {}),
      ("QuantizeLinear", ["m", "sy", "zy"], ["y"], {})],
     {"x": [2, 3, 8]}, {"sx": np.float32(0.023), "zx": np.int8(-4), "w": i8(8, 5), "sw": np.float32(0.017), "zw": np.int8(0), "sy": np.float32(0.29), "zy": np.int8(11)},
     types={"y": np.int8})
case("quantised_add_pool",
     [*qdq("x", "x", "sx", "zx"), *qdq("v", "v", "sv", "zv"), ("Add", ["x_d", "v_d"], ["a"], {}), *qdq("a", "a", "sy", "zy"),
      ("MaxPool", ["a_d"], ["m"], {"kernel_shape": [2, 2]}), ("QuantizeLinear", ["m", "sy", "zy"], ["y"], {})],
     {"x": [1, 2, 4, 4], "v": [1, 2, 4, 4]},
     {"sx": np.float32(0.023), "zx": np.int8(-4), "sv": np.float32(0.031), "zv": np.int8(9), "sy": np.float32(0.043), "zy": np.int8(2)}, types={"y": np.int8})
case("quantised_sigmoid", [*qdq("x", "x", "sx", "zx"), ("Sigmoid", ["x_d"], ["s"], {}), ("QuantizeLinear", ["s", "sy", "zy"], ["y"], {})],
     {"x": [3, 7]}, {"sx": np.float32(0.041), "zx": np.uint8(120), "sy": np.float32(1 / 256), "zy": np.uint8(0)}, types={"y": np.uint8})
# Weights of 7 bits: with 8, ONNX Runtime saturates in between on processors without VNNI.
case("matmul_integer", [("MatMulInteger", ["x", "w", "zx", "zw"], ["y"], {})], {"x": [3, 20]}, {"w": (i8(20, 4) // 2).astype(np.int8), "zx": np.uint8(128), "zw": np.int8(3)},
     low=0, high=256, types={"x": np.uint8, "y": np.int32})

# Division of integers goes towards zero; 2z + 1 is never 0.
odd = [("Add", ["z", "z"], ["zz"], {}), ("Add", ["zz", "one"], ["d"], {})]
whole = {"x": np.int64, "z": np.int64, "y": np.int64}
case("int_div", [*odd, ("Div", ["x", "d"], ["y"], {})], {"x": [6, 9], "z": [9]}, {"one": np.int64(1)}, low=-90, high=90, types=whole)
case("int_div_by_constant", [("Div", ["x", "k"], ["y"], {})], {"x": [6, 4]}, {"k": ints(3, -7, 2, 11)}, low=-90, high=90, types=whole)
for fmod in (0, 1):
    case(f"int_mod_{fmod}", [*odd, ("Mod", ["x", "d"], ["y"], {"fmod": fmod})], {"x": [6, 9], "z": [9]}, {"one": np.int64(1)}, low=-90, high=90, types=whole)
case("arg_max_of_integers", [("ArgMax", ["x"], ["y"], {"axis": 1})], {"x": [3, 7]}, low=-4, high=4, types=whole)
one("atan", "Atan", [3, 9])
one("asin", "Asin", [3, 9], low=-0.9, high=0.9)
one("acos", "Acos", [3, 9], low=-0.9, high=0.9)

# Halves: what rounds half to even differs from what rounds half up
case("round_ties", [("Cast", ["x"], ["f"], {"to": TensorProto.FLOAT}), ("Mul", ["f", "q"], ["h"], {}), ("Round", ["h"], ["y"], {})],
     {"x": [6, 9]}, {"q": np.float32(0.25)}, low=-40, high=40, types={"x": np.int64})
case("quantize_ties", [("Cast", ["x"], ["f"], {"to": TensorProto.FLOAT}), ("Mul", ["f", "q"], ["h"], {}), ("QuantizeLinear", ["h", "s", "z"], ["y"], {})],
     {"x": [6, 9]}, {"q": np.float32(2**-6), "s": np.float32(2**-5), "z": np.int8(3)}, low=-300, high=300, types={"x": np.int64, "y": np.int8})
dyadic = np.float32(2) ** -np.arange(4, 9, dtype=np.float32)
case("quantised_conv_ties",
     [("DequantizeLinear", ["x", "sx", "zx"], ["x_d"], {}), ("DequantizeLinear", ["w", "sw", "zw"], ["wd"], {"axis": 0}), ("DequantizeLinear", ["b", "sb", "zb"], ["bd"], {"axis": 0}),
      ("Conv", ["x_d", "wd", "bd"], ["c"], {"pads": [1, 1, 1, 1]}), ("QuantizeLinear", ["c", "sy", "zy"], ["y"], {})],
     {"x": [1, 3, 6, 6]},
     {"sx": np.float32(2**-4), "zx": np.uint8(128), "w": (i8(5, 3, 3, 3) // 16).astype(np.int8), "sw": dyadic, "zw": np.zeros(5, dtype=np.int8),
      "b": RNG.integers(-400, 400, 5).astype(np.int32), "sb": np.float32(2**-4) * dyadic, "zb": np.zeros(5, dtype=np.int32), "sy": np.float32(0.5), "zy": np.int8(-5)},
     low=0, high=256, types={"x": np.uint8, "y": np.int8})
# An even zero point: for the sum ONNX Runtime's fused operator adds it before rounding, and with
# an odd one its ties go the other way than the standard's.
case("quantised_add_ties",
     [("DequantizeLinear", ["x", "sx", "zx"], ["x_d"], {}), ("DequantizeLinear", ["z", "sz", "zz"], ["z_d"], {}), ("Add", ["x_d", "z_d"], ["a"], {}), ("QuantizeLinear", ["a", "sy", "zx"], ["y"], {})],
     {"x": [6, 9], "z": [6, 9]}, {"sx": np.float32(2**-4), "zx": np.int8(6), "sz": np.float32(2**-5), "zz": np.int8(-9), "sy": np.float32(2**-2)},
     low=-128, high=128, types={"x": np.int8, "z": np.int8, "y": np.int8})

def npy(array):
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(array, dtype=np.float32))
    return out.getvalue()


def main():
    path = pathlib.Path(__file__).with_name("operators.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        def put(name, data):
            # A fixed date, so that the same cases give the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)

        for name, model, samples in CASES:
            put(f"{name}/model.onnx", model.SerializeToString())
            for s, (inputs, outputs) in enumerate(samples):
                for kind, arrays in (("input", inputs), ("output", outputs)):
                    for i, a in enumerate(arrays):
                        put(f"{name}/{s}/{kind}_{i}.npy", npy(a))
    print(f"{len(CASES)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

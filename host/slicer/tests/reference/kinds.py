"""Makes one small model of each kind that is hard to slice.

Called by tests/corpus.rs with the path of an empty folder; writes <kind>.onnx there.
"""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

rng = np.random.default_rng(7)
FOLDER = sys.argv[1]


def w(name, *shape, dtype=np.float32, scale=0.2):
    return nh.from_array((rng.standard_normal(shape) * scale).astype(dtype), name)


def ints(name, values):
    return nh.from_array(np.array(values, dtype=np.int64), name)


def info(name, shape, dtype=T.FLOAT):
    return h.make_tensor_value_info(name, dtype, shape)


def n(op, inputs, outputs, **attributes):
    return h.make_node(op, inputs, outputs, **attributes)


def save(kind, nodes, inputs, outputs, initializers=(), opset=17, ir=8, imports=(), **extra):
    graph = h.make_graph(nodes, kind, inputs, outputs, list(initializers),
                         value_info=extra.pop("value_info", []))
    sparse = extra.pop("sparse", [])
    graph.sparse_initializer.extend(sparse)
    opsets = [h.make_opsetid("", opset), *imports]
    model = h.make_model(graph, opset_imports=opsets, ir_version=ir, **extra)
    onnx.save(model, os.path.join(FOLDER, f"{kind}.onnx"))
    return model


def mlp(kind, opset, ir, **extra):
    save(kind,
         [n("MatMul", ["x", "w1"], ["a"]), n("Add", ["a", "b1"], ["b"]), n("Relu", ["b"], ["c"]),
          n("MatMul", ["c", "w2"], ["y"])],
         [info("x", ["batch", 6])], [info("y", ["batch", 3])],
         [w("w1", 6, 5), w("b1", 5), w("w2", 5, 3)], opset=opset, ir=ir, **extra)


# Every operator set from 8 to 24, with the IR version of its time.
for opset in range(8, 25):
    mlp(f"opset{opset:02}", opset, max(3 if opset < 9 else 4, h.find_min_ir_version_for(
        [h.make_opsetid("", opset)])) if opset >= 9 else 4)

# Initializers among the inputs, as before IR version 4.
save("initializers_as_inputs",
     [n("Gemm", ["x", "w1", "b1"], ["a"]), n("Relu", ["a"], ["b"]), n("Gemm", ["b", "w2", "b2"], ["y"])],
     [info("x", [1, 6]), info("w1", [6, 5]), info("b1", [5]), info("w2", [5, 3]), info("b2", [3])],
     [info("y", [1, 3])], [w("w1", 6, 5), w("b1", 5), w("w2", 5, 3), w("b2", 3)], opset=8, ir=3)

# A residual block, and a tensor that is a model output and read later.
save("residual_and_early_output",
     [n("Conv", ["x", "w1"], ["a"], pads=[1] * 4), n("Relu", ["a"], ["b"]),
      n("Conv", ["b", "w2"], ["c"], pads=[1] * 4), n("Add", ["c", "x"], ["d"]), n("Relu", ["d"], ["e"]),
      n("Conv", ["e", "w3"], ["y"])],
     [info("x", ["N", 4, 8, 8])], [info("b", ["N", 4, 8, 8]), info("y", ["N", 2, 8, 8])],
     [w("w1", 4, 4, 3, 3), w("w2", 4, 4, 3, 3), w("w3", 2, 4, 1, 1)])

# Several inputs and outputs, one initializer for two layers, Split with several outputs.
save("many_inputs_shared_weights",
     [n("MatMul", ["p", "w"], ["a"]), n("MatMul", ["q", "w"], ["b"]), n("Concat", ["a", "b"], ["c"], axis=1),
      n("Split", ["c", "sizes"], ["u", "v", "t"], axis=1), n("MatMul", ["u", "w2"], ["y"]), n("Mul", ["v", "t"], ["z"])],
     [info("p", ["n", 4]), info("q", ["n", 4])], [info("y", ["n", 2]), info("z", ["n", 3])],
     [w("w", 4, 5), w("w2", 4, 2), ints("sizes", [4, 3, 3])])

# Weights through Constant, Transpose, Identity, ConstantOfShape and DequantizeLinear.
save("weights_through_nodes",
     [n("Constant", [], ["k"], value=w("k", 5, 6)), n("Transpose", ["k"], ["kt"], perm=[1, 0]),
      n("Identity", ["b"], ["bi"]), n("MatMul", ["x", "kt"], ["a"]), n("Add", ["a", "bi"], ["c"]),
      n("ConstantOfShape", ["s"], ["cs"], value=h.make_tensor("v", T.FLOAT, [1], [0.25])),
      n("MatMul", ["c", "cs"], ["d"]), n("DequantizeLinear", ["wq", "scale", "zero"], ["wd"]),
      n("MatMul", ["d", "wd"], ["y"])],
     [info("x", [1, 6])], [info("y", [1, 3])],
     [w("b", 5), ints("s", [5, 4]), nh.from_array(np.array(0.1, np.float32), "scale"),
      nh.from_array(np.array(0, np.int8), "zero"),
      nh.from_array(rng.integers(-9, 9, (4, 3)).astype(np.int8), "wq")])

# Attention as exporters write it: shapes are computed, the cut crosses them.
save("attention_symbolic_reshape",
     [n("Shape", ["x"], ["sh"]), n("Gather", ["sh", "zero"], ["nb"], axis=0), n("Gather", ["sh", "one"], ["sl"], axis=0),
      n("Unsqueeze", ["nb", "zero1"], ["nb1"]), n("Unsqueeze", ["sl", "zero1"], ["sl1"]),
      n("Concat", ["nb1", "sl1", "heads"], ["target"], axis=0),
      n("MatMul", ["x", "wq"], ["q"]), n("MatMul", ["x", "wk"], ["k"]), n("MatMul", ["x", "wv"], ["v"]),
      n("Reshape", ["q", "target"], ["q4"]), n("Reshape", ["k", "target"], ["k4"]), n("Reshape", ["v", "target"], ["v4"]),
      n("Transpose", ["q4"], ["qt"], perm=[0, 2, 1, 3]), n("Transpose", ["k4"], ["kt"], perm=[0, 2, 3, 1]),
      n("Transpose", ["v4"], ["vt"], perm=[0, 2, 1, 3]), n("MatMul", ["qt", "kt"], ["s"]),
      n("Shape", ["qt"], ["qs"]), n("Gather", ["qs", "three"], ["hd"], axis=0), n("Cast", ["hd"], ["hf"], to=T.FLOAT),
      n("Sqrt", ["hf"], ["root"]), n("Div", ["s", "root"], ["sd"]), n("Softmax", ["sd"], ["p"], axis=-1),
      n("MatMul", ["p", "vt"], ["o"]), n("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]),
      n("Concat", ["nb1", "sl1", "minus"], ["back"], axis=0), n("Reshape", ["ot", "back"], ["of"]),
      n("MatMul", ["of", "wo"], ["y"])],
     [info("x", ["batch", 5, 8])], [info("y", ["batch", 5, 8])],
     [w("wq", 8, 8), w("wk", 8, 8), w("wv", 8, 8), w("wo", 8, 8), ints("zero", 0), ints("one", 1), ints("three", 3),
      ints("zero1", [0]), ints("heads", [2, 4]), ints("minus", [-1])])

# Recurrent layers with optional inputs and outputs left out.
for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
    outs = ["r", "", "last"] if op == "LSTM" else ["r", "last"]
    save(op.lower(),
         [n("Transpose", ["x"], ["xt"], perm=[1, 0, 2]), n(op, ["xt", "W", "R", "B"], outs, hidden_size=5),
          n("Squeeze", ["r", "axis"], ["s"]), n("MatMul", ["s", "w2"], ["y"])],
         [info("x", ["batch", 7, 3])], [info("y", [7, "batch", 2]), info("last", [1, "batch", 5])],
         [w("W", 1, 5 * gates, 3), w("R", 1, 5 * gates, 5), w("B", 1, 10 * gates), w("w2", 5, 2), ints("axis", [1])],
         opset=14)
save("lstm_bidirectional",
     [n("LSTM", ["x", "W", "R", "B"], ["r"], hidden_size=4, direction="bidirectional"),
      n("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3]), n("Reshape", ["t", "s"], ["f"]), n("MatMul", ["f", "w2"], ["y"])],
     [info("x", [6, 1, 3])], [info("y", [6, 1, 2])],
     [w("W", 2, 16, 3), w("R", 2, 16, 4), w("B", 2, 32), w("w2", 8, 2), ints("s", [0, 0, -1])], opset=14)


# If: known only when it runs, with captures of weights and of computed tensors.
def branch(name, nodes, out, shape, initializers=()):
    return h.make_graph(nodes, name, [], [info(out, shape)], list(initializers))


save("if_dynamic",
     [n("MatMul", ["x", "w1"], ["a"]), n("ReduceSum", ["a"], ["s"], keepdims=0), n("Greater", ["s", "zero"], ["c"]),
      n("If", ["c"], ["b"],
        then_branch=branch("then", [n("MatMul", ["a", "w2"], ["t"]), n("Add", ["t", "k"], ["tb"])], "tb", [1, 5], [w("k", 5)]),
        else_branch=branch("else", [n("Sub", ["a", "x2"], ["tb2"])], "tb2", [1, 5])),
      n("MatMul", ["b", "w3"], ["y"])],
     [info("x", [1, 4]), info("x2", [1, 5])], [info("y", [1, 2])],
     [w("w1", 4, 5), w("w2", 5, 5), w("w3", 5, 2), nh.from_array(np.array(0, np.float32), "zero")])

# If: the condition follows from shapes; the names inside collide with those outside.
save("if_constant",
     [n("MatMul", ["x", "w1"], ["a"]), n("Shape", ["a"], ["sh"]), n("Gather", ["sh", "zero"], ["first"]),
      n("Equal", ["first", "one"], ["c"]),
      n("If", ["c"], ["b"],
        then_branch=branch("then", [n("MatMul", ["a", "k"], ["t"]), n("Relu", ["t"], ["r"])], "r", [1, 5], [w("k", 5, 5)]),
        else_branch=branch("else", [n("Identity", ["a"], ["r2"])], "r2", [1, 5])),
      n("Relu", ["b"], ["rr"]), n("MatMul", ["rr", "w3"], ["y"])],
     [info("x", ["batch", 4])], [info("y", ["batch", 2])],
     [w("w1", 4, 5), w("w3", 5, 2), ints("zero", 0), ints("one", 1)])

# Loop and Scan stay whole; the body reads weights from outside.
body = h.make_graph(
    [n("MatMul", ["h", "w1"], ["m"]), n("Tanh", ["m"], ["hn"]), n("Identity", ["cin"], ["cout"])], "body",
    [info("i", [], T.INT64), info("cin", [], T.BOOL), info("h", [1, 4])],
    [info("cout", [], T.BOOL), info("hn", [1, 4])])
save("loop",
     [n("MatMul", ["x", "w0"], ["a"]), n("Loop", ["trips", "go", "a"], ["b"], body=body), n("MatMul", ["b", "w2"], ["y"])],
     [info("x", [1, 3])], [info("y", [1, 2])],
     [w("w0", 3, 4), w("w1", 4, 4, scale=0.5), w("w2", 4, 2), ints("trips", 3), nh.from_array(np.array(True), "go")],
     value_info=[info("b", [1, 4])])
body = h.make_graph(
    [n("MatMul", ["xi", "w1"], ["m"]), n("Add", ["m", "s"], ["sn"]), n("Tanh", ["sn"], ["o"])], "body",
    [info("s", [4]), info("xi", [3])], [info("sn", [4]), info("o", [4])])
save("scan",
     [n("Scan", ["s0", "x"], ["sl", "o"], body=body, num_scan_inputs=1), n("MatMul", ["o", "w2"], ["y"])],
     [info("x", [6, 3])], [info("y", [6, 2]), info("sl", [4])], [w("w1", 3, 4), w("w2", 4, 2), w("s0", 4)])

# Convolutions of all kinds.
save("depthwise_resize_pad",
     [n("Conv", ["x", "w1"], ["a"], group=4, pads=[1] * 4), n("Clip", ["a", "lo", "hi"], ["b"]),
      n("Conv", ["b", "w2"], ["c"]), n("Resize", ["c", "", "scales"], ["d"], mode="nearest"),
      n("Pad", ["d", "pads"], ["e"]), n("ConvTranspose", ["e", "w3"], ["f"], strides=[2, 2]),
      n("GlobalAveragePool", ["f"], ["g"]), n("Flatten", ["g"], ["i"]), n("Gemm", ["i", "w4", "b4"], ["y"], transB=1)],
     [info("x", ["N", 4, 6, 6])], [info("y", ["N", 3])],
     [w("w1", 4, 1, 3, 3), w("w2", 6, 4, 1, 1), w("w3", 6, 2, 3, 3), w("w4", 3, 2), w("b4", 3),
      nh.from_array(np.array(0, np.float32), "lo"), nh.from_array(np.array(6, np.float32), "hi"),
      nh.from_array(np.array([1, 1, 2, 2], np.float32), "scales"), ints("pads", [0, 0, 1, 1, 0, 0, 1, 1])])

# Scales that follow from shapes, floats on the way.
save("resize_computed_sizes",
     [n("Conv", ["x", "w1"], ["a"], strides=[2, 2], pads=[1] * 4), n("Shape", ["x"], ["sx"]), n("Shape", ["a"], ["sa"]),
      n("Cast", ["sx"], ["fx"], to=T.FLOAT), n("Cast", ["sa"], ["fa"], to=T.FLOAT), n("Div", ["fx", "fa"], ["scale"]),
      n("Slice", ["scale", "two", "four"], ["hw"]), n("Concat", ["ones", "hw"], ["scales"], axis=0),
      n("Conv", ["a", "w2"], ["b"]), n("Resize", ["b", "", "scales"], ["c"], mode="linear"), n("Conv", ["c", "w3"], ["y"])],
     [info("x", ["N", 3, 8, 8])], [info("y", None)],
     [w("w1", 4, 3, 3, 3), w("w2", 4, 4, 1, 1), w("w3", 2, 4, 1, 1), ints("two", [2]), ints("four", [4]),
      nh.from_array(np.array([1, 1], np.float32), "ones")])

# A length that is known only when the model runs, in the middle of it.
save("data_dependent_inside",
     [n("MatMul", ["x", "w1"], ["a"]), n("Greater", ["a", "zero"], ["m"]), n("NonZero", ["m"], ["nz"]),
      n("Transpose", ["nz"], ["t"], perm=[1, 0]), n("GatherND", ["a", "t"], ["g"]),
      n("ReduceSum", ["g"], ["s"], keepdims=0), n("Mul", ["s", "x"], ["b"]), n("MatMul", ["b", "w2"], ["y"])],
     [info("x", [1, 8])], [info("y", [1, 2])],
     [w("w1", 8, 6), w("w2", 8, 2), nh.from_array(np.array(0, np.float32), "zero")])

# A sequence between two layers.
save("sequence_inside",
     [n("MatMul", ["x", "w1"], ["a"]), n("SplitToSequence", ["a", "two"], ["seq"], axis=1),
      n("SequenceAt", ["seq", "one"], ["b"]), n("MatMul", ["b", "w2"], ["y"])],
     [info("x", [1, 4])], [info("y", [1, 3])], [w("w1", 4, 6), w("w2", 2, 3), ints("two", 2), ints("one", 1)],
     value_info=[info("b", [1, 2])])

# Element types.
for kind, t, d in (("float16", T.FLOAT16, np.float16), ("double", T.DOUBLE, np.float64)):
    save(kind, [n("MatMul", ["x", "w1"], ["a"]), n("Relu", ["a"], ["b"]), n("MatMul", ["b", "w2"], ["y"])],
         [info("x", ["N", 4], t)], [info("y", ["N", 2], t)], [w("w1", 4, 5, dtype=d), w("w2", 5, 2, dtype=d)])
save("embedding_and_mask",
     [n("Gather", ["table", "ids"], ["e"]), n("Cast", ["mask"], ["m"], to=T.FLOAT), n("Unsqueeze", ["m", "last"], ["mu"]),
      n("Mul", ["e", "mu"], ["em"]), n("LayerNormalization", ["em", "g", "b"], ["ln"]), n("MatMul", ["ln", "w1"], ["h"]),
      n("ReduceMean", ["h"], ["p"], axes=[1], keepdims=0), n("MatMul", ["p", "w2"], ["y"])],
     [info("ids", ["batch", 6], T.INT64), info("mask", ["batch", 6], T.INT64)], [info("y", ["batch", 2])],
     [w("table", 10, 8), w("g", 8), w("b", 8), w("w1", 8, 8), w("w2", 8, 2), ints("last", [-1])])
save("quantised",
     [n("QuantizeLinear", ["x", "s", "z"], ["xq"]), n("QLinearMatMul", ["xq", "s", "z", "wq", "s", "z8", "s2", "z"], ["aq"]),
      n("DequantizeLinear", ["aq", "s2", "z"], ["a"]), n("MatMul", ["a", "w2"], ["y"])],
     [info("x", [1, 4])], [info("y", [1, 2])],
     [nh.from_array(np.array(0.05, np.float32), "s"), nh.from_array(np.array(0.2, np.float32), "s2"),
      nh.from_array(np.array(128, np.uint8), "z"), nh.from_array(np.array(0, np.int8), "z8"),
      nh.from_array(rng.integers(-99, 99, (4, 3)).astype(np.int8), "wq"), w("w2", 3, 2)])

# Functions of the model itself, and operators of another domain.
function = h.make_function("own", "Scaled", ["v", "m"], ["r"], [n("MatMul", ["v", "m"], ["t"]), n("Tanh", ["t"], ["r"])],
                           [h.make_opsetid("", 17)])
save("own_function",
     [n("Scaled", ["x", "w1"], ["a"], domain="own"), n("Relu", ["a"], ["b"]), n("Scaled", ["b", "w2"], ["y"], domain="own")],
     [info("x", ["N", 4])], [info("y", ["N", 2])], [w("w1", 4, 5), w("w2", 5, 2)],
     imports=[h.make_opsetid("own", 1)], functions=[function])
save("sparse_weights",
     [n("MatMul", ["x", "w1"], ["a"]), n("MatMul", ["a", "sp"], ["y"])],
     [info("x", [1, 4])], [info("y", [1, 3])], [w("w1", 4, 5)],
     sparse=[h.make_sparse_tensor(nh.from_array(np.array([1, 2, 3], np.float32), "sp"), ints("", [0, 7, 14]), [5, 3])])

# Names: none at all, or the same as a tensor; texts with paths.
nodes = [n("MatMul", ["x", "w1"], ["a"], name="w1", doc_string="/home/someone/model.py"), n("Relu", ["a"], ["b"]),
         n("MatMul", ["b", "w2"], ["c"], name="x"), n("Relu", ["c"], ["y"])]
save("names", nodes, [info("x", ["N", 4])], [info("y", ["N", 2])], [w("w1", 4, 5), w("w2", 5, 2)])

# Outputs that are inputs of others, constants, or dead ends beside them.
save("odd_outputs",
     [n("MatMul", ["x", "w1"], ["a"]), n("Relu", ["a"], ["y"]), n("Neg", ["a"], ["unused"]), n("Shape", ["a"], ["s"]),
      n("Mul", ["k", "k"], ["kk"])],
     [info("x", [1, 4])], [info("y", [1, 5]), info("s", [2], T.INT64), info("kk", [3])], [w("w1", 4, 5), w("k", 3)])

# Weights in another file.
model = save("external", [n("MatMul", ["x", "w1"], ["a"]), n("Relu", ["a"], ["b"]), n("MatMul", ["b", "w2"], ["y"])],
             [info("x", ["N", 40])], [info("y", ["N", 20])], [w("w1", 40, 50), w("w2", 50, 20)])
onnx.save(model, os.path.join(FOLDER, "external.onnx"), save_as_external_data=True, location="external.bin",
          size_threshold=0)

# Weights in typed fields.
save("typed_fields", [n("MatMul", ["x", "w1"], ["a"]), n("MatMul", ["a", "w2"], ["y"])],
     [info("x", [1, 2])], [info("y", [1, 1])],
     [h.make_tensor("w1", T.FLOAT, [2, 2], [1, 2, 3, 4]), h.make_tensor("w2", T.FLOAT, [2, 1], [0.5, -1])])

# Operators whose shapes only value_info tells.
save("foreign_domain",
     [n("MatMul", ["x", "w1"], ["a"]), n("Gelu", ["a"], ["b"], domain="com.microsoft"), n("MatMul", ["b", "w2"], ["y"])],
     [info("x", ["N", 4])], [info("y", ["N", 2])], [w("w1", 4, 5), w("w2", 5, 2)],
     imports=[h.make_opsetid("com.microsoft", 1)], value_info=[info("b", ["N", 5])])
# The same without: the cut has to be elsewhere.
save("foreign_domain_unknown",
     [n("MatMul", ["x", "w1"], ["a"]), n("Gelu", ["a"], ["b"], domain="com.microsoft"), n("MatMul", ["b", "w2"], ["y"])],
     [info("x", ["N", 4])], [info("y", ["N", 2])], [w("w1", 4, 5), w("w2", 5, 2)],
     imports=[h.make_opsetid("com.microsoft", 1)])

# Newer operators.
save("attention_operator",
     [n("MatMul", ["x", "wq"], ["q"]), n("MatMul", ["x", "wk"], ["k"]), n("MatMul", ["x", "wv"], ["v"]),
      n("Attention", ["q", "k", "v"], ["o"], q_num_heads=2, kv_num_heads=2), n("MatMul", ["o", "wo"], ["y"])],
     [info("x", ["batch", 5, 8])], [info("y", ["batch", 5, 8])], [w("wq", 8, 8), w("wk", 8, 8), w("wv", 8, 8), w("wo", 8, 8)],
     opset=23, ir=11)
save("einsum_topk",
     [n("Einsum", ["x", "w1"], ["a"], equation="bij,jk->bik"), n("TopK", ["a", "k"], ["v", "i"], axis=-1),
      n("Cast", ["i"], ["f"], to=T.FLOAT), n("Add", ["v", "f"], ["s"]), n("MatMul", ["s", "w2"], ["y"])],
     [info("x", ["N", 3, 4])], [info("y", ["N", 3, 2])], [w("w1", 4, 6), w("w2", 2, 2), ints("k", [2])])

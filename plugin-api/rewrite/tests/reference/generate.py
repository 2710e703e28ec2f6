"""Single nodes with random shapes, attributes and opsets, for the tests against ONNX Runtime.

    generate.py FOLDER SEED

Writes NAME.onnx for each, and cases.json: a list of {"name", "file", "low", "high",
"tolerance"}. Inputs are drawn between low and high when the models are run.
"""
import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

ML, MS = "ai.onnx.ml", "com.microsoft"


class Maker:
    def __init__(self, folder, seed):
        self.folder, self.rng, self.cases = folder, np.random.default_rng(seed), []

    def n(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def pick(self, *list):
        return list[self.n(0, len(list) - 1)]

    def f(self, *shape, low=-1.0, high=1.0):
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def shape(self, low=2, high=4):
        return [self.n(1, 5) for _ in range(self.n(low, high))]

    def add(self, op, inputs, outputs=1, opset=None, domain="", version=1, low=-2.0, high=2.0,
            tolerance=1e-4, kinds=None, **attributes):
        """`inputs`: a shape (given when run), ("ints", shape), an array (constant) or None."""
        opset = opset or self.pick(13, 17, 18, 21)
        names, feeds, constants = [], [], []
        for i, x in enumerate(inputs):
            name = f"x{i}"
            if x is None:
                names.append("")
                continue
            names.append(name)
            if isinstance(x, (np.ndarray, np.generic)):
                constants.append(numpy_helper.from_array(np.asarray(x), name))
            elif isinstance(x, tuple):
                feeds.append(helper.make_tensor_value_info(name, x[0], x[1]))
            else:
                feeds.append(helper.make_tensor_value_info(name, T.FLOAT, x))
        out = [f"y{i}" for i in range(outputs)]
        attributes = {k: v for k, v in attributes.items() if v is not None}
        node = helper.make_node(op, names, out, domain=domain, **attributes)
        kinds = kinds or [T.FLOAT] * outputs
        graph = helper.make_graph(
            [node], "g", feeds,
            [helper.make_tensor_value_info(o, k, None) for o, k in zip(out, kinds)], constants)
        opsets = [helper.make_opsetid("", opset)]
        if domain:
            opsets.append(helper.make_opsetid(domain, version))
        # Runtimes lag behind the newest IR version.
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        count = len(self.cases)
        file = os.path.join(self.folder, f"{count}.onnx")
        onnx.save(model, file)
        shapes = [list(x.shape) if isinstance(x, (np.ndarray, np.generic)) else x for x in inputs]
        self.cases.append({
            "name": f"{domain + '.' if domain else ''}{op} {count} opset {opset} {shapes} "
                    f"{ {k: v for k, v in attributes.items() if not hasattr(v, '__len__') or len(v) < 9} }",
            "file": file, "low": low, "high": high, "tolerance": tolerance})


def pools(m):
    for k in range(30):
        rank = k % 3 + 1
        op = m.pick("MaxPool", "AveragePool", "LpPool")
        kernel = [m.n(1, 3) for _ in range(rank)]
        size = [m.n(5, 8) for _ in range(rank)]
        attributes = {"kernel_shape": kernel, "strides": [m.n(1, 3) for _ in range(rank)]}
        if m.n(0, 1):
            attributes["pads"] = [m.n(0, max(0, k - 1)) for k in kernel * 2]
        elif op != "LpPool":
            attributes["auto_pad"] = m.pick("SAME_UPPER", "SAME_LOWER", "VALID")
            # A step beyond the window would need padding below zero.
            attributes["strides"] = [min(p) for p in zip(attributes["strides"], kernel)]
        if op == "AveragePool":
            attributes["count_include_pad"] = m.n(0, 1)
        if op == "MaxPool" and "auto_pad" not in attributes:
            attributes["ceil_mode"] = m.n(0, 1)
        if op == "MaxPool" and m.n(0, 1) and "auto_pad" not in attributes:
            attributes["dilations"] = [m.n(1, 2) for _ in range(rank)]
        if op == "LpPool":
            attributes["p"] = m.n(1, 3)
        m.add(op, [[m.n(1, 2), m.n(1, 3)] + size], opset=m.pick(12, 17), **attributes)
    for _ in range(4):
        m.add("GlobalLpPool", [[2, 3] + [m.n(2, 4)] * m.n(1, 3)], p=m.n(1, 2), opset=17)
        m.add("LRN", [[m.n(1, 2), m.n(2, 7), m.n(2, 4), m.n(2, 4)]], size=m.pick(1, 3, 5),
              alpha=float(m.f(low=0.01, high=0.9)), beta=m.pick(0.5, 0.75, 0.6),
              bias=float(m.f(low=0.5, high=2)), opset=m.pick(7, 13))


def products(m):
    for _ in range(8):
        group = m.n(2, 4)
        c = group * m.n(1, 2)
        w = m.f(group * m.n(1, 2), c // group, m.n(1, 3), m.n(1, 3))
        m.add("Conv", [[m.n(1, 2), c, 5, 6], w], group=group, opset=m.pick(11, 17))
        act = m.pick("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip")
        w = m.f(3, 2, 2, 2)
        m.add("FusedConv", [[1, 2, 5, 5], w, m.f(3)], domain=MS, opset=17, activation=act,
              activation_params={"LeakyRelu": [0.2], "Clip": [-0.1, 0.3]}.get(act))
    for equation, shapes in [
        ("ii->i", [[4, 4]]), ("iji->j", [[3, 2, 3]]), ("bij,bjk->bik", [[1, 2, 3], [4, 3, 2]]),
        ("bij,bij->b", [[2, 3, 1], [2, 3, 4]]), ("...ij,...jk->...ik", [[2, 2, 3], [2, 3, 4]]),
        ("i,j,k->kji", [[2], [3], [2]]), ("bhqd,bhkd->bhqk", [[1, 2, 3, 4], [1, 2, 5, 4]]),
        ("ij,jk,kl->il", [[2, 3], [3, 2], [2, 4]]), ("ij->ji", [[2, 3]]), ("ij->", [[2, 3]]),
    ]:
        m.add("Einsum", shapes, equation=equation, opset=m.pick(12, 17))


def moves(m):
    for _ in range(8):
        s = m.shape(1, 3)
        axis = m.n(-len(s), len(s) - 1)
        k = m.n(1, s[axis])
        m.add("TopK", [s, np.array([k], np.int64)], outputs=2, axis=axis, largest=m.n(0, 1),
              opset=m.pick(11, 17), kinds=[T.FLOAT, T.INT64])
        s = [m.n(3, 5), m.n(3, 5), m.n(3, 4)]
        axis = m.n(0, 2)
        ids = m.shape(0, 2)
        # Indices are drawn between -2 and 2.
        m.add("Gather", [s, (T.INT64, ids)], axis=axis)
        index = [m.n(1, d) for d in s]
        m.add("GatherElements", [s, (T.INT64, index)], axis=axis)
        depth = m.n(1, 3)
        m.add("GatherND", [s, (T.INT64, m.shape(0, 2) + [depth])])
        m.add("ScatterND", [s, (T.INT64, [1, depth]), [1] + s[depth:]], reduction=m.pick("none", "add"),
              opset=m.pick(16, 18))
        index = [1 if a == axis else m.n(1, d) for a, d in enumerate(s)]
        m.add("ScatterElements", [s, (T.INT64, index), index], axis=axis,
              reduction=m.pick("none", "add"), opset=m.pick(16, 18))
    for _ in range(4):
        s = m.shape(2, 4)
        m.add("Pow", [s, np.float32(m.pick(0.25, 0.75, 1.25, 0.3, -0.25, 2.6))], low=0.1)
        m.add("Pow", [s, s], low=0.1, high=2)


def basics(m):
    """What a consumer may have in a plain form only, or not at all."""
    for _ in range(8):
        s = m.shape(2, 4)
        m.add("Transpose", [s], perm=[int(p) for p in m.rng.permutation(len(s))])
        axis = m.n(0, len(s) - 1)
        m.add("Gather", [s, np.array([m.n(-s[axis], s[axis] - 1) for _ in range(3)], np.int64)], axis=axis)
        m.add("Slice", [s, np.array([m.n(0, s[axis] - 1)], np.int64), np.array([9], np.int64),
                        np.array([axis], np.int64), np.array([m.n(1, 2)], np.int64)])
        m.add("Concat", [s, m.f(*s) if m.n(0, 1) else s, s], axis=axis)
        m.add("Pad", [s, np.array([m.n(0, 2) for _ in range(2 * len(s))], np.int64)])
        for op in ("ReduceSum", "ReduceMean"):
            m.add(op, [s, np.array([axis], np.int64)], keepdims=m.n(0, 1), opset=18)
        m.add("MatMul", [m.shape(0, 2) + [3], m.f(3, 2)])
        m.add("Conv", [[1, 2, 7, 6], m.f(3, 2, m.n(1, 3), m.n(1, 2)), m.pick(None, m.f(3))],
              dilations=[m.n(1, 2), m.n(1, 2)], pads=[m.n(0, 1) for _ in range(4)],
              strides=[m.n(1, 2), 1])
        m.add("GlobalMaxPool", [[1, 2, m.n(1, 4), m.n(1, 4)]])
        m.add("AveragePool", [[1, 2, 5, 5]], kernel_shape=[2, m.n(1, 3)], strides=[m.n(1, 2), 1],
              opset=17)


def logic(m):
    for op in ("And", "Or", "Xor"):
        s = m.shape(1, 3)
        m.add(op, [(T.BOOL, s), (T.BOOL, s[-1:])], kinds=[T.BOOL])
    m.add("Not", [(T.BOOL, [2, 3])], kinds=[T.BOOL])
    m.add("IsNaN", [[2, 3]], kinds=[T.BOOL])


def recurrent(m):
    names = ["Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh",
             "HardSigmoid", "Elu", "Softsign", "Softplus"]
    taking = {"Affine": 2, "LeakyRelu": 1, "ThresholdedRelu": 1, "ScaledTanh": 2, "HardSigmoid": 2,
              "Elu": 1}
    for k in range(36):
        op, gates, functions = [("RNN", 1, 1), ("GRU", 3, 2), ("LSTM", 4, 3)][k % 3]
        direction = m.pick("forward", "reverse", "bidirectional")
        d = 2 if direction == "bidirectional" else 1
        t, b, i, h = m.n(1, 4), m.n(1, 3), m.n(1, 4), m.n(1, 3)
        chosen = [names[m.n(0, 10)] for _ in range(functions * d)]
        if op == "LSTM" and m.n(0, 1):
            chosen = ["Sigmoid", "Tanh", "Tanh"] * d
        inputs = [[t, b, i], m.f(d, gates * h, i), m.f(d, gates * h, h),
                  m.f(d, 2 * gates * h) if m.n(0, 1) else None]
        attributes = {"hidden_size": h, "direction": direction, "activations": chosen}
        if op == "GRU":
            attributes["linear_before_reset"] = m.n(0, 1)
        alphas = [float(m.f(low=0.1, high=1)) for c in chosen if taking.get(c, 0) > 0]
        betas = [float(m.f(low=0.1, high=1)) for c in chosen if taking.get(c, 0) > 1]
        if alphas:
            attributes["activation_alpha"] = alphas
        if betas:
            attributes["activation_beta"] = betas
        if m.n(0, 2) == 0:
            attributes["clip"] = float(m.f(low=0.3, high=1))
        m.add(op, inputs, outputs=2, opset=m.pick(7, 14, 21), **attributes)


def transformers(m):
    for _ in range(6):
        b, s, v, h = m.n(1, 2), m.n(2, 5), 7, 6
        ids = (T.INT32, [b, s])
        m.add("EmbedLayerNormalization",
              [ids, m.pick(None, ids), m.f(v, h), m.f(s + m.n(0, 2), h), m.f(v, h), m.f(h), m.f(h)],
              outputs=2, kinds=[T.FLOAT, T.INT32], domain=MS, low=0, high=3, epsilon=1e-5)
        heads, size = m.n(1, 3), m.pick(2, 4)
        w = heads * size
        keys = m.n(2, 5)
        m.add("MultiHeadAttention",
              [[b, s, w], [b, keys, w], [b, keys, w], m.pick(None, m.f(3 * w)), None,
               m.pick(None, m.f(1, heads, s, keys))],
              domain=MS, num_heads=heads, scale=m.pick(None, 0.3))
        past = m.pick(0, 3) if b == 1 else 0  # ONNX Runtime takes no others
        pairs, groups, size = m.n(1, 2), m.n(1, 3), 16
        before = [b, pairs, past, size] if past else None
        widths = [groups * pairs * size, pairs * size, pairs * size]
        rotary = m.n(0, 1)
        m.add("GroupQueryAttention",
              [*([[b, s, sum(widths)], None, None] if m.n(0, 1) else [[b, s, n] for n in widths]),
               before, before, np.full(b, past + s - 1, np.int32), np.int32(past + s),
               *([m.f(9, size // 2), m.f(9, size // 2)] if rotary else [])],
              outputs=3, domain=MS, num_heads=groups * pairs, kv_num_heads=pairs, do_rotary=rotary,
              rotary_interleaved=m.n(0, 1) if rotary else None, scale=m.pick(None, 0.3),
              local_window_size=m.pick(None, 2))
        mask = np.ones((b, s), np.int32)
        mask[0, -1] = 0
        m.add("Attention", [[b, s, w], m.f(w, 3 * w), m.f(3 * w), m.pick(None, mask)], domain=MS,
              num_heads=heads, unidirectional=m.n(0, 1))
        rows = 8
        size = 2 * m.n(1, 3)
        m.add("RotaryEmbedding",
              [[b, s, heads * size], m.pick(np.array([m.n(0, 2)], np.int64), (T.INT64, [b, s])),
               m.f(rows, size // 2), m.f(rows, size // 2)],
              domain=MS, interleaved=m.n(0, 1), low=0, high=3)
        m.add("SkipLayerNormalization", [[b, s, w], [b, s, w], m.f(w), m.f(w), m.pick(None, m.f(w))],
              domain=MS, epsilon=1e-5)
        m.add("SkipSimplifiedLayerNormalization", [[b, s, w], [b, s, w], m.f(w)], domain=MS,
              epsilon=1e-5)
        m.add("FastGelu", [[b, s, w], m.pick(None, m.f(w))], domain=MS)
        m.add("BiasGelu", [[b, s, w], m.f(w)], domain=MS)
        m.add("QuickGelu", [[b, s, w]], domain=MS, alpha=float(m.f(low=0.5, high=2)))
        m.add("FusedMatMul", [[b, s, 3], [b, 4, 3]], domain=MS, transB=1, alpha=0.7)
        m.add("SimplifiedLayerNormalization", [[b, s, w], m.f(w)], opset=17, epsilon=1e-5)


def quantised(m):
    def q(kind, *shape):
        # ONNX Runtime adds pairs of products of unsigned and signed bytes in 16 bits on some
        # processors, which overflows beyond half of the range.
        low, high = (0, 255) if kind == np.uint8 else (-64, 64)
        return m.rng.integers(low, high + 1, shape).astype(kind)

    one = lambda: m.f(low=0.01, high=0.05).reshape(())
    for k in range(8):
        kind = m.pick(np.uint8, np.int8)
        code = T.UINT8 if kind == np.uint8 else T.INT8
        zero = lambda: q(kind)
        wide = m.pick(3, 300, 700)
        # A result next to a tie may be rounded otherwise: one step of 255.
        step = dict(tolerance=1.5 / 100, low=-128 if kind == np.int8 else 0, high=127)
        m.add("MatMulInteger", [(T.UINT8, [2, wide]), q(kind, wide, 3), np.uint8(m.n(0, 255)), zero()],
              kinds=[T.INT32], low=0, high=255, tolerance=0.0)
        m.add("MatMulInteger", [(T.UINT8, [2, wide]), (T.UINT8, [wide, 3])], kinds=[T.INT32], low=0,
              high=255, tolerance=0.0)
        c = m.pick(2, 150)
        m.add("ConvInteger", [(T.UINT8, [1, c, 4, 4]), q(np.uint8, 2, c, 2, 2), np.uint8(m.n(0, 255)),
                              np.uint8(m.n(0, 255))],
              kinds=[T.INT32], low=0, high=255, tolerance=0.0, pads=[0, 1, 1, 0])
        m.add("DynamicQuantizeLinear", [[m.n(1, 3), m.n(2, 4)]], outputs=3,
              kinds=[T.UINT8, T.FLOAT, T.UINT8], tolerance=1.5 / 100)
        m.add("QLinearConv", [(T.UINT8, [1, 2, 5, 5]), one(), np.uint8(m.n(0, 255)), q(np.int8, 3, 2, 2, 2),
                              m.pick(one(), m.f(3, low=0.01, high=0.05)), np.int8(0), np.float32(0.8),
                              np.uint8(128), m.rng.integers(-900, 900, 3).astype(np.int32)]
              if k % 2 else [(T.UINT8, [1, 2, 5, 5]), one(), np.uint8(m.n(0, 255)),
                             q(np.int8, 3, 2, 2, 2), one(), np.int8(m.n(-9, 9)), np.float32(0.8),
                             np.uint8(128)],
              kinds=[T.UINT8], **(step | {"low": 0, "high": 255}), pads=[1, 0, 0, 1])
        m.add("QLinearMatMul", [(code, [2, 5]), one(), zero(), q(kind, 5, 3), one(), zero(),
                                np.float32(0.3), zero()], kinds=[code], **step)
        for op in ("QLinearAdd", "QLinearMul"):
            m.add(op, [(code, [2, 5]), one(), zero(), q(kind, 5), one(), zero(), np.float32(0.06), zero()],
                  kinds=[code], domain=MS, **step)
        for op in ("QLinearSigmoid", "QLinearLeakyRelu"):
            m.add(op, [(code, [2, 5]), one(), zero(), np.float32(0.03), zero()], kinds=[code], domain=MS,
                  alpha=0.1 if op == "QLinearLeakyRelu" else None, **step)
        m.add("QLinearGlobalAveragePool", [(code, [1, 2, 3, 3]), one(), zero(), one(), zero()],
              kinds=[code], domain=MS, **step)
        m.add("QLinearConcat", [one(), zero(), (code, [2, 2]), one(), zero(), (code, [2, 3]), one(), zero()],
              kinds=[code], domain=MS, axis=1, **step)
        m.add("QGemm", [(code, [2, 5]), one(), zero(), q(kind, 5, 3), one(), zero(),
                        m.rng.integers(-500, 500, 3).astype(np.int32), np.float32(0.2), zero()],
              kinds=[code], domain=MS, alpha=1.0, **step)
        m.add("MatMulIntegerToFloat", [(T.UINT8, [2, 5]), q(np.uint8, 5, 3), one(), one(),
                                       np.uint8(3), np.uint8(m.n(0, 255))], domain=MS, low=0, high=255)
        m.add("DynamicQuantizeMatMul", [[2, 5], q(np.uint8, 5, 3), one(), np.uint8(m.n(0, 255))],
              domain=MS, tolerance=2e-2)


def forest(m, kind, targets, modes, missing=False):
    """Lists of full trees of some depth, in the form of versions 1 to 3."""
    lists = {k: [] for k in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids",
                             "values", "modes", "missing_value_tracks_true")}
    leaves = {k: [] for k in ("treeids", "nodeids", "ids", "weights")}
    for t in range(m.n(1, 4)):
        inner = 2 ** m.n(0, 3) - 1
        for i in range(2 * inner + 1):
            leaf = i >= inner
            row = (t, i, m.n(0, 2), 0 if leaf else 2 * i + 1, 0 if leaf else 2 * i + 2,
                   m.n(-4, 4) / 2, "LEAF" if leaf else m.pick(*modes), int(missing and m.n(0, 1)))
            for name, v in zip(lists, row):
                lists[name].append(v)
            for target in targets if leaf else []:
                for name, v in zip(leaves, (t, i, target, m.n(-50, 100) / 50)):
                    leaves[name].append(v)
    out = {f"nodes_{k}": v for k, v in lists.items()}
    out["nodes_hitrates"] = [1.0] * len(lists["modes"])
    return out | {f"{kind}_{k}": v for k, v in leaves.items()}


def classical(m):
    ml = dict(domain=ML, opset=17)
    two = dict(outputs=2, kinds=[T.INT64, T.FLOAT])
    mixed = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
    for k in range(12):
        rows = m.n(1, 5)
        targets = m.n(1, 3)
        modes = m.pick(mixed[:1], mixed[1:2], mixed)
        m.add("TreeEnsembleRegressor", [[rows, 3]], version=3, n_targets=targets,
              aggregate_function=m.pick("SUM", "AVERAGE", "MIN", "MAX"),
              base_values=m.pick(None, [0.5] * targets), **forest(m, "target", range(targets), modes,
                                                                  missing=modes is not mixed), **ml)
        classes = m.n(2, 4)
        # Of two classes with weights each, ONNX Runtime's label is not that of the larger sum.
        classes = max(3, classes)
        m.add("TreeEnsembleClassifier", [[rows, 3]], version=3,
              classlabels_int64s=[5, 3, 8, 1][:classes],
              post_transform=m.pick("NONE", "SOFTMAX", "LOGISTIC"),
              **forest(m, "class", range(classes), mixed[:1]), **two, **ml)
        m.add("TreeEnsembleClassifier", [[rows, 3]], version=3, classlabels_int64s=[5, 3],
              post_transform=m.pick("NONE", "LOGISTIC", "SOFTMAX"), base_values=m.pick(None, [0.25]),
              **forest(m, "class", [0], mixed[:1]), **two, **ml)
        m.add("TreeEnsembleClassifier", [[rows, 3]], version=3, classlabels_int64s=[0, 1],
              post_transform=m.pick("NONE", "LOGISTIC"), **forest(m, "class", [1], mixed[:1]), **two, **ml)
        ensemble(m, rows)
        classes = m.n(2, 4)
        m.add("LinearClassifier", [[rows, 3]], coefficients=m.f(classes * 3).tolist(),
              intercepts=m.f(classes).tolist(), classlabels_ints=[5, 3, 8, 1][:classes],
              post_transform=m.pick("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"), **two, **ml)
        m.add("LinearClassifier", [[rows, 3]], coefficients=m.f(3).tolist(), intercepts=[0.1],
              classlabels_ints=[5, 3], post_transform=m.pick("NONE", "LOGISTIC"), **two, **ml)
        m.add("LinearRegressor", [[rows, 3]], coefficients=m.f(6).tolist(), intercepts=m.f(2).tolist(),
              targets=2, **ml)
        kernel = m.pick("LINEAR", "POLY", "RBF", "SIGMOID")
        params = [0.3, 0.2, float(m.n(2, 3))]
        per = [m.n(1, 3) for _ in range(classes)]
        pairs = classes * (classes - 1) // 2
        m.add("SVMClassifier", [[rows, 3]], kernel_type=kernel, kernel_params=params,
              coefficients=m.f((classes - 1) * sum(per)).tolist(),
              support_vectors=m.f(sum(per) * 3).tolist(), vectors_per_class=per,
              rho=m.f(pairs).tolist(), classlabels_ints=[5, 3, 8, 1][:classes],
              post_transform=m.pick("NONE", "LOGISTIC"), **two, **ml)
        classes = m.n(2, min(3, len(per)))
        per, pairs = per[:classes], classes * (classes - 1) // 2
        m.add("SVMClassifier", [[rows, 3]], kernel_type=kernel, kernel_params=params,
              coefficients=m.f((classes - 1) * sum(per)).tolist(),
              support_vectors=m.f(sum(per) * 3).tolist(), vectors_per_class=per,
              rho=m.f(pairs).tolist(), prob_a=m.f(pairs, low=-2, high=-1).tolist(),
              prob_b=m.f(pairs).tolist(), classlabels_ints=[5, 3, 8][:classes], tolerance=5e-3,
              **two, **ml)
        m.add("SVMClassifier", [[rows, 3]], kernel_params=params, coefficients=m.f(classes * 3).tolist(),
              rho=[0.3], classlabels_ints=[5, 3, 8][:classes],
              post_transform=m.pick("NONE", "SOFTMAX"), **two, **ml)
        m.add("SVMRegressor", [[rows, 3]], kernel_type=kernel, kernel_params=params, n_supports=4,
              coefficients=m.f(4).tolist(), support_vectors=m.f(12).tolist(), rho=[0.2],
              one_class=m.n(0, 1), **ml)
        m.add("Scaler", [[rows, 3]], offset=m.f(3).tolist(), scale=m.f(3).tolist(), **ml)
        m.add("Normalizer", [[rows, 3]], norm=m.pick("MAX", "L1", "L2"), **ml)
        m.add("Imputer", [(T.INT64, [rows, 3])], imputed_value_int64s=m.pick([7], [7, 8, 9]),
              replaced_value_int64=1, kinds=[T.INT64], **ml)
        m.add("Imputer", [[rows, 3]], imputed_value_floats=m.pick([7.0], [7.0, 8, 9]),
              replaced_value_float=float("nan"), **ml)
        m.add("LabelEncoder", [(T.INT64, m.shape(1, 3))], version=m.pick(2, 4), keys_int64s=[0, 2, -1],
              values_int64s=[10, 20, 30], default_int64=m.pick(None, 5), kinds=[T.INT64], **ml)
        m.add("LabelEncoder", [(T.INT64, m.shape(1, 3))], version=m.pick(2, 4), keys_int64s=[0, 2, -1],
              values_floats=[1.5, 2.5, 3.5], **ml)
        m.add("OneHotEncoder", [(T.INT64, m.shape(1, 2))], cats_int64s=[2, 0, -1], **ml)
        m.add("Binarizer", [[rows, 3]], threshold=0.3, **ml)


def ensemble(m, rows):
    """A TreeEnsemble of version 5; its nodes and leaves are lists of their own."""
    nodes = {k: [] for k in ("featureids", "truenodeids", "falsenodeids", "trueleafs", "falseleafs",
                             "modes", "splits")}
    targets, weights, roots, members = [], [], [], []
    count = m.n(1, 2)

    def leaf():
        targets.append(m.n(0, count - 1))
        weights.append(m.n(-50, 100) / 50)
        return len(weights) - 1, 1

    def node(depth):
        i = len(nodes["modes"])
        for v in nodes.values():
            v.append(0)
        mode = m.pick(0, 0, 1, 2, 3, 4, 6)
        nodes["modes"][i], nodes["featureids"][i] = mode, m.n(0, 2)
        nodes["splits"][i] = m.n(-2, 2) / 2
        if mode == 6:
            nodes["splits"][i] = 0
            members.extend([float(v) for v in range(m.n(1, 3))] + [float("nan")])
        for side in ("true", "false"):
            child = node(depth - 1) if depth and m.n(0, 3) else leaf()
            nodes[f"{side}nodeids"][i], nodes[f"{side}leafs"][i] = child
        return i, 0

    # Sets of members are in the order of the nodes, so each tree is made node before children.
    for _ in range(m.n(1, 3)):
        roots.append(len(nodes["modes"]))
        node(m.n(0, 3))
    tensor = lambda name, v, kind: numpy_helper.from_array(np.array(v, kind), name)
    m.add("TreeEnsemble", [[rows, 3]], domain=ML, version=5, opset=21, n_targets=count,
          aggregate_function=m.pick(0, 1), tree_roots=roots,
          nodes_featureids=nodes["featureids"], nodes_truenodeids=nodes["truenodeids"],
          nodes_falsenodeids=nodes["falsenodeids"], nodes_trueleafs=nodes["trueleafs"],
          nodes_falseleafs=nodes["falseleafs"], nodes_modes=tensor("m", nodes["modes"], np.uint8),
          nodes_splits=tensor("s", nodes["splits"], np.float32),
          leaf_targetids=targets, leaf_weights=tensor("w", weights, np.float32),
          membership_values=tensor("v", members, np.float32) if members else None)


def main(folder, seed):
    m = Maker(folder, int(seed))
    for part in (pools, products, moves, basics, logic, recurrent, transformers, quantised, classical):
        part(m)
    with open(os.path.join(folder, "cases.json"), "w") as f:
        json.dump(m.cases, f)


if __name__ == "__main__":
    main(*sys.argv[1:])

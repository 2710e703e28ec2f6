"""Makes small models of the kinds that people have, beside this file in `kinds/`.

    python models/kinds.py [NAME …]

For every kind: `model.onnx`, `input.json` and `expected.json`, what ONNX Runtime answers. The
networks have random weights from fixed seeds and the nodes that usual exporters write; the
classical models are trained on data inside scikit-learn. Needs what requirements.txt lists.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

# One thread: the order of float additions does not depend on the machine's cores.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent / "kinds"
IR_VERSION = 8


class Graph:
    """Collects nodes and weights; every method returns the name of its result."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], {}

    def __call__(self, op, *inputs, outputs=1, **attributes):
        names = [f"{op.lower()}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def const(self, value, dtype=np.float32):
        name = f"const_{len(self.weights)}"
        self.weights[name] = np.asarray(value, dtype)
        return name

    def ints(self, *values):
        return self.const(values, np.int64)

    def weight(self, *shape, scale=None):
        scale = scale or 1 / np.sqrt(shape[0])
        return self.const(self.rng.normal(0, scale, shape))

    def linear(self, x, inner, outer, bias=True):
        y = self("MatMul", x, self.weight(inner, outer))
        return self("Add", self.const(self.rng.normal(0, 0.02, outer)), y) if bias else y

    def model(self, inputs, outputs, opset=17):
        for node, (name, *_) in zip(reversed(self.nodes), [outputs[-1]]):
            node.output[0] = name
        info = lambda name, kind, shape: helper.make_tensor_value_info(name, kind, shape)
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [info(*i) for i in inputs],
            [info(*o) for o in outputs],
            [numpy_helper.from_array(w, k) for k, w in self.weights.items()],
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=IR_VERSION,
            producer_name="dsperse-models",
        )


def heads(g, x, length, count, size):
    y = g("Reshape", x, g.ints(1, length, count, size))
    return g("Transpose", y, perm=[0, 2, 1, 3])


def joined(g, x, length, width):
    y = g("Transpose", x, perm=[0, 2, 1, 3])
    return g("Reshape", y, g.ints(1, length, width))


def gpt():
    """Ids to logits as nanoGPT is exported: LayerNormalization in parts, one product for
    queries, keys and values, a Where on a constant triangle, Gelu by tanh, a tied head."""
    vocabulary, width, length, layers, count = 48, 24, 12, 2, 4
    size = width // count
    g = Graph(1)

    def norm(x):
        mean = g("ReduceMean", x, axes=[-1])
        d = g("Sub", x, mean)
        variance = g("ReduceMean", g("Pow", d, g.const(2)), axes=[-1])
        root = g("Sqrt", g("Add", variance, g.const(1e-5)))
        y = g("Mul", g("Div", d, root), g.const(1 + g.rng.normal(0, 0.1, width)))
        return g("Add", y, g.const(g.rng.normal(0, 0.1, width)))

    def gelu(x):
        cube = g("Mul", g("Pow", x, g.const(3)), g.const(0.044715))
        t = g("Tanh", g("Mul", g("Add", x, cube), g.const(np.sqrt(2 / np.pi))))
        return g("Mul", g("Mul", x, g.const(0.5)), g("Add", t, g.const(1)))

    words = g.weight(vocabulary, width, scale=0.4)
    places = g.weight(16, width, scale=0.2)
    x = g("Gather", words, "ids")
    x = g("Add", x, g("Gather", places, g.const(np.arange(length)[None], np.int64)))
    triangle = g.const(np.tril(np.ones((1, 1, 16, 16))))
    for _ in range(layers):
        y = g.linear(norm(x), width, 3 * width)
        q, k, v = g("Split", y, g.ints(width, width, width), outputs=3, axis=2)
        q, k, v = (heads(g, t, length, count, size) for t in (q, k, v))
        scores = g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))
        scores = g("Mul", scores, g.const(1 / np.sqrt(size)))
        mask = g("Slice", triangle, g.ints(0, 0), g.ints(length, length), g.ints(2, 3))
        mask = g("Equal", mask, g.const(0))
        scores = g("Where", mask, g.const(-np.inf), scores)
        y = g("MatMul", g("Softmax", scores, axis=-1), v)
        x = g("Add", x, g.linear(joined(g, y, length, width), width, width))
        y = gelu(g.linear(norm(x), width, 4 * width))
        x = g("Add", x, g.linear(y, 4 * width, width))
    g("MatMul", norm(x), g("Transpose", words, perm=[1, 0]))
    ids = g.rng.integers(0, vocabulary, (1, length))
    return g.model(
        [("ids", TensorProto.INT64, [1, length])],
        [("logits", TensorProto.FLOAT, [1, length, vocabulary])],
    ), {"ids": ids}


def llama():
    """RMSNorm in parts, rotary positions by halves, grouped heads by Expand, an added mask of
    the least float, SiLU."""
    vocabulary, width, length, layers, count, groups = 40, 24, 10, 2, 4, 2
    size, inner = width // count, 40
    g = Graph(2)

    def norm(x):
        square = g("Pow", x, g.const(2))
        mean = g("ReduceMean", square, axes=[-1])
        root = g("Sqrt", g("Add", mean, g.const(1e-6)))
        y = g("Mul", x, g("Reciprocal", root))
        return g("Mul", g.const(1 + g.rng.normal(0, 0.1, width)), y)

    angle = np.arange(length)[:, None] / 10000 ** (np.arange(0, size, 2) / size)
    angle = np.concatenate([angle, angle], 1)[None, None]
    cos, sin = g.const(np.cos(angle)), g.const(np.sin(angle))

    def turned(x):
        half = size // 2
        left = g("Slice", x, g.ints(0), g.ints(half), g.ints(3))
        right = g("Slice", x, g.ints(half), g.ints(2**63 - 1), g.ints(3))
        turned = g("Concat", g("Neg", right), left, axis=-1)
        return g("Add", g("Mul", x, cos), g("Mul", turned, sin))

    def repeated(x):
        y = g("Unsqueeze", x, g.ints(2))
        y = g("Expand", y, g.ints(1, groups, count // groups, length, size))
        return g("Reshape", y, g.ints(1, count, length, size))

    mask = g.const(np.triu(np.full((length, length), np.finfo(np.float32).min), 1)[None, None])
    x = g("Gather", g.weight(vocabulary, width, scale=0.6), "ids")
    for _ in range(layers):
        h = norm(x)
        q = turned(heads(g, g.linear(h, width, width, False), length, count, size))
        k = turned(heads(g, g.linear(h, width, groups * size, False), length, groups, size))
        v = heads(g, g.linear(h, width, groups * size, False), length, groups, size)
        k, v = repeated(k), repeated(v)
        scores = g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))
        scores = g("Add", g("Div", scores, g.const(np.sqrt(size))), mask)
        y = g("MatMul", g("Softmax", scores, axis=-1), v)
        x = g("Add", x, g.linear(joined(g, y, length, width), width, width, False))
        h = norm(x)
        gate = g.linear(h, width, inner, False)
        gate = g("Mul", gate, g("Sigmoid", gate))
        y = g.linear(g("Mul", gate, g.linear(h, width, inner, False)), inner, width, False)
        x = g("Add", x, y)
    g("MatMul", norm(x), g.weight(width, vocabulary))
    ids = g.rng.integers(0, vocabulary, (1, length))
    return g.model(
        [("ids", TensorProto.INT64, [1, length])],
        [("logits", TensorProto.FLOAT, [1, length, vocabulary])],
    ), {"ids": ids}


def recurrent(op):
    """A series of eight steps to five classes: both directions, then the last states."""
    length, inputs, hidden, classes = 8, 8, 12, 5
    gates = {"LSTM": 4, "GRU": 3}[op]
    g = Graph(3 if op == "LSTM" else 4)
    x = g("Transpose", "series", perm=[1, 0, 2])
    w = g.const(g.rng.normal(0, 0.35, (2, gates * hidden, inputs)))
    r = g.const(g.rng.normal(0, 0.3, (2, gates * hidden, hidden)))
    b = g.const(g.rng.normal(0, 0.1, (2, 2 * gates * hidden)))
    extra = {"linear_before_reset": 1} if op == "GRU" else {}
    outputs = g(op, x, w, r, b, outputs=3 if op == "LSTM" else 2, hidden_size=hidden,
                direction="bidirectional", **extra)
    last = g("Transpose", outputs[1], perm=[1, 0, 2])
    last = g("Reshape", last, g.ints(1, 2 * hidden))
    last = g("Relu", g.linear(last, 2 * hidden, 16))
    g("Gemm", last, g.weight(16, classes), g.const(g.rng.normal(0, 0.1, classes)))
    series = g.rng.normal(0, 1, (1, length, inputs)).astype(np.float32)
    return g.model(
        [("series", TensorProto.FLOAT, [1, length, inputs])],
        [("scores", TensorProto.FLOAT, [1, classes])],
        opset=14,
    ), {"series": series}


def int8_cnn():
    """A convolutional net, quantised to 8 bits by ONNX Runtime's own tool (QDQ form)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    g = Graph(5)

    def conv(x, c, m, **attributes):
        w = g.const(g.rng.normal(0, np.sqrt(2 / (9 * c)), (m, c, 3, 3)))
        b = g.const(g.rng.normal(0, 0.1, m))
        y = g("Conv", x, w, b, kernel_shape=[3, 3], pads=[1, 1, 1, 1], **attributes)
        return g("Relu", y)

    x = conv("image", 1, 8)
    x = g("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = conv(x, 8, 8)
    x = g("Add", conv(y, 8, 8), x)
    x = conv(x, 8, 16, strides=[2, 2])
    x = g("Reshape", x, g.ints(1, 16 * 4 * 4))
    g("Gemm", x, g.weight(256, 10), g.const(g.rng.normal(0, 0.1, 10)))
    model = g.model(
        [("image", TensorProto.FLOAT, [1, 1, 16, 16])], [("logits", TensorProto.FLOAT, [1, 10])]
    )
    images = [g.rng.uniform(0, 1, (1, 1, 16, 16)).astype(np.float32) for _ in range(16)]

    class Images(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(images)

        def get_next(self):
            image = next(self.rest, None)
            return None if image is None else {"image": image}

    with tempfile.TemporaryDirectory() as folder:
        before, after = (os.path.join(folder, f) for f in ("float.onnx", "int8.onnx"))
        onnx.save(model, before)
        quantize_static(before, after, Images(), quant_format=QuantFormat.QDQ, per_channel=False,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True})
        model = onnx.load(after)
    return model, {"image": images[0]}


def classical(kind):
    """A scikit-learn pipeline with a StandardScaler, converted by skl2onnx."""
    from sklearn import datasets, ensemble, linear_model, neural_network, svm
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skl2onnx import to_onnx

    data, estimator, zipmap = {
        "sklearn-logistic": (datasets.load_wine, linear_model.LogisticRegression(max_iter=500), True),
        "sklearn-mlp": (datasets.load_breast_cancer,
                        neural_network.MLPClassifier((16, 8), random_state=0, max_iter=600), False),
        "sklearn-forest": (datasets.load_wine,
                           ensemble.RandomForestClassifier(12, max_depth=4, random_state=0), True),
        "sklearn-boosting": (datasets.load_breast_cancer,
                             ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0), False),
        "sklearn-svm": (datasets.load_iris, svm.SVC(gamma="scale", random_state=0), False),
        "sklearn-ridge": (datasets.load_diabetes, linear_model.Ridge(), None),
    }[kind]
    x, y = data(return_X_y=True)
    x = x.astype(np.float32)
    held = x[7::40]
    keep = np.ones(len(x), bool)
    keep[7::40] = False
    pipeline = make_pipeline(StandardScaler(), estimator).fit(x[keep], y[keep])
    options = None if zipmap is None else {"zipmap": zipmap}
    model = to_onnx(pipeline, x[:1], options=options, target_opset={"": 17, "ai.onnx.ml": 3})
    name = model.graph.input[0].name
    return model, {name: held[2:3]}


KINDS = {
    "gpt": gpt,
    "llama": llama,
    "lstm": lambda: recurrent("LSTM"),
    "gru": lambda: recurrent("GRU"),
    "int8-cnn": int8_cnn,
} | {
    name: (lambda name=name: classical(name))
    for name in ("sklearn-logistic", "sklearn-mlp", "sklearn-forest", "sklearn-boosting",
                 "sklearn-svm", "sklearn-ridge")
}


def main(names):
    print("| kind | nodes | parameters | file |")
    print("| --- | --- | --- | --- |")
    for name in names:
        model, feeds = KINDS[name]()
        # Converters write the day, which would change the file every time.
        del model.metadata_props[:]
        onnx.checker.check_model(model)
        raw = model.SerializeToString(deterministic=True)
        folder = HERE / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(raw)
        document = {"input_data": [v.ravel().tolist() for v in feeds.values()]}
        (folder / "input.json").write_text(json.dumps(document) + "\n")
        # As the nodes stand: fused 8-bit products overflow in 16 bits on some processors.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
        # Maps have no shape: of these, the matrix takes the place, in another test.
        tensors = [o.name for o in session.get_outputs() if o.type.startswith("tensor")]
        results = session.run(tensors, feeds)
        outputs = {
            k: {"shape": list(v.shape), "data": v.ravel().tolist()}
            for k, v in zip(tensors, map(np.asarray, results))
        }
        (folder / "expected.json").write_text(json.dumps({"outputs": outputs}) + "\n")
        parameters = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
        print(f"| {name} | {len(model.graph.node)} | {parameters} | {len(raw) / 1000:.1f} kB |")


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(KINDS)
    unknown = [n for n in chosen if n not in KINDS]
    if unknown:
        sys.exit(f"unknown kind {unknown[0]!r}; known: {', '.join(KINDS)}")
    main(chosen)

"""The sample models: how each is trained, and the ONNX graph that it becomes.

Every function takes training images (float32 in 0..1, shape [N, 8, 8]) and labels, and
returns a `Sample`. The held-out images are never seen here.
"""

from dataclasses import dataclass
from typing import Callable

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

import autograd as ag
from autograd import Var

OPSET = 17
IR_VERSION = 8


@dataclass
class Sample:
    """A trained model and how an 8×8 image becomes its input."""

    model: ModelProto
    prepare: Callable[[np.ndarray], np.ndarray]


def build(name, nodes, weights, in_shape, out_shape=(1, 10)):
    """Wraps nodes and named weights into a model with one input and one output."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, in_shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, out_shape)],
        [numpy_helper.from_array(np.ascontiguousarray(w), k) for k, w in weights.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="dsperse-models",
    )


def node(op, inputs, output, **attributes):
    """A node named after its only output."""
    return helper.make_node(op, inputs, [output], name=output, **attributes)


def he(rng, *shape):
    """He's initialisation: normal with variance 2 / fan-in."""
    fan_in = shape[0] if len(shape) == 2 else np.prod(shape[1:])
    return Var(rng.normal(0, np.sqrt(2 / fan_in), shape))


def zeros(*shape):
    return Var(np.zeros(shape))


def data_of(params):
    return {k: v.data for k, v in params.items()}


def digits_mlp(images, labels):
    """64 → 48 → 24 → 10, trained by scikit-learn."""
    from sklearn.neural_network import MLPClassifier

    prepare = lambda im: im.reshape(len(im), 64)
    mlp = MLPClassifier((48, 24), alpha=1e-3, max_iter=400, random_state=7)
    mlp.fit(prepare(images).astype(np.float64), labels)
    weights, nodes, x = {}, [], "input"
    last = len(mlp.coefs_) - 1
    for i, (w, b) in enumerate(zip(mlp.coefs_, mlp.intercepts_)):
        weights[f"fc{i + 1}.weight"] = w.astype(np.float32)
        weights[f"fc{i + 1}.bias"] = b.astype(np.float32)
        out = "logits" if i == last else f"fc{i + 1}"
        nodes.append(node("Gemm", [x, f"fc{i + 1}.weight", f"fc{i + 1}.bias"], out))
        x = out
        if i != last:
            nodes.append(node("Relu", [x], f"relu{i + 1}"))
            x = f"relu{i + 1}"
    return Sample(build("digits-mlp", nodes, weights, (1, 64)), prepare)


def upscale(images, size=28):
    """Bilinear resize with half-pixel centres, rounded to 1/256 so that files stay small."""
    n = images.shape[1]
    at = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    low = np.minimum(at.astype(int), n - 2)
    frac = at - low
    m = np.zeros((size, n))
    m[np.arange(size), low] = 1 - frac
    m[np.arange(size), low + 1] += frac
    big = m @ images.astype(np.float64) @ m.T
    return (np.round(big * 256) / 256).astype(np.float32)[:, None]


def lenet(images, labels):
    """LeNet-5's shapes on 28×28 without padding: 6@5×5, pool, 16@5×5, pool, 120, 84, 10."""
    rng = np.random.default_rng(11)
    x = upscale(images)
    p = {
        "conv1.weight": he(rng, 6, 1, 5, 5),
        "conv1.bias": zeros(6),
        "conv2.weight": he(rng, 16, 6, 5, 5),
        "conv2.bias": zeros(16),
        "fc1.weight": he(rng, 256, 120),
        "fc1.bias": zeros(120),
        "fc2.weight": he(rng, 120, 84),
        "fc2.bias": zeros(84),
        "fc3.weight": he(rng, 84, 10),
        "fc3.bias": zeros(10),
    }

    def forward(p, x):
        for i in "12":
            x = ag.conv2d(x, p[f"conv{i}.weight"]) + p[f"conv{i}.bias"].reshape(-1, 1, 1)
            x = ag.maxpool2(ag.relu(x))
        x = x.reshape(len(x.data), 256)
        for i in "12":
            x = ag.relu(x @ p[f"fc{i}.weight"] + p[f"fc{i}.bias"])
        return x @ p["fc3.weight"] + p["fc3.bias"]

    ag.train(p, forward, x, labels, epochs=15, rate=2e-3, seed=11)
    nodes, t = [], "input"
    for i in "12":
        nodes += [
            node("Conv", [t, f"conv{i}.weight", f"conv{i}.bias"], f"conv{i}", kernel_shape=[5, 5]),
            node("Relu", [f"conv{i}"], f"relu{i}"),
            node("MaxPool", [f"relu{i}"], f"pool{i}", kernel_shape=[2, 2], strides=[2, 2]),
        ]
        t = f"pool{i}"
    nodes += [
        node("Flatten", ["pool2"], "flat", axis=1),
        node("Gemm", ["flat", "fc1.weight", "fc1.bias"], "fc1"),
        node("Relu", ["fc1"], "relu3"),
        node("Gemm", ["relu3", "fc2.weight", "fc2.bias"], "fc2"),
        node("Relu", ["fc2"], "relu4"),
        node("Gemm", ["relu4", "fc3.weight", "fc3.bias"], "logits"),
    ]
    return Sample(build("lenet", nodes, data_of(p), (1, 1, 28, 28)), upscale)


# The convolutions of resnet-tiny: name, filters, input channels, kernel, stride.
RESNET_CONVS = [
    ("stem", 8, 1, 3, 1),
    ("block1.a", 8, 8, 3, 1),
    ("block1.b", 8, 8, 3, 1),
    ("block2.a", 16, 8, 3, 2),
    ("block2.b", 16, 16, 3, 1),
    ("block2.skip", 16, 8, 1, 2),
]


def resnet_tiny(images, labels):
    """Two residual blocks on 8×8 images; BatchNormalization stays a node of its own.

    The batch dimension of the file is symbolic ("batch"), as exporters leave it.
    """
    rng = np.random.default_rng(23)
    prepare = lambda im: im[:, None]
    x = prepare(images)
    p, conv = {}, {name: spec for name, *spec in RESNET_CONVS}
    for name, (o, c, k, _) in conv.items():
        p[f"{name}.weight"] = he(rng, o, c, k, k)
        p[f"{name}.bn.scale"] = Var(np.ones(o))
        p[f"{name}.bn.bias"] = zeros(o)
    p["fc.weight"], p["fc.bias"] = he(rng, 16, 10), zeros(10)
    running = {name: [np.zeros(o), np.ones(o)] for name, (o, _, _, _) in conv.items()}

    def unit(p, x, name):
        _, _, k, stride = conv[name]
        x, mu, var = ag.normalise(
            ag.conv2d(x, p[f"{name}.weight"], stride, k // 2), (0, 2, 3)
        )
        keep = running[name]
        keep[0] = 0.9 * keep[0] + 0.1 * mu.ravel()
        keep[1] = 0.9 * keep[1] + 0.1 * var.ravel()
        return ag.multiply(x, p[f"{name}.bn.scale"].reshape(-1, 1, 1)) + p[
            f"{name}.bn.bias"
        ].reshape(-1, 1, 1)

    def forward(p, x):
        x = ag.relu(unit(p, x, "stem"))
        y = ag.relu(unit(p, x, "block1.a"))
        x = ag.relu(unit(p, y, "block1.b") + x)
        y = ag.relu(unit(p, x, "block2.a"))
        x = ag.relu(unit(p, y, "block2.b") + unit(p, x, "block2.skip"))
        return x.mean((2, 3)) @ p["fc.weight"] + p["fc.bias"]

    ag.train(p, forward, x, labels, epochs=25, rate=1e-2, seed=23)
    weights = data_of(p)
    for name, (mu, var) in running.items():
        weights[f"{name}.bn.mean"] = mu.astype(np.float32)
        weights[f"{name}.bn.var"] = var.astype(np.float32)
    nodes = []

    def emit(name, t):
        _, _, k, stride = conv[name]
        pad = k // 2
        nodes.append(
            node(
                "Conv",
                [t, f"{name}.weight"],
                f"{name}.conv",
                kernel_shape=[k, k],
                strides=[stride, stride],
                pads=[pad] * 4,
            )
        )
        stats = [f"{name}.bn.{s}" for s in ("scale", "bias", "mean", "var")]
        nodes.append(
            node("BatchNormalization", [f"{name}.conv"] + stats, f"{name}.bn", epsilon=1e-5)
        )
        return f"{name}.bn"

    def act(t, out):
        nodes.append(node("Relu", [t], out))
        return out

    def residual(a, b, block):
        nodes.append(node("Add", [a, b], f"{block}.sum"))
        return act(f"{block}.sum", f"{block}.out")

    t = act(emit("stem", "input"), "stem.out")
    y = act(emit("block1.a", t), "block1.a.out")
    t = residual(emit("block1.b", y), t, "block1")
    y = act(emit("block2.a", t), "block2.a.out")
    y = emit("block2.b", y)
    t = residual(y, emit("block2.skip", t), "block2")
    nodes += [
        node("GlobalAveragePool", [t], "pooled"),
        node("Flatten", ["pooled"], "flat", axis=1),
        node("Gemm", ["flat", "fc.weight", "fc.bias"], "logits"),
    ]
    shapes = ("batch", 1, 8, 8), ("batch", 10)
    return Sample(build("resnet-tiny", nodes, weights, *shapes), prepare)


def transformer_block(images, labels):
    """One pre-norm block over the 8 rows of an image as tokens: width 16, 2 heads."""
    width, heads, hidden = 16, 2, 32
    rng = np.random.default_rng(31)
    linear = lambda i, o: Var(rng.normal(0, np.sqrt(1 / i), (i, o)))
    p = {
        "embed.weight": linear(8, width),
        "embed.position": Var(rng.normal(0, 0.3, (8, width))),
        "ln1.scale": Var(np.ones(width)),
        "ln1.bias": zeros(width),
        "ln2.scale": Var(np.ones(width)),
        "ln2.bias": zeros(width),
        "ln3.scale": Var(np.ones(width)),
        "ln3.bias": zeros(width),
        "mlp.up.weight": linear(width, hidden),
        "mlp.up.bias": zeros(hidden),
        "mlp.down.weight": linear(hidden, width),
        "mlp.down.bias": zeros(width),
        "head.weight": linear(width, 10),
        "head.bias": zeros(10),
    }
    for part in ("q", "k", "v", "proj"):
        p[f"attn.{part}.weight"] = linear(width, width)
        p[f"attn.{part}.bias"] = zeros(width)
    per_head = width // heads

    def forward(p, x):
        def affine(x, name):
            return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

        def layer_norm(x, name):
            return ag.multiply(ag.normalise(x, (-1,))[0], p[f"{name}.scale"]) + p[f"{name}.bias"]

        n = len(x.data)
        split = lambda t, *perm: t.reshape(n, 8, heads, per_head).transpose(*perm)
        x = x @ p["embed.weight"] + p["embed.position"]
        h = layer_norm(x, "ln1")
        q = split(affine(h, "attn.q"), 0, 2, 1, 3)
        k = split(affine(h, "attn.k"), 0, 2, 3, 1)
        v = split(affine(h, "attn.v"), 0, 2, 1, 3)
        a = ag.softmax((q @ k).scale(per_head**-0.5)) @ v
        x = x + affine(a.transpose(0, 2, 1, 3).reshape(n, 8, width), "attn.proj")
        h = ag.gelu(affine(layer_norm(x, "ln2"), "mlp.up"))
        x = x + affine(h, "mlp.down")
        return layer_norm(x, "ln3").mean((1,)) @ p["head.weight"] + p["head.bias"]

    ag.train(p, forward, images, labels, epochs=60, rate=5e-3, seed=31)
    weights = data_of(p)
    weights["attn.scale"] = np.float32(per_head**-0.5)
    weights["split.shape"] = np.array([1, 8, heads, per_head], np.int64)
    weights["merge.shape"] = np.array([1, 8, width], np.int64)
    weights["gelu.sqrt2"] = np.float32(np.sqrt(2))
    weights["gelu.one"] = np.float32(1)
    weights["gelu.half"] = np.float32(0.5)
    nodes = []

    def emit(op, inputs, out, **attributes):
        nodes.append(node(op, inputs, out, **attributes))
        return out

    def affine(t, name):
        t = emit("MatMul", [t, f"{name}.weight"], f"{name}.matmul")
        return emit("Add", [t, f"{name}.bias"], name)

    def layer_norm(t, name):
        inputs = [t, f"{name}.scale", f"{name}.bias"]
        return emit("LayerNormalization", inputs, name, axis=-1, epsilon=1e-5)

    def split(t, name, *perm):
        t = emit("Reshape", [affine(t, name), "split.shape"], f"{name}.split")
        return emit("Transpose", [t], f"{name}.heads", perm=perm)

    t = emit("MatMul", ["input", "embed.weight"], "embed")
    x = emit("Add", [t, "embed.position"], "tokens")
    h = layer_norm(x, "ln1")
    q = split(h, "attn.q", 0, 2, 1, 3)
    k = split(h, "attn.k", 0, 2, 3, 1)
    v = split(h, "attn.v", 0, 2, 1, 3)
    t = emit("MatMul", [q, k], "attn.scores")
    t = emit("Mul", [t, "attn.scale"], "attn.scaled")
    t = emit("Softmax", [t], "attn.weights", axis=-1)
    t = emit("MatMul", [t, v], "attn.mixed")
    t = emit("Transpose", [t], "attn.tokens", perm=[0, 2, 1, 3])
    t = emit("Reshape", [t, "merge.shape"], "attn.merged")
    x = emit("Add", [x, affine(t, "attn.proj")], "residual1")
    t = affine(layer_norm(x, "ln2"), "mlp.up")
    # GELU written out, as exporters do below opset 20: 0.5 · t · (1 + erf(t / √2)).
    e = emit("Erf", [emit("Div", [t, "gelu.sqrt2"], "gelu.div")], "gelu.erf")
    e = emit("Add", [e, "gelu.one"], "gelu.cdf2")
    t = emit("Mul", [emit("Mul", [t, e], "gelu.product"), "gelu.half"], "gelu")
    x = emit("Add", [x, affine(t, "mlp.down")], "residual2")
    t = emit("ReduceMean", [layer_norm(x, "ln3")], "pooled", axes=[1], keepdims=0)
    emit("Gemm", [t, "head.weight", "head.bias"], "logits")
    return Sample(build("transformer-block", nodes, weights, (1, 8, 8)), lambda im: im)


SAMPLES = {
    "digits-mlp": digits_mlp,
    "lenet": lenet,
    "resnet-tiny": resnet_tiny,
    "transformer-block": transformer_block,
}

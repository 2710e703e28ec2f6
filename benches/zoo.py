"""Models as people have them, with weights from a seed: architectures and what exporters write.

    python benches/zoo.py NAME DIRECTORY      # writes model.onnx and input.npz

Convolutional nets have their normalisation folded in, as exporters leave it. Transformers are
spelled as PyTorch exports them: token ids, LayerNormalization and GELU in simple operators, a
causal mask by Where, a head that shares the table of the embedding.
"""

import pathlib
import sys

import numpy
import onnx
from onnx import helper, numpy_helper

SEED = 1
TOKENS = 64


class Net:
    """A model in the making. What a method returns is the name of a tensor."""

    def __init__(self):
        self.random = numpy.random.default_rng(SEED)
        self.nodes, self.constants, self.inputs, self.given = [], [], [], {}

    def input(self, name, values):
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, values.shape))
        self.given[name] = values
        return name

    def images(self, *shape):
        return self.input("input", self.random.random(shape, dtype="float32"))

    def constant(self, values):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.asarray(values), name))
        return name

    def number(self, value):
        return self.constant(numpy.float32(value))

    def ints(self, *values):
        return self.constant(numpy.array(values, "int64"))

    def weight(self, shape, deviation):
        return self.constant(
            self.random.standard_normal(shape, dtype="float32") * numpy.float32(deviation)
        )

    def node(self, op, *inputs, outputs=1, **attributes):
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def save(self, output, directory):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        outputs = [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "m", self.inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        del model.graph.value_info[:]
        onnx.checker.check_model(model)
        onnx.save(model, directory / "model.onnx")
        numpy.savez(directory / "input.npz", **self.given)

    # Layers.

    def conv(self, x, io, kernel, stride=1, pad=None, group=1, gain=2.0):
        fan = io[0] // group * kernel * kernel
        return self.node(
            "Conv",
            x,
            self.weight((io[1], io[0] // group, kernel, kernel), (gain / fan) ** 0.5),
            self.weight((io[1],), 0.01),
            kernel_shape=[kernel] * 2,
            pads=[kernel // 2 if pad is None else pad] * 4,
            strides=[stride] * 2,
            group=group,
        )

    def relu(self, x):
        return self.node("Relu", x)

    def pool(self, x, kernel=2, stride=2, pad=0):
        return self.node(
            "MaxPool", x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    def dense(self, x, io, gain=2.0):
        weights = self.weight((io[1], io[0]), (gain / io[0]) ** 0.5), self.weight((io[1],), 0.01)
        return self.node("Gemm", x, *weights, transB=1)

    def classify(self, x, channels, classes=1000):
        x = self.node("Flatten", self.node("GlobalAveragePool", x))
        return self.dense(x, (channels, classes), 1.0)


def lenet():
    net = Net()
    x = net.images(1, 1, 28, 28)
    x = net.pool(net.relu(net.conv(x, (1, 6), 5)))
    x = net.pool(net.relu(net.conv(x, (6, 16), 5, pad=0)))
    x = net.node("Flatten", x)
    x = net.relu(net.dense(x, (400, 120)))
    x = net.relu(net.dense(x, (120, 84)))
    return net, net.dense(x, (84, 10), 1.0)


def resnet(blocks, expand, size=224):
    """Blocks of two convolutions, or bottlenecks that widen `expand` times."""
    net = Net()
    x = net.images(1, 3, size, size)
    x = net.pool(net.relu(net.conv(x, (3, 64), 7, 2)), 3, 2, 1)
    inside = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        out = width * expand
        for block in range(count):
            stride = 2 if block == 0 and stage > 0 else 1
            short = x
            if inside != out or stride != 1:
                short = net.conv(x, (inside, out), 1, stride, gain=1.0)
            if expand == 1:
                y = net.relu(net.conv(x, (inside, width), 3, stride))
                y = net.conv(y, (width, out), 3, gain=0.5)
            else:
                y = net.relu(net.conv(x, (inside, width), 1))
                y = net.relu(net.conv(y, (width, width), 3, stride))
                y = net.conv(y, (width, out), 1, gain=0.5)
            x, inside = net.relu(net.node("Add", y, short)), out
    return net, net.classify(x, inside)


def vgg16():
    net = Net()
    x, inside = net.images(1, 3, 224, 224), 3
    for count, width in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]:
        for _ in range(count):
            x, inside = net.relu(net.conv(x, (inside, width), 3)), width
        x = net.pool(x)
    x = net.node("Flatten", x)
    x = net.relu(net.dense(x, (512 * 49, 4096)))
    x = net.relu(net.dense(x, (4096, 4096)))
    return net, net.dense(x, (4096, 1000), 1.0)


def mobilenet():
    """MobileNetV2's inverted residuals."""
    net = Net()
    six = lambda x: net.node("Clip", x, net.number(0), net.number(6))
    x = six(net.conv(net.images(1, 3, 224, 224), (3, 32), 3, 2))
    inside = 32
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    plan += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expand, out, count, stride in plan:
        for block in range(count):
            wide, y = inside * expand, x
            if expand > 1:
                y = six(net.conv(y, (inside, wide), 1))
            step = stride if block == 0 else 1
            y = six(net.conv(y, (wide, wide), 3, step, group=wide))
            y = net.conv(y, (wide, out), 1, gain=1.0)
            x = net.node("Add", x, y) if block > 0 else y
            inside = out
    return net, net.classify(six(net.conv(x, (inside, 1280), 1)), 1280)


def detector():
    """A detector of faces at 320 × 240: separable convolutions, heads at four sizes, boxes and
    scores joined."""
    net = Net()
    x = net.images(1, 3, 240, 320)
    separable = lambda x, io, stride: net.relu(
        net.conv(net.relu(net.conv(x, (io[0], io[0]), 3, stride, group=io[0])), io, 1)
    )
    x = net.relu(net.conv(x, (3, 16), 3, 2))
    levels, inside = [], 16
    plan = [(32, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1), None]
    plan += [(128, 2), (128, 1), (128, 1), None, (256, 2), (256, 1), None, (256, 2), None]
    for step in plan:
        if step is None:
            levels.append((x, inside))
        else:
            x, inside = separable(x, (inside, step[0]), step[1]), step[0]
    boxes, scores = [], []
    for (x, inside), anchors in zip(levels, [3, 2, 2, 3]):
        for heads, values in (boxes, 4), (scores, 2):
            y = net.conv(x, (inside, inside), 3, group=inside)
            y = net.conv(net.relu(y), (inside, anchors * values), 1, gain=1.0)
            y = net.node("Transpose", y, perm=[0, 2, 3, 1])
            heads.append(net.node("Reshape", y, net.ints(1, -1, values)))
    scores = net.node("Softmax", net.node("Concat", *scores, axis=1), axis=2)
    return net, net.node("Concat", scores, net.node("Concat", *boxes, axis=1), axis=2)


class Transformer(Net):
    """Layers over [1, TOKENS, width]."""

    def __init__(self, width, heads):
        super().__init__()
        self.width, self.heads = width, heads

    def normalise(self, x):
        mean = self.node("ReduceMean", x, axes=[-1])
        d = self.node("Sub", x, mean)
        square = self.node("Pow", d, self.number(2))
        variance = self.node("ReduceMean", square, axes=[-1])
        root = self.node("Sqrt", self.node("Add", variance, self.number(1e-5)))
        x = self.node("Div", d, root)
        weight = 1 + 0.1 * self.random.standard_normal(self.width, dtype="float32")
        return self.node(
            "Add", self.node("Mul", x, self.constant(weight)), self.weight((self.width,), 0.05)
        )

    def project(self, x, io, deviation=0.02):
        x = self.node("MatMul", x, self.weight(io, deviation))
        return self.node("Add", x, self.weight((io[1],), 0.01))

    def split_heads(self, x, *perm):
        shape = self.ints(1, TOKENS, self.heads, self.width // self.heads)
        return self.node("Transpose", self.node("Reshape", x, shape), perm=perm)

    def attention(self, x, mask, deviation):
        width = self.width
        parts = self.node(
            "Split", self.project(x, (width, 3 * width)), self.ints(width, width, width),
            outputs=3, axis=2,
        )
        q, v = (self.split_heads(p, 0, 2, 1, 3) for p in (parts[0], parts[2]))
        k = self.split_heads(parts[1], 0, 2, 3, 1)
        scores = self.node("MatMul", q, k)
        scores = self.node("Div", scores, self.number((width // self.heads) ** 0.5))
        if mask:
            scores = self.node("Where", mask, scores, self.number(numpy.finfo("float32").min))
        x = self.node("MatMul", self.node("Softmax", scores, axis=3), v)
        x = self.node("Transpose", x, perm=[0, 2, 1, 3])
        x = self.node("Reshape", x, self.ints(1, TOKENS, width))
        return self.project(x, (width, width), deviation)

    def gelu(self, x, exact):
        half = self.node("Mul", x, self.number(0.5))
        if exact:
            inner = self.node("Erf", self.node("Div", x, self.number(2**0.5)))
        else:
            cube = self.node("Mul", self.node("Pow", x, self.number(3)), self.number(0.044715))
            inner = self.node("Mul", self.node("Add", x, cube), self.number((2 / numpy.pi) ** 0.5))
            inner = self.node("Tanh", inner)
        return self.node("Mul", half, self.node("Add", inner, self.number(1)))

    def feed_forward(self, x, deviation, exact=False):
        x = self.gelu(self.project(x, (self.width, 4 * self.width)), exact)
        return self.project(x, (4 * self.width, self.width), deviation)


def gpt(layers, heads, width, vocabulary, positions):
    """GPT-2: ids to logits."""
    net = Transformer(width, heads)
    ids = net.input("input_ids", net.random.integers(0, vocabulary, (1, TOKENS), "int64"))
    table = net.weight((vocabulary, width), 0.02)
    places = net.weight((positions, width), 0.01)
    mask = net.constant(numpy.tril(numpy.ones((1, 1, TOKENS, TOKENS), bool)))
    place = net.constant(numpy.arange(TOKENS, dtype="int64")[None])
    x = net.node("Add", net.node("Gather", table, ids), net.node("Gather", places, place))
    # As GPT-2 is initialised: what is added to the residual stream is scaled down.
    deviation = 0.02 / (2 * layers) ** 0.5
    for _ in range(layers):
        x = net.node("Add", x, net.attention(net.normalise(x), mask, deviation))
        x = net.node("Add", x, net.feed_forward(net.normalise(x), deviation))
    head = net.node("Transpose", table, perm=[1, 0])
    return net, net.node("MatMul", net.normalise(x), head)


def bert():
    """One layer of BERT-base."""
    net = Transformer(768, 12)
    x = net.input("hidden", net.random.standard_normal((1, TOKENS, 768), dtype="float32"))
    x = net.normalise(net.node("Add", x, net.attention(x, None, 0.02)))
    return net, net.normalise(net.node("Add", x, net.feed_forward(x, 0.02, exact=True)))


def conv_layer(size):
    """One convolution of 64 to 64 channels over size × size, for the growth with the data."""
    net = Net()
    return net, net.relu(net.conv(net.images(1, 64, size, size), (64, 64), 3))


def dense_layer(width):
    """One matrix product of 64 rows, for the growth with the weights."""
    net = Net()
    return net, net.relu(net.dense(net.images(64, width), (width, width)))


MODELS = {
    "LeNet-5": lenet,
    "ResNet-18": lambda: resnet((2, 2, 2, 2), 1),
    "ResNet-50": lambda: resnet((3, 4, 6, 3), 4),
    "VGG-16": vgg16,
    "MobileNetV2": mobilenet,
    "face detector": detector,
    "BERT-base block": bert,
    # The sizes of the example of zkonduit/ezkl.
    "nanoGPT": lambda: gpt(4, 4, 64, 65, 64),
    "GPT-2 block": lambda: gpt(1, 12, 768, 1000, 64),
    "GPT-2 124M": lambda: gpt(12, 12, 768, 50257, 1024),
    **{f"conv {n}": lambda n=n: conv_layer(n) for n in (14, 28, 56, 112, 224)},
    **{f"dense {n}": lambda n=n: dense_layer(n) for n in (128, 256, 512, 1024, 2048)},
}


def make(name, directory):
    net, output = MODELS[name]()
    net.save(output, directory)


if __name__ == "__main__":
    make(*sys.argv[1:])

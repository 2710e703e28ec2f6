"""A very small reverse-mode differentiator over numpy.

It exists so that the sample models can be trained with nothing but numpy. A `Var` holds
a float32 array and a function that hands its gradient on to the values it was made of;
`Var.backward` walks the graph once in reverse order. Images are NCHW.
"""

import numpy as np
from scipy.special import erf


class Var:
    """An array, the values it was computed from, and how to send a gradient to them."""

    def __init__(self, data, parents=(), pull=None):
        self.data = np.asarray(data, dtype=np.float32)
        self.grad = None
        self.parents = parents
        self.pull = pull

    def backward(self):
        """Fills `grad` of every value this scalar depends on."""
        order, seen = [], set()

        def visit(v):
            if id(v) not in seen:
                seen.add(id(v))
                for p in v.parents:
                    visit(p)
                order.append(v)

        visit(self)
        self.grad = np.ones_like(self.data)
        for v in reversed(order):
            if v.pull is not None:
                for parent, g in zip(v.parents, v.pull(v.grad)):
                    g = sum_to(np.asarray(g, np.float32), parent.data.shape)
                    parent.grad = g if parent.grad is None else parent.grad + g

    def __add__(self, other):
        return Var(self.data + other.data, (self, other), lambda g: (g, g))

    def __matmul__(self, other):
        a, b = self.data, other.data
        t = lambda x: np.swapaxes(x, -1, -2)
        return Var(a @ b, (self, other), lambda g: (g @ t(b), t(a) @ g))

    def scale(self, k):
        return Var(self.data * np.float32(k), (self,), lambda g: (g * np.float32(k),))

    def reshape(self, *shape):
        old = self.data.shape
        return Var(self.data.reshape(shape), (self,), lambda g: (g.reshape(old),))

    def transpose(self, *perm):
        back = np.argsort(perm)
        return Var(self.data.transpose(perm), (self,), lambda g: (g.transpose(back),))

    def mean(self, axes):
        n = float(np.prod([self.data.shape[a] for a in axes]))
        out = self.data.mean(axes)
        return Var(
            out,
            (self,),
            lambda g: (np.broadcast_to(np.expand_dims(g / n, axes), self.data.shape),),
        )


def sum_to(g, shape):
    """Undoes broadcasting: sums a gradient down to the shape of the operand."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    g = g.sum(axis=tuple(range(lead))) if lead else g
    axes = tuple(i for i, d in enumerate(shape) if d == 1 and g.shape[i] != 1)
    return g.sum(axis=axes, keepdims=True) if axes else g


def relu(x):
    mask = x.data > 0
    return Var(x.data * mask, (x,), lambda g: (g * mask,))


def gelu(x):
    """The exact form: x · Φ(x)."""
    cdf = 0.5 * (1 + erf(x.data / np.float32(np.sqrt(2))))
    pdf = np.exp(-0.5 * x.data**2) / np.float32(np.sqrt(2 * np.pi))
    return Var(x.data * cdf, (x,), lambda g: (g * (cdf + x.data * pdf),))


def softmax(x):
    e = np.exp(x.data - x.data.max(-1, keepdims=True))
    s = e / e.sum(-1, keepdims=True)
    return Var(s, (x,), lambda g: (s * (g - (g * s).sum(-1, keepdims=True)),))


def normalise(x, axes, eps=1e-5):
    """Zero mean and unit variance over `axes`; returns the value, the mean and the variance."""
    mu = x.data.mean(axes, keepdims=True)
    var = x.data.var(axes, keepdims=True)
    inv = 1 / np.sqrt(var + eps)
    xh = (x.data - mu) * inv

    def pull(g):
        return (inv * (g - g.mean(axes, keepdims=True) - xh * (g * xh).mean(axes, keepdims=True)),)

    return Var(xh, (x,), pull), mu, var


def multiply(x, w):
    return Var(x.data * w.data, (x, w), lambda g: (g * w.data, g * x.data))


def conv2d(x, w, stride=1, pad=0):
    """Convolution by gathering patches: x [N,C,H,W], w [O,C,k,k]."""
    k = w.data.shape[2]
    xp = np.pad(x.data, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    win = np.lib.stride_tricks.sliding_window_view(xp, (k, k), (2, 3))[:, :, ::stride, ::stride]
    n, c, ho, wo = win.shape[:4]
    cols = win.transpose(0, 2, 3, 1, 4, 5).reshape(n * ho * wo, c * k * k)
    wm = w.data.reshape(len(w.data), -1)
    out = (cols @ wm.T).reshape(n, ho, wo, -1).transpose(0, 3, 1, 2)

    def pull(g):
        gm = g.transpose(0, 2, 3, 1).reshape(n * ho * wo, -1)
        dcols = (gm @ wm).reshape(n, ho, wo, c, k, k)
        dxp = np.zeros_like(xp)
        for i in range(k):
            for j in range(k):
                dxp[:, :, i : i + stride * ho : stride, j : j + stride * wo : stride] += dcols[
                    ..., i, j
                ].transpose(0, 3, 1, 2)
        h, wd = x.data.shape[2:]
        return dxp[:, :, pad : pad + h, pad : pad + wd], (gm.T @ cols).reshape(w.data.shape)

    return Var(out, (x, w), pull)


def maxpool2(x):
    """2×2 maximum with stride 2; the first of equal maxima receives the gradient."""
    n, c, h, w = x.data.shape
    win = x.data.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    flat = win.reshape(n, c, h // 2, w // 2, 4)
    at = flat.argmax(-1)[..., None]

    def pull(g):
        d = np.zeros_like(flat)
        np.put_along_axis(d, at, g[..., None], -1)
        d = d.reshape(n, c, h // 2, w // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        return (d.reshape(x.data.shape),)

    return Var(np.take_along_axis(flat, at, -1)[..., 0], (x,), pull)


def cross_entropy(logits, labels):
    """Mean cross-entropy of integer labels."""
    z = logits.data - logits.data.max(-1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    rows = np.arange(len(labels))

    def pull(g):
        d = p.copy()
        d[rows, labels] -= 1
        return (g * d / len(labels),)

    return Var(-np.log(p[rows, labels] + 1e-12).mean(), (logits,), pull)


def train(params, forward, x, y, epochs, rate, batch=32, seed=0):
    """Adam with a linearly falling rate. `params` is a dict of `Var`s, updated in place."""
    rng = np.random.default_rng(seed)
    m = {k: np.zeros_like(v.data) for k, v in params.items()}
    s = {k: np.zeros_like(v.data) for k, v in params.items()}
    steps, t = epochs * (len(x) // batch), 0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for b in range(len(x) // batch):
            pick = order[b * batch : (b + 1) * batch]
            for v in params.values():
                v.grad = None
            cross_entropy(forward(params, Var(x[pick])), y[pick]).backward()
            t += 1
            step = rate * (1 - (t - 1) / steps) / (1 - 0.9**t)
            for k, v in params.items():
                m[k] = 0.9 * m[k] + 0.1 * v.grad
                s[k] = 0.999 * s[k] + 0.001 * v.grad**2
                v.data = v.data - np.float32(step) * m[k] / (
                    np.sqrt(s[k] / (1 - 0.999**t)) + 1e-8
                )

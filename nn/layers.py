"""Layers: parameters and how to call their operation. Chains: layers in a row that keep what backward needs."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ltbc.kernels import dispatch
from ltbc.kernels.arrays import Array, sum_dtype
from ltbc.nn.architecture import LayerSpec

OUTPUTS = ("color.4", "class.1")  # chroma and logits stay in the dtype that sums are kept in


class MicroBatch(NamedTuple):
    """Pictures `start` to `stop` of a batch of `total`: a micro-batch."""

    start: int
    stop: int
    total: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def share(self) -> float:
        return (self.stop - self.start) / self.total

    @property
    def first(self) -> bool:
        return self.start == 0

    @property
    def last(self) -> bool:
        return self.stop == self.total


class Buffers:
    """Every array of a step, allocated once for the shapes of its inputs and handed to the kernels as `out=`."""

    def __init__(self, backend: str, xp: ModuleType) -> None:
        self.backend, self.xp = backend, xp
        self.inputs: Any = None
        self.arrays: dict[Any, Array] = {}

    def use_for(self, inputs: Any) -> "Buffers":
        """Forgets all arrays where the shapes of the inputs are not those of the last use."""
        if inputs != self.inputs:
            self.inputs, self.arrays = inputs, {}
        return self

    def get(self, key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
        """The array kept under `key`: an activation buffer in the backend's layout where it is `[N, H, W, C]`.

        A smaller micro-batch gets the first pictures of it.
        """
        if key not in self.arrays or len(self.arrays[key]) < shape[0]:
            four = len(shape) == 4
            self.arrays[key] = (
                dispatch.allocate(shape, dtype, self.backend, self.xp) if four else self.xp.empty(shape, dtype)
            )
        array = self.arrays[key]
        return array if len(array) == shape[0] else array[: shape[0]]

    def turn(self, which: int | str, shape: tuple[int, ...], dtype: Any) -> Array:
        """A memory that passing arrays share: valid until it is asked for again. It grows to the largest."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = self.arrays.get(("turn", which))
        if memory is None or memory.size < size:
            self.arrays.pop(("turn", which), None)
            memory = self.arrays["turn", which] = dispatch.allocate((size,), np.uint8, self.backend, self.xp)
        return memory[:size].view(dtype).reshape(shape)

    def targets(self, gradients: tuple[Array, ...], adds: bool) -> tuple[Array, ...]:
        """Where kernels write gradients, for `add`: into the arrays themselves where there is nothing to add to yet."""
        if not adds:
            return gradients
        return tuple(self.turn(f"gradient {i}", *like(g)) for i, g in enumerate(gradients))

    def add(self, gradients: tuple[Array, ...], written: tuple[Array, ...]) -> None:
        """Adds what was written into `targets`."""
        for total, x in zip(gradients, written):
            if x is not total:
                dispatch.add(total, x, self.backend)

    def put(self, key: Any, x: Array, dtype: Any) -> Array:
        """x in the dtype and layout that the kernels read."""
        array = self.get(key, x.shape, dtype)
        array[...] = self.xp.asarray(x)
        return array


class Layer:
    """One row of the table with its parameters. Keeps no activations: the same layer may serve two chains."""

    def __init__(self, spec: LayerSpec, w: Array, b: Array, backend: str) -> None:
        self.spec, self.w, self.b, self.backend = spec, w, b, backend
        self.op = import_module(f"ltbc.kernels.{spec.op}")
        self.variant = spec.variant
        self.prepared: object = None
        self.overwrites = "conv3x3" in spec.op  # x by dx, times the derivative before x
        self.output_dtype = sum_dtype(w.dtype) if spec.name in OUTPUTS else w.dtype

    def refresh(self) -> None:
        """Brings the weights into the form that the backend's kernels read; to be called after every update."""
        self.prepared = self.op.prepare(self.w, out=self.prepared, backend=self.backend)

    def output_shape(self, x: Array) -> tuple[int, ...]:
        return x.shape[0], *self.spec.output_shape(x.shape[1:])

    def forward(self, *inputs: Array, out: Array) -> Array:
        return self.op.forward(
            *inputs, self.w, self.b, *self.variant, out=out, prepared=self.prepared, backend=self.backend
        )

    def backward(
        self, dy: Array, *inputs: Array, y: Array, out: tuple[Array | None, ...], derived: bool = False, **options: Any
    ) -> tuple:
        """The operation's gradients. derived: dy is times the derivative of this layer's activation already."""
        variant = (*self.variant[:-1], "none") if derived else self.variant
        return self.op.backward(
            dy, *inputs, self.w, y, *variant, out=out, prepared=self.prepared, backend=self.backend, **options
        )


class Chain:
    """Layers in a row. `forward` keeps every activation if asked; `backward` then fills the gradients.

    name: tells this chain's buffers from another's. gradients: "low.0.weight" and so on -> buffer.
    """

    def __init__(self, name: str, layers: list[Layer], gradients: dict[str, Array]) -> None:
        self.name, self.layers, self.gradients = name, layers, gradients
        self.kept: list[Array] = []

    def forward(self, x: Array, buffers: Buffers, keep: bool) -> Array:
        """Output of the last layer. Without `keep`, layers of one output shape take turns with two buffers."""
        self.buffers, self.kept = buffers, [x]
        for i, layer in enumerate(self.layers):
            shape = layer.output_shape(x)
            key = (self.name, i) if keep else (self.name, shape, i % 2)
            x = layer.forward(x, out=buffers.get(key, shape, layer.output_dtype))
            self.kept.append(x)
        if not keep:
            self.kept = []
        return x

    def backward(
        self, dy: Array, micro: MicroBatch, needs_dx: bool = True, adds: bool = False,
        done: Callable[[str], None] | None = None,
    ) -> Array:
        """dx of the first layer (or None); fills this chain's gradients, or adds to them: after the batch's first part,
        and with `adds`, where another chain has filled them already.

        The gradients in between take the place of the activations where layers do that, else they pass
        through two memories that all chains share. done: called with each layer's name after the batch's last part.
        """
        derived = False
        for i in reversed(range(len(self.layers))):
            layer, x, y = self.layers[i], self.kept[i], self.kept.pop()
            over = i > 0 and layer.overwrites
            dx = x if over else self.place_of_dx(i, x) if needs_dx or i > 0 else None
            through = {"through": self.layers[i - 1].spec.activation} if over else {}
            dy = self.backward_layer(layer, dy, x, y, dx, micro, adds, derived=derived, **through)
            derived = over
            if done and micro.last:
                done(layer.spec.name)
        self.kept = []
        return dy

    def place_of_dx(self, i: int, x: Array) -> Array:
        """The first layer's dx stays until the network has used it; others take turns with two memories."""
        if i == 0:
            return self.buffers.get((self.name, "dx"), x.shape, x.dtype)
        return self.buffers.turn(i % 2, x.shape, x.dtype)

    def backward_layer(
        self, layer: Layer, dy: Array, x: Array, y: Array, dx: Array | None, micro: MicroBatch, adds: bool,
        **options: Any,
    ) -> Array:
        """dx, written into the buffer dx (None: not wanted); fills or adds to the layer's gradients."""
        gradients = tuple(self.gradients[f"{layer.spec.name}.{kind}"] for kind in ("weight", "bias"))
        if layer.spec.op == "linear" and micro.share < 1:
            return self.backward_in_parts(layer, dy, x, y, dx, gradients, micro)
        into = self.buffers.targets(gradients, adds or not micro.first)
        dx, *_ = layer.backward(dy, x, y=y, out=(dx, *into), needs_dx=dx is not None, **options)
        self.buffers.add(gradients, into)
        return dx

    def backward_in_parts(
        self, layer: Layer, dy: Array, x: Array, y: Array, dx: Array | None, gradients: tuple[Array, ...],
        micro: MicroBatch,
    ) -> Array:
        """dx of a fully connected layer. Its weights outnumber its activations by far, so that dw is not added up:
        x, y and dy are kept, and after the last part dw is made for the whole batch at once."""
        kept = []
        for name, a in (("dy", dy), ("x", x), ("y", y)):
            whole = self.buffers.get((layer.spec.name, name), (micro.total, a.shape[1]), a.dtype)
            whole[micro.rows] = a
            kept.append(whole)
        if micro.last:
            layer.backward(kept[0], kept[1], y=kept[2], out=(None, *gradients), needs_dx=False)
        return layer.backward(dy, x, y=y, out=(dx, None, None), needs_dw=False)[0]


def as_dtype(dtype: Any) -> np.dtype:
    """NumPy's dtype, bfloat16 included (from ml_dtypes)."""
    if dtype == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(dtype)


def like(x: Array) -> tuple[tuple[int, ...], Any]:
    return x.shape, x.dtype

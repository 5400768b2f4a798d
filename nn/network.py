"""The network: forward and backward written out part by part, in the order of the paper's figure 2.

The low-level layers feed the mid-level and the global branch; the second fully connected layer feeds the global
vector and the class scores. At these two forks the backward pass adds two gradients, below, in plain sight.
"""

import math
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from ltbc.kernels import chroma_loss, class_loss, dispatch, fusion
from ltbc.kernels.arrays import Array
from ltbc.nn.architecture import Settings, layers
from ltbc.nn.backends import check_dtype
from ltbc.nn.layers import Buffers, Chain, Layer, MicroBatch, as_dtype, like
from ltbc.nn.parameters import Parameters, initialize
from ltbc.nn.resize import resize
from ltbc.nn.weights import load_weights, save_weights

ALPHA = 1 / 300  # weight of the class loss: the paper, section 4
MICRO_PIXELS = 16 * 224 * 224  # that the cpu backend trains on at once
CACHED_PIXELS = 1 << 21  # larger inputs give their inference buffers back


class Network:
    """The colorization network of the paper with its scene classifier.

    width: scales every channel count. classes: their names, or how many. global_size, fusion, class_loss,
    color_space: see `Settings`. backend: reference, cpu or gpu. dtype: of the activations and of the weights that the
    kernels read (float32 or float64; bfloat16 and float16 where the backend has them: parameters, biases, gradients
    and losses are float32 then). xp: numpy, or cupy for arrays on a GPU. seed, init: see `initialize`.
    micro_batch: pictures whose activations training keeps at once; a batch is worked through in parts of that size, and
    their gradients are summed. By default the whole batch, with the cpu backend as many as have MICRO_PIXELS.
    Not to be called by two threads at once. Errors: ValueError for settings and shapes that do not fit.
    """

    def __init__(
        self, width: float = 1.0, classes: int | Sequence[str] = 205, global_size: int = 224, fusion: str = "sigmoid",
        class_loss: str = "softmax", color_space: str = "lab",
        *, backend: str = "reference", dtype: Any = "float32", xp: ModuleType = np, seed: int = 0,
        init: str = "he", micro_batch: int | None = None,
    ) -> None:
        names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
        self.settings = Settings(width, names, global_size, fusion, class_loss, color_space)
        self.backend, self.xp, self.dtype, self.micro_batch = backend, xp, as_dtype(dtype), micro_batch
        check_dtype(backend, self.dtype.name)
        if micro_batch is not None and micro_batch < 1:
            raise ValueError(f"network: micro_batch must be at least 1, got {micro_batch}")
        master = np.float64 if self.dtype == np.float64 else np.float32
        self.parameters = Parameters(self.settings, master, xp)
        self.gradients = Parameters(self.settings, master, xp)
        self.low_precision = Parameters(self.settings, self.dtype, xp) if self.dtype.itemsize == 2 else None
        initialize(self.parameters, self.settings, seed, init)
        self.compiled: set[str] = set()  # kinds of work, see `compile_ahead`
        self.make_layers()
        self.refresh()

    def make_layers(self) -> None:
        weights, biases = (self.low_precision or self.parameters).views, self.parameters.views
        parts = {
            part: [Layer(s, weights[f"{s.name}.weight"], biases[f"{s.name}.bias"], self.backend) for s in specs]
            for part, specs in layers(self.settings).items()
        }
        own = self.gradients.views
        self.low, self.mid = Chain("low", parts["low"], own), Chain("mid", parts["mid"], own)
        self.color = Chain("color", parts["color"], own)
        self.fusion = parts["fusion"][0]
        self.layers = [layer for part in parts.values() for layer in part]
        if self.settings.global_size:
            self.global_ = Chain("global", parts["global"], own)
            self.first_fc = Chain("fc", parts["global_fc"][:2], own)
            self.last_fc = Chain("last fc", parts["global_fc"][2:], own)
            self.class_ = Chain("class", parts["class"], own)
            self.low_copy = Chain("low of the copy", parts["low"], own)  # the low-level layers, for the resized copy
        self.inference, self.looking, self.training = (Buffers(self.backend, self.xp) for _ in range(3))
        self.fused: tuple[tuple[Array, ...], Array] = ((), None)  # inputs and output of the fusion layer

    def refresh(self, copied: bool = False) -> None:
        """Brings what the kernels read up to date with `parameters`. copied: `low_precision` already is."""
        if self.low_precision is not None and not copied:
            self.low_precision.flat[...] = self.parameters.flat
        for layer in self.layers:
            layer.refresh()

    def compile_ahead(self, work: str, passes: Callable[[], object]) -> None:
        """Once for each kind of work: has the backend compile what `passes`, the work itself, is about to need."""
        if work in self.compiled or self.backend != "cpu":
            return
        self.compiled.add(work)
        try:
            dispatch.compile_ahead(passes, self.backend)
        finally:
            for layer in self.layers:
                layer.refresh()

    # forward

    def forward(self, luminance: Array, global_input: Array | None = None) -> tuple[Array, Array | None]:
        """(chroma `[N, H/2, W/2, C]` in [0, 1], logits `[N, classes]`, or None without global branch), float32.

        luminance: `[N, H, W, 1]` as `ltbc.kernels.color.encode` gives it, H and W multiples of 8. global_input: the
        picture `[N, S, S, 1]`, S = global_size, whose global features are used: another photograph's for style transfer
        (the paper, section 4.5). By default it is the luminance itself, resized where it is not S x S.
        """
        shapes = self.check(luminance, global_input)
        self.compile_ahead("forward", lambda: self.forward(luminance, global_input))
        chroma, logits = self.run(luminance, global_input, self.inference.use_for(shapes), keep=False)
        chroma, logits = self.xp.array(chroma), None if logits is None else self.xp.array(logits)
        self.inference.use_for(None if luminance.size > CACHED_PIXELS else shapes)
        return chroma, logits

    def run(
        self, luminance: Array, global_input: Array | None, buffers: Buffers, keep: bool
    ) -> tuple[Array, Array | None]:
        """The forward pass. With `keep`, everything stays that `backward` needs."""
        low = self.low.forward(buffers.put("luminance", luminance, self.dtype), buffers, keep)
        mid = self.mid.forward(low, buffers, keep)
        if not self.settings.global_size:
            return self.finish(mid, None, buffers, keep), None
        size = (self.settings.global_size,) * 2
        self.shared = global_input is None and luminance.shape[1:3] == size
        if not self.shared:
            copy = resize(luminance, *size) if global_input is None else global_input
            low = self.low_copy.forward(buffers.put("copy", copy, self.dtype), buffers, keep)
        vector, logits = self.look(low, buffers, keep)
        return self.finish(mid, vector, buffers, keep), logits

    def look(self, low: Array, buffers: Buffers, keep: bool) -> tuple[Array, Array]:
        """The global branch: (global vector, logits)."""
        features = self.global_.forward(low, buffers, keep)
        hidden = self.first_fc.forward(features.reshape(features.shape[0], -1), buffers, keep)
        return self.last_fc.forward(hidden, buffers, keep), self.class_.forward(hidden, buffers, keep)

    def finish(self, mid: Array, vector: Array | None, buffers: Buffers, keep: bool) -> Array:
        """Chroma from mid-level features and global vector."""
        inputs = (mid.reshape(-1, mid.shape[3]),) if vector is None else (mid, vector)
        shape = (*inputs[0].shape[:-1], self.fusion.spec.filters)
        fused = self.fusion.forward(*inputs, out=buffers.get("fusion", shape, self.dtype))
        self.fused = (inputs, fused) if keep else ((), None)
        return self.color.forward(fused.reshape(*mid.shape[:3], -1), buffers, keep)

    def global_features(self, global_input: Array) -> tuple[Array, Array]:
        """(global vector `[N, F]` in `dtype`, logits `[N, classes]`) of pictures `[N, S, S, 1]`, S = global_size."""
        self.check(global_input, global_input)
        self.compile_ahead("features", lambda: self.global_features(global_input))
        buffers = self.looking.use_for(global_input.shape)
        low = self.low_copy.forward(buffers.put("copy", global_input, self.dtype), buffers, keep=False)
        vector, logits = self.look(low, buffers, keep=False)
        return self.xp.array(vector), self.xp.array(logits)

    def colorize_local(self, luminance: Array, vector: Array | None = None) -> Array:
        """forward's chroma, given the global vector `[N, F]` (None without global branch): for parts of a picture.

        Luminance that is cut off counts as 0, as outside of the picture; `ltbc.nn.tiles` says how far that reaches.
        """
        self.check(luminance, None)
        self.compile_ahead("local", lambda: self.colorize_local(luminance, vector))
        buffers = self.inference.use_for(luminance.shape)
        low = self.low.forward(buffers.put("luminance", luminance, self.dtype), buffers, keep=False)
        vector = None if vector is None else self.xp.asarray(vector, self.dtype)
        chroma = self.xp.array(self.finish(self.mid.forward(low, buffers, keep=False), vector, buffers, keep=False))
        self.inference.use_for(None if luminance.size > CACHED_PIXELS else luminance.shape)
        return chroma

    def check(self, luminance: Array, global_input: Array | None) -> tuple:
        """Raises ValueError for shapes that do not fit; returns the shapes that decide the buffers."""
        n, h, w, c = luminance.shape if luminance.ndim == 4 else (0, 0, 0, 0)
        if c != 1 or n < 1 or h < 8 or w < 8 or h % 8 or w % 8:
            raise ValueError(
                "network: luminance must be [N, H, W, 1] with N at least 1 and H, W multiples of 8, "
                f"got {list(luminance.shape)}"
            )
        s = self.settings.global_size
        if global_input is not None and (not s or tuple(global_input.shape) != (n, s, s, 1)):
            wanted = [n, s, s, 1] if s else "None: this network has no global branch"
            raise ValueError(f"network: global_input must be {wanted}, got {list(global_input.shape)}")
        return luminance.shape, global_input is None

    # backward

    def loss_and_gradients(
        self, luminance: Array, chroma: Array, labels: Array | None = None, global_input: Array | None = None,
        alpha: float = ALPHA, scale: float = 1.0, done: Callable[[str], None] | None = None,
        weights: Array | None = None,
    ) -> dict[str, Array]:
        """Losses `{"total", "chroma", "classes"}` (arrays of shape []), total = chroma + alpha * classes.

        Overwrites `gradients` with scale times the gradient of total. chroma: the target `[N, H/2, W/2, C]` of
        `ltbc.kernels.color.encode`. labels: integers `[N]`, not needed without global branch. done: called with a
        layer's name once its gradients are complete, in the last micro-batch. weights: of the squared errors of chroma,
        `[N, H/2, W/2, 1]`, of its dtype. The class gradient reaches `class`,
        `global_fc`, `global` and `low` only.
        """
        shapes = self.check(luminance, global_input)
        for name, x in {"chroma": chroma, "labels": labels}.items():
            if x is not None and len(x) != len(luminance):
                raise ValueError(f"network: {name} must be of {len(luminance)} pictures like luminance, got {len(x)}")
        self.compile_ahead(
            "training",
            lambda: self.loss_and_gradients(luminance, chroma, labels, global_input, alpha, scale, None, weights),
        )
        parts = self.parts(*luminance.shape[:3])
        buffers = self.training.use_for((shapes, parts))
        chroma_losses, class_losses = [], []
        for micro in parts:
            pictures, other = luminance[micro.rows], None if global_input is None else global_input[micro.rows]
            predicted, logits = self.run(pictures, other, buffers, keep=True)
            dchroma, target = buffers.get("dchroma", *like(predicted)), chroma[micro.rows]
            if weights is not None:  # w (p - t)^2 = (r p - r t)^2, r = sqrt(w)
                root = self.xp.sqrt(weights[micro.rows])
                predicted, target = root * predicted, root * target
            loss, dchroma = chroma_loss.value_and_gradient(
                predicted, target, scale * micro.share, out=dchroma, backend=self.backend
            )
            if weights is not None:
                dchroma *= root
            chroma_losses.append(loss)
            dlogits = None
            if logits is not None:
                if labels is None:
                    raise ValueError("network: labels are needed where there is a global branch")
                dlogits = buffers.get("dlogits", *like(logits))
                loss, dlogits = class_loss.value_and_gradient(
                    logits, labels[micro.rows], alpha * scale * micro.share, self.settings.class_loss, out=dlogits,
                    backend=self.backend,
                )
                class_losses.append(loss)
            self.backward(dchroma, dlogits, buffers, micro, done)
        loss = mean_of_parts(chroma_losses, parts)
        if not class_losses:
            return {"total": loss, "chroma": loss, "classes": loss * 0}
        classes = mean_of_parts(class_losses, parts)
        return {"total": loss + alpha * classes, "chroma": loss, "classes": classes}

    def parts(self, images: int, height: int, width: int) -> list[MicroBatch]:
        """The micro-batches of a batch, in order: as few as fit, of sizes that differ by one at most."""
        most = self.micro_batch or (max(1, MICRO_PIXELS // (height * width)) if self.backend == "cpu" else images)
        count = math.ceil(images / most)
        ends = [math.ceil(images * i / count) for i in range(count + 1)]
        return [MicroBatch(start, stop, images) for start, stop in pairwise(ends)]

    def backward(
        self, dchroma: Array, dlogits: Array | None, buffers: Buffers, micro: MicroBatch,
        done: Callable[[str], None] | None,
    ) -> None:
        """The same way back; the two forks add their gradients here, in plain sight."""
        dfused = self.color.backward(dchroma, micro, done=done)
        dmid, dvector = self.unfuse(dfused, buffers, micro, done)
        dlow = self.mid.backward(dmid, micro, done=done)
        if dlogits is None:
            self.low.backward(dlow, micro, needs_dx=False, done=done)
            return
        dhidden = self.last_fc.backward(dvector, micro, done=done)
        dhidden += self.class_.backward(dlogits, micro, done=done)  # fork: global vector and class scores
        dfeatures = self.first_fc.backward(dhidden, micro, done=done)
        dcopy = self.global_.backward(dfeatures.reshape(self.global_.kept[-1].shape), micro, done=done)
        if self.shared:
            dispatch.add(dlow, dcopy, self.backend)  # fork: mid-level and global branch
        else:
            self.low_copy.backward(dcopy, micro, needs_dx=False)  # fork: the same layers saw the picture and its copy
        self.low.backward(dlow, micro, needs_dx=False, adds=not self.shared, done=done)

    def unfuse(
        self, dfused: Array, buffers: Buffers, micro: MicroBatch, done: Callable[[str], None] | None
    ) -> tuple[Array, Array | None]:
        """(dmid, dvector); dvector is None without global branch."""
        (inputs, fused), self.fused = self.fused, ((), None)
        out = [buffers.get(("backward of fusion", i), *like(x)) for i, x in enumerate(inputs)]
        gradients = self.gradients.views["fusion.weight"], self.gradients.views["fusion.bias"]
        into = buffers.targets(gradients, adds=not micro.first)
        dx = self.fusion.backward(dfused.reshape(fused.shape), *inputs, y=fused, out=(*out, *into))
        buffers.add(gradients, into)
        if done and micro.last:
            done("fusion")
        if self.fusion.op is not fusion:
            return dx[0].reshape(*dfused.shape[:3], -1), None
        return dx[0], dx[1]

    # files

    def save(self, path: str | os.PathLike, dtype: Any = np.float32) -> None:
        """Writes the weights as safetensors with the settings as metadata; whole or not at all."""
        save_weights(path, self.parameters, self.settings, dtype)

    @classmethod
    def load(
        cls, path: str | os.PathLike, backend: str = "reference", dtype: Any = "float32", xp: ModuleType = np
    ) -> "Network":
        """The network of a weights file. Raises `WeightsError` (a ValueError) with one line where it cannot be read."""
        arrays, settings = load_weights(path)
        net = cls(**vars(settings), backend=backend, dtype=dtype, xp=xp)
        for name, view in net.parameters.views.items():
            view[...] = xp.asarray(arrays[name])
        net.refresh()
        return net


def mean_of_parts(means: list[Array], parts: list[MicroBatch]) -> Array:
    return means[0] if len(parts) == 1 else sum(micro.share * mean for micro, mean in zip(parts, means))

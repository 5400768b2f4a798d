"""`ltbc export --onnx FILE`: the network as an ONNX file, for other programs; needs the extra `onnx`.

Inputs and outputs are those of `nn.Network.forward`, float32: luminance `[N, H, W, 1]`, H and W multiples of 8, and
global_input `[N, S, S, 1]`, the same picture resized or another one's for its style, to chroma `[N, H/2, W/2, C]` and
logits `[N, classes]`; without global branch only luminance and chroma. The settings stand in the file's metadata.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ltbc.nn import Network, WeightsError
from ltbc.nn.architecture import LayerSpec, layers
from ltbc.nn.weights import FORMAT, write_whole
from ltbc.program import printable

OPSET, IR_VERSION = 17, 8  # of 2022: what runtimes of the last years read
MISSING = "exporting needs the package onnx: pip install 'let-there-be-color[onnx]'"


def main(arguments: list[str], weights: Path | None) -> int:
    """Runs the command line after `export`. weights: the file where none is named."""
    parser = argparse.ArgumentParser("ltbc export", description=__doc__.split("\n\n")[0].split(": ")[1])
    parser.add_argument("--onnx", required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--weights", default=weights, required=weights is None, metavar="FILE", help="trained weights")
    parser.add_argument("--force", action="store_true", help="overwrite the file where it exists")
    options = parser.parse_args(arguments)
    try:
        if os.path.exists(options.onnx) and not options.force:
            raise FileExistsError(f"{options.onnx}: exists (--force overwrites it)")
        data = onnx_bytes(Network.load(options.weights))
        write_whole(options.onnx, data)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "onnx":
            raise
        return told(MISSING)
    except (WeightsError, FileExistsError) as error:
        return told(str(error))
    except OSError as error:
        return told(f"{options.onnx}: {error.strerror or error}")
    print(f"{options.weights} -> {options.onnx}: {len(data) / 1e6:.1f} MB, opset {OPSET}")
    return 0


def told(line: str) -> int:
    print(printable(f"colorize: {line}", sys.stderr), file=sys.stderr)
    return 1


def onnx_bytes(net: Network) -> bytes:
    """The network's graph with its weights, checked."""
    import onnx

    graph = Graph(net)
    low = graph.chain("low", graph.nchw("luminance"))
    inputs: list[tuple[str, list]] = [("luminance", ["N", "H", "W", 1])]
    outputs: list[tuple[str, list]] = [("chroma", ["N", "H/2", "W/2", None])]
    mid = graph.chain("mid", low)
    size = net.settings.global_size
    if size:
        inputs.append(("global_input", ["N", size, size, 1]))
        outputs.append(("logits", ["N", len(net.settings.classes)]))
        features = graph.nhwc(graph.chain("global", graph.chain("low", graph.nchw("global_input"))))
        hidden = graph.chain("global_fc", graph.node("Flatten", features, axis=1), stop=2)
        vector = graph.chain("global_fc", hidden, start=2)
        graph.node("Identity", graph.chain("class", hidden), output="logits")
    else:
        vector = None
    graph.nhwc(graph.chain("color", graph.fusion(mid, vector)), output="chroma")
    value = lambda named: onnx.helper.make_tensor_value_info(named[0], onnx.TensorProto.FLOAT, named[1])  # noqa: E731
    made = onnx.helper.make_graph(
        graph.nodes, "let-there-be-color", [*map(value, inputs)], [*map(value, outputs)], graph.weights
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION, producer_name=FORMAT)
    onnx.helper.set_model_props(model, net.settings.metadata())
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class Graph:
    """Nodes and weights of a network, gathered in the order of its parts; arrays are NCHW between the first and the
    last node."""

    def __init__(self, net: Network) -> None:
        self.net, self.table = net, layers(net.settings)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.known: set[str] = set()

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        from onnx import helper

        output = output or f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, name: str, array: np.ndarray) -> str:
        """Adds a constant once and returns its name."""
        from onnx import numpy_helper

        if name not in self.known:
            self.known.add(name)
            array = array if array.dtype.kind == "i" else array.astype(np.float32)
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def nchw(self, x: str) -> str:
        return self.node("Transpose", x, perm=[0, 3, 1, 2])

    def nhwc(self, x: str, output: str | None = None) -> str:
        return self.node("Transpose", x, perm=[0, 2, 3, 1], output=output)

    def chain(self, part: str, x: str, start: int = 0, stop: int | None = None) -> str:
        for spec in self.table[part][start:stop]:
            x = self.linear(spec, x) if spec.op == "linear" else self.convolution(spec, x)
        return x

    def parameters(self, spec: LayerSpec) -> tuple[np.ndarray, str]:
        """(weights, name of the bias)."""
        views = self.net.parameters.views
        return views[f"{spec.name}.weight"], self.weight(f"{spec.name}.bias", views[f"{spec.name}.bias"])

    def convolution(self, spec: LayerSpec, x: str) -> str:
        w, bias = self.parameters(spec)
        if spec.op == "upsample2x_conv3x3":
            scales = self.weight("twice", np.array([1, 1, 2, 2], np.float32))
            x = self.node("Resize", x, "", scales, mode="nearest", nearest_mode="floor",
                          coordinate_transformation_mode="asymmetric")
        filters = self.weight(f"{spec.name}.weight", w.transpose(3, 2, 0, 1))
        return self.activation(spec, self.node("Conv", x, filters, bias, pads=[1] * 4, strides=[spec.stride] * 2))

    def linear(self, spec: LayerSpec, x: str) -> str:
        w, bias = self.parameters(spec)
        return self.activation(spec, self.node("Gemm", x, self.weight(f"{spec.name}.weight", w), bias))

    def fusion(self, mid: str, vector: str | None) -> str:
        """The mid-level half as a 1x1 convolution; the global half once an image, added to every pixel."""
        (spec,) = self.table["fusion"]
        w, bias = self.parameters(spec)
        of_mid = w[-self.table["mid"][-1].filters :]
        x = self.node("Conv", mid, self.weight("fusion.mid", of_mid.T[..., None, None]), bias)
        if vector is not None:
            whole = self.node("MatMul", vector, self.weight("fusion.global", w[: len(w) - len(of_mid)]))
            x = self.node("Add", x, self.node("Unsqueeze", whole, self.weight("axes", np.array([2, 3]))))
        return self.activation(spec, x)

    def activation(self, spec: LayerSpec, x: str) -> str:
        return x if spec.activation == "none" else self.node(spec.activation.capitalize(), x)

"""A number of the network as a sum of products: an output, or the loss's derivative by an output, weight or bias."""

from typing import NamedTuple

import numpy as np

from ltbc.kernels.arrays import activate, activation_backward
from ltbc.kernels.compare import to_float64, tolerance
from ltbc.nn.architecture import layers
from ltbc.nn.network import ALPHA
from ltbc.nn.study.recording import Record, RecordingNetwork, sources
from ltbc.nn.study.terms import Place, Terms, backward, bias_gradient, forward, one, weight_gradient


class Answer(NamedTuple):
    """value = act(bias + sum of terms), and what the backend stored."""

    terms: list[Terms]
    bias: float
    value: float
    stored: float
    allowed: float  # difference between the two that rounding explains


def explain(net: RecordingNetwork, name: str, place: Place) -> Answer:
    """The output of a layer at a place."""
    records, read = net.records, sources(layers(net.settings))
    record = records[name]
    terms = forward(record, read[name], place)
    terms[0] = as_vector(terms[0], records.get(read[name][0]), read[name][0], record)
    bias = float(record.b[place[2]])
    z = np.array(bias + sum(float((t.a * t.b).sum()) for t in terms))
    value = float(activate(z.reshape(1), record.spec.activation)[0])
    exact = record.spec.op in ("linear", "fusion")
    return finish(terms, bias, value, record, record.y, float(record.y[place]), record.method.error("y"), exact)


def as_vector(terms: Terms, source: Record | None, layer: str, record: Record) -> Terms:
    """The names of a map's elements where a layer reads the map as one vector."""
    if source is None or source.y.shape == record.inputs[0].shape:
        return terms
    shape, element = source.y.shape, terms.element
    return terms._replace(name_a=lambda k: f"{layer}[{','.join(map(str, np.unravel_index(element(k), shape)))}]")


def explain_gradient(net: RecordingNetwork, name: str, place: Place, label: int) -> Answer:
    """The derivative of the loss by the output of a layer at a place."""
    records, read = net.records, sources(layers(net.settings))
    record, terms, error = records[name], [], 1.0
    assert record.dy is not None
    if name == "color.4":
        difference = record.y[place] - to_float64(net.target)[0][place]
        terms = one(difference, 2 / record.y.size, "(y - target)", "2/K", "chroma_loss")
    elif name == "class.1":
        p = probabilities(record.y[0, 0], net.settings.class_loss)
        onehot = "onehot" if net.settings.class_loss == "softmax" else "t"
        terms = one(p[place[2]] - (place[2] == label), ALPHA, f"(p - {onehot})", "alpha/N", "class_loss")
    for user, inputs in read.items():
        for which, source in enumerate(inputs):
            if source == name:
                shape = records[user].inputs[which].shape
                error = max(error, records[user].method.error("dx"))
                flat = record.y.shape != shape  # the features of the global branch, as one vector
                at = (0, 0, int(np.ravel_multi_index(place, record.y.shape))) if flat else place
                terms += backward(records[user], which, at)
    value = sum(float((t.a * t.b).sum()) for t in terms)
    return finish(terms, 0.0, value, record, record.dy, float(record.dy[place]), error, exact=False)


def explain_parameter(net: RecordingNetwork, name: str, kind: str, index: tuple[int, ...]) -> Answer:
    """The derivative of the loss by one weight or bias of a layer. kind: weight or bias."""
    record, read = net.records[name], sources(layers(net.settings))
    if kind == "weight":
        terms = [as_vector(weight_gradient(record, read[name], index), net.records.get(read[name][0]), read[name][0],
                           record)]
    else:
        terms = [bias_gradient(record, index[0])]
    gradients = to_float64(net.gradients.views[f"{name}.{kind}"])
    value, stored = float((terms[0].a * terms[0].b).sum()), float(gradients[index])
    return finish(terms, 0.0, value, record, gradients, stored, record.method.error("dw"), exact=False)


def slope(record: Record, place: Place) -> float:
    """act'(z) of a layer at a place, taken from y as everywhere."""
    return float(activation_backward(np.ones(1), record.y[place].reshape(1), record.spec.activation)[0])


def probabilities(z: np.ndarray, class_loss: str) -> np.ndarray:
    """What the class loss makes of the scores `[K]` of a picture."""
    return softmax(z) if class_loss == "softmax" else activate(z.copy(), "sigmoid")


def softmax(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max())
    return p / p.sum()


def finish(
    terms: list[Terms], bias: float, value: float, record: Record, map_: np.ndarray, stored: float, error: float,
    exact: bool,
) -> Answer:
    """What rounding explains: as in `ltbc.kernels.compare`, of the number's own size or the map's, whichever is larger.

    error: what the method of the backend multiplies rounding errors by. exact: the factors of the products are used as
    they are stored, not rounded or transformed on the way.
    """
    length = max(1, sum(t.a.size for t in terms))
    size = max(abs(value), float(np.sqrt(sum(((t.a * t.b) ** 2).sum() for t in terms) + bias**2)),
               float(np.sqrt((map_**2).mean())))
    name = record.arithmetic
    allowed = tolerance(name, length, name, 0 if exact else 2) * size * error
    return Answer(terms, bias, value, stored, allowed)

"""Lesson 7: one gradient through the whole network: the two forks, and which parameters learn from which loss.

    python lessons/7_one_gradient.py

Read nn/plain.py beside it, the plain text of forward and backward, and nn/README.md, which draws them.
"""

import sys

import numpy as np

sys.path.insert(0, sys.path[0] + "/..")  # the project's folder

from ltbc import program
from ltbc.kernels import chroma_loss, class_loss, color
from ltbc.nn import ALPHA, Network
from ltbc.nn.plain import backward, forward
from ltbc.nn.study.options import read_photo
from ltbc.nn.weights import RELEASED

program.begin()  # so that Ctrl-C and `| head` end it quietly
net = Network.load(RELEASED)
side, label = net.settings.global_size, net.settings.classes.index("river")
pixels = read_photo(f"{sys.path[0]}/ltbc/train/photographs/held_out/water/eilean-donan.jpg", side)
luminance, target = color.encode(pixels[None])

# Forward. What every layer saw and gave is kept: the way back needs it.
chroma, logits, traces = forward(net, luminance)
for name, trace in traces.items():
    print(f"{name:9}", " -> ".join("x".join(map(str, y.shape[1:])) for _, _, y in trace))

# Two losses at two ends. Each knows only how to change its own input: dchroma, dlogits.
weight = ALPHA  # 1/300, the paper's
loss, dchroma = chroma_loss.value_and_gradient(chroma, target)
scene_loss, dlogits = class_loss.value_and_gradient(logits, np.array([label]), weight)
print(f"\nloss = chroma {loss:.5f} + {scene_loss:.3f} / 300 of the scene")

# Backward, with one loss at a time, then with both: gradients are linear, so the first two add up to the third.
of_color = backward(net, traces, dchroma, 0 * dlogits)
of_scene = backward(net, traces, 0 * dchroma, dlogits)
both = backward(net, traces, dchroma, dlogits)


def size(x):
    return np.sqrt(np.mean(np.square(x)))


def add_up(a, b, total):
    return np.allclose(a + b, total, rtol=1e-4, atol=1e-5 * size(total))


print("\nweights of the layer    dL/dw from color   from the scene   add up (root mean squares)")
for name in ("color.4", "color.0", "fusion", "mid.0", "class.1", "global_fc.2", "global_fc.1", "global.0", "low.0"):
    a, b = (g.parameters[f"{name}.weight"] for g in (of_color, of_scene))
    print(f"  {name:20} {size(a):18.1e} {size(b):16.1e}   {add_up(a, b, both.parameters[f'{name}.weight'])}")

# Fork 1. The second fully connected layer is read twice: by the last one, which makes the global vector, and by the
# class scores. Its gradient is the sum of what comes back from both.
vector, scores = both.forks["global vector"][0], both.forks["class scores"][0]
k = abs(vector).argmax()
print(f"\nfork 1, global_fc.1: from the global vector {size(vector):.1e}, from the class scores {size(scores):.1e}")
print(f"  its number {k}: {vector[k]:+.2e} {scores[k]:+.2e} = {vector[k] + scores[k]:+.2e}")

# Fork 2. The low-level features are read twice as well: by the mid-level layers and by the global branch.
mid, all_ = both.forks["mid-level"], both.forks["global branch"]
print(f"fork 2, low.5: from the mid-level layers {size(mid):.1e}, from the global branch {size(all_):.1e}")

# A picture of another size has no second fork: the same low-level layers see it and a resized copy, and each of their
# weights gets the sum of two gradients.
large = color.encode(pixels.repeat(2, 0).repeat(2, 1)[None])[0]
chroma, logits, traces = forward(net, large)
ways = [backward(net, traces, chroma - 0.5, dlogits, only=way) for way in ("", "mid-level", "global branch")]
whole, picture, copy = (way.parameters["low.0.weight"] for way in ways)
print("a larger picture, low.0: the picture's gradient + the copy's = the weight's:", add_up(picture, copy, whole))

net.loss_and_gradients(luminance, target, np.array([label]), alpha=weight)  # the real one, with buffers
same = [np.allclose(g, both.parameters[name], rtol=1e-3, atol=1e-8) for name, g in net.gradients.views.items()]
print("every gradient equals the network's:", all(same))
# Try: "weight = ALPHA" -> "weight = 0.0" leaves the scene out: "from the class scores 0.0e+00"

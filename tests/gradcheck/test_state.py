"""Never a silent all-clear: functions that keep state, change their arguments or ignore memory layouts."""

import numpy as np
import pytest

from gradcheck.layout import LAYOUTS, lay_out, like
from tests.gradcheck.pairs import fails, normal, passes, sine


class Stateful:
    """A layer with faults of state, one by one."""

    def __init__(self, fault):
        self.fault, self.calls, self.sum, self.before, self.x = fault, 0, 0.0, None, None
        self.buffer = np.zeros(4)

    def forward(self, x):
        if self.fault != "cache of the first" or self.x is None:
            self.x = x.copy()
        return np.sin(x)

    def backward(self, dy, x):
        self.calls += 1
        dx = dy * np.cos(self.x)
        if self.fault == "adds":
            self.sum = dx = self.sum + dx
        if self.fault == "every second":
            dx = dx * (1.1 if self.calls % 2 == 0 else 1)
        if self.fault == "every third":
            dx = dx * (1.1 if self.calls % 3 == 0 else 1)
        if self.fault == "of the call before":
            dx, self.before = dx if self.before is None else self.before, dx
        if self.fault == "buffer adds":
            self.buffer += dx
            dx = self.buffer
        if self.fault == "ignores dy after the first":
            self.before = dx if self.before is None else self.before
            dx = self.before
        return dx


FAULTS = ("adds", "every second", "every third", "of the call before", "buffer adds", "ignores dy after the first",
          "cache of the first")


@pytest.mark.parametrize("fault", FAULTS)
def test_state(fault):
    layer = Stateful(fault)
    found = fails(layer.forward, layer.backward, normal(4))
    wanted = {
        "adds": "is 2 times the first; are gradients added", "buffer adds": "is 2 times the first",
        "every second": "not reentrant: called again with the same arguments, dx is 1.1 times the first",
        "cache of the first": "does it keep something of an earlier call?",
    }
    assert wanted.get(fault, "") in found


def test_a_layer_that_keeps_what_it_needs_passes():
    layer = Stateful("")
    assert passes(layer.forward, layer.backward, normal(4)).calls == {"forward": 16, "backward": 4}


def test_a_returned_buffer_may_be_used_again():
    layer, buffer, out = Stateful(""), np.zeros(4), np.zeros(4)

    def backward(dy, x):
        buffer[:] = layer.backward(dy, x)
        return buffer

    def forward(x):
        out[:] = layer.forward(x)
        return out

    passes(forward, backward, normal(4))
    fails(forward, lambda dy, x: 2 * backward(dy, x), normal(4))


def test_changed_arguments():
    def doubles(x):
        x *= 2
        return x

    def normalizes(x):
        x -= x.mean()
        return x / x.std()

    fails(doubles, lambda dy, x: 2 * dy, normal(4), "forward changed its argument x in place")
    fails(normalizes, lambda dy, x: dy, normal(4), "forward changed its argument x in place")
    fails(lambda x: x + 0, lambda dy, x: np.multiply(dy, 2, out=dy), normal(4), "backward changed its argument dy")

    def changes_y(dy, y):
        y -= 1
        return dy

    fails(lambda x: x + 0, changes_y, normal(4), "backward changed its argument y", takes="y")


def test_what_is_not_deterministic():
    rng = np.random.default_rng(0)
    fails(lambda x: np.sin(x) * (rng.random(4) > 0.5), sine, normal(4), "forward is not deterministic")
    fails(np.sin, lambda dy, x: sine(dy, x) * rng.random(4), normal(4), "backward is not reentrant")


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_forward_and_backward_get_the_layout_given(layout):
    """At every point: whoever reads memory in order, not by strides, is found."""
    x = lay_out(normal(3, 4), layout)
    seen = set()

    def flat(x):
        seen.add(x.strides)
        return np.lib.stride_tricks.as_strided(x, x.shape, (x.shape[1] * 8, 8)) * 2 if min(x.strides) > 0 else x.T.T * 2

    def forward(x):
        seen.add(x.strides)
        return 2 * x

    passes(forward, lambda dy, x: 2 * dy, x)
    assert seen == {x.strides}
    if layout in ("strided", "inner"):
        with pytest.raises((AssertionError, ValueError)):
            passes(flat, lambda dy, x: 2 * dy, x)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dy_lies_as_y_does(layout):
    y = lay_out(np.zeros((3, 4)), layout)
    seen = set()

    def forward(x):
        return like(np.sin(x), y, float)

    def backward(dy, x):
        seen.add(dy.strides)
        return sine(dy, x)

    passes(forward, backward, normal(3, 4))
    assert seen == {y.strides}
    seen.clear()
    passes(np.sin, backward, normal(3, 4), dy=lay_out(normal(3, 4, seed=1), layout))
    assert y.strides in seen


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_in_a_layout(layout):
    template = lay_out(normal(3, 4, 2), layout)
    copy = like(template, template, np.float32)
    np.testing.assert_array_equal(copy, template.astype(np.float32))
    assert [s * 2 for s in copy.strides] == list(template.strides)
    repeated = np.broadcast_to(normal(1, 4), (3, 4))
    np.testing.assert_array_equal(like(repeated, repeated, float), repeated)

"""Convolution where one side has one or two channels, forward; and its data gradient of stride 1."""

from ltbc.kernels.conv3x3.few import FEW_CHANNELS, WIDE
from ltbc.kernels.conv3x3.few_inputs import few_inputs, few_inputs_weights
from ltbc.kernels.conv3x3.few_outputs import few_outputs, few_outputs_weights
from ltbc.kernels.cpu.machine import LANES, LEVEL


def takes(inputs, outputs):
    """Whether `multiply` takes so many channels."""
    return inputs <= FEW_CHANNELS or outputs <= FEW_CHANNELS and (LEVEL.masked or inputs % LANES == 0)


def takes_gradient(thin, wide):
    """Whether `few.thin_gradient` does."""
    return thin <= FEW_CHANNELS and wide % WIDE == 0


def multiply(x, dtype, prepared, bias, y, activation, stride=1, turned=False):
    """y = act(bias + x * w), x an Image; turned: by w turned by 180 degrees and transposed, which gives dx."""
    inputs = prepared.w.shape[3 if turned else 2]
    make = few_inputs_weights if inputs <= FEW_CHANNELS else few_outputs_weights

    def form(w, old):
        taps = w.reshape(9, *w.shape[2:])
        return make(taps[::-1].transpose(0, 2, 1) if turned else taps)

    w = prepared.form("backward" if turned else "forward", form)
    if inputs <= FEW_CHANNELS:
        few_inputs(x, dtype, w, bias, y, activation, stride)
    else:
        few_outputs(x, dtype, inputs, w, bias, y, activation, stride)

"""Convolution where one side has one or two channels, forward; its data gradient of stride 1; its weight gradient."""

from ltbc.kernels.conv3x3.few import FEW_CHANNELS, WIDE, thin_gradient
from ltbc.kernels.conv3x3.few_inputs import few_inputs, few_inputs_weights
from ltbc.kernels.conv3x3.few_outputs import few_outputs, few_outputs_weights
from ltbc.kernels.cpu.machine import LANES, LEVEL


def takes(inputs, outputs):
    """Whether `multiply` takes so many channels."""
    return inputs <= FEW_CHANNELS or outputs <= FEW_CHANNELS and (LEVEL.masked or inputs % LANES == 0)


def takes_gradient(thin, wide):
    """Whether `few.thin_gradient` does."""
    return thin <= FEW_CHANNELS and wide % WIDE == 0


def multiply(x, prepared, bias, y, activation, stride=1, turned=False):
    """y = act(bias + x * w), x an Image; turned: by w turned by 180 degrees and transposed, which gives dx."""
    few = x.channels <= FEW_CHANNELS
    make, kernel = (few_inputs_weights, few_inputs) if few else (few_outputs_weights, few_outputs)

    def form(w, old):
        taps = w.reshape(9, *w.shape[2:])
        return make(taps[::-1].transpose(0, 2, 1) if turned else taps)

    kernel(x, prepared.form("backward" if turned else "forward", form), bias, y, activation, stride)


def filter_gradient(x, dz, x_shape, y_shape, stride, dw):
    """dw; x and dz are Images, the shapes those of their pixels without border."""
    if takes_gradient(x.channels, dz.channels):
        c = thin_gradient(thin=x, wide=dz, shape=y_shape, stride=stride)  # [Cin, 9, Cout]
        dw[...] = c.transpose(1, 0, 2).reshape(dw.shape)
    else:  # x[q] meets dz[q - t]: the taps the other way round
        c = thin_gradient(thin=dz, wide=x, shape=x_shape)  # [Cout, 9, Cin]
        dw[...] = c[:, ::-1].transpose(1, 2, 0).reshape(dw.shape)

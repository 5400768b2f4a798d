"""Which algorithm computes a layer on this CPU; asked once a pass.

few: products in registers, where one side has one or two channels. winograd: minimal filtering. windows: direct ones.
"""

from ltbc.kernels.conv3x3 import Method, cpu_few, winograd


def method(dtype, stride, cin, cout, shape):
    """dtype: NumPy's, of storage; shape: [N, H, W] of y. Its `transforms` are the `winograd.Algorithm`."""
    algorithm = winograd.algorithm_for(dtype, stride, cin, cout, *shape)
    usual = "winograd" if algorithm else "windows"
    few_y, few_dx = cpu_few.takes(cin, cout), stride == 1 and cpu_few.takes(cout, cin)
    few_dw = cpu_few.takes_gradient(cin, cout) or stride == 1 and cpu_few.takes_gradient(cout, cin)
    y, dx, dw = ("few" if few else usual for few in (few_y, few_dx, few_dw))
    return Method(y, dx, dw, transforms=algorithm)

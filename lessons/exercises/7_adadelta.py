"""Exercise 7. A step of Adadelta: kernels/adadelta/README.md, equations (1) to (4).

    python -m lessons check 7
"""


def step(p, g, eg, ed, lr, rho, eps):
    """(p, eg, ed) after the step, of parameters p, gradients g, and the two running means eg, ed, all [K]."""
    raise NotImplementedError

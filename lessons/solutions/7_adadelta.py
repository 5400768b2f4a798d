"""Exercise 7. A solution."""

import numpy as np


def step(p, g, eg, ed, lr, rho, eps):
    eg = rho * eg + (1 - rho) * g * g
    d = g * np.sqrt(ed + eps) / np.sqrt(eg + eps)  # of the old ed: it does not know d yet
    ed = rho * ed + (1 - rho) * d * d
    return p - lr * d, eg, ed

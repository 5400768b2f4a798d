"""Let there be Color!, by hand: `ltbc.kernels`, `ltbc.nn`, `ltbc.train`, `ltbc.colorize`, the folders beside this one."""

__version__ = "0.2.0"

"""Our own checker, called as its README says, its forward calls counted."""

from functools import wraps
from typing import Any

from bench.gradients import Pair
from bench.gradients.functions import Calls
from gradcheck import check_gradients, check_layer


def check(pair: Pair, calls: Calls) -> None:
    def counted(forward: Any) -> Any:
        @wraps(forward)
        def call(*args: Any, **named: Any) -> Any:
            calls.n += 1
            return forward(*args, **named)

        return call

    if pair.style == "layer":
        pair.forward.forward = counted(pair.forward.forward)
        check_layer(pair.forward, *pair.arguments.values())
    elif pair.backward is not None:
        check_gradients(
            counted(pair.forward), pair.backward, pair.arguments, wrt=pair.wrt, takes=pair.takes and list(pair.takes),
            tangent=pair.tangent or None, complex="plain" if pair.convention == "jax" else "conjugate",
        )

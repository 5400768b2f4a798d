"""nn/graph.py where graphs are recorded by running (Triton's interpreter); `tests/on_gpu` has the same on a GPU."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest

from tests.tools.interpreter import watched  # isort: skip (first: it sets TRITON_INTERPRET)
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.targets import recording
from ltbc.nn import Adadelta, Network
from ltbc.nn.graph import Replay
from tests.nn.test_gpu_network import TILE, make


def steps(batches, net, replayed):
    """Losses of a step on each batch, and the parameters after them."""
    optimizer = Adadelta(net)

    def step(**batch):
        losses = net.loss_and_gradients(**batch)
        optimizer.step()
        return losses

    run = Replay(net, step) if replayed else step
    return [float(run(**batch)["total"]) for batch in batches], net.parameters.flat.copy()


def test_replayed_steps_have_the_bits_of_launched_ones(monkeypatch):
    found, recorded = [], []
    for replayed in (False, True):
        with watched(**TILE) as target:
            record = lambda work: recorded.append(work) or work  # noqa: E731
            monkeypatch.setattr(target, "capture", record, raising=False)
            net, batch = make("gpu")
            other = {name: x[::-1].copy() for name, x in batch.items()}
            found.append(steps([batch, other], net, replayed))
    assert found[0][0] == found[1][0] and found[0][1].tobytes() == found[1][1].tobytes()
    assert len(recorded) == 1, "recorded once, at the second step"


def test_other_shapes_are_recorded_anew_and_other_backends_never():
    seen = []
    with watched() as target:
        target.capture = lambda work: seen.append("recorded") or work
        net = SimpleNamespace(backend="gpu", xp=np, **dict.fromkeys(
            ("inference", "looking", "training"), SimpleNamespace(arrays={})))
        double = Replay(net, lambda x: seen.append(x.copy()) or 2 * x)
        for n in (3, 3, 3, 2, 2):
            np.testing.assert_array_equal(double(x=np.full(n, n + 1.0)), np.full(n, 2 * n + 2))
        assert [s if isinstance(s, str) else len(s) for s in seen] == [3, "recorded", 3, 3, 2, "recorded", 2]
    net = Network(0.03, classes=2, global_size=16)
    x = np.zeros((1, 16, 16, 1), np.float32)
    forward = Replay(net, lambda x: net.forward(x))
    for _ in range(3):
        assert forward(x=x)[0].tobytes() == net.forward(x)[0].tobytes()


def test_while_a_graph_is_recorded_nothing_is_compiled_and_no_garbage_collected():
    runtime = SimpleNamespace(jit_cache_hook="before")
    with pytest.raises(RuntimeError, match="for the first time while a graph is recorded"):
        with recording(runtime):
            assert not gc.isenabled()
            runtime.jit_cache_hook(key="k", repr="r", fn=None, compile=None)
    assert gc.isenabled() and runtime.jit_cache_hook == "before"
    gc.disable()
    try:
        with recording(runtime):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


class FakeStream(SimpleNamespace):
    def __enter__(self):
        self.log.append("enter")
        return self

    def __exit__(self, *_):
        self.log.append("exit")


def test_capture_records_on_a_stream_of_its_own_and_replays_on_the_current_one():
    """The calls of CuPy that `launch.Gpu.capture` makes, in order."""
    log = []
    graph = SimpleNamespace(launch=lambda stream: log.append(f"launch on {stream}"))
    stream = FakeStream(log=log, begin_capture=lambda: log.append("begin"),
                        end_capture=lambda: log.append("end") or graph)
    pool = SimpleNamespace(malloc=None)
    cuda = SimpleNamespace(
        Stream=lambda non_blocking: stream if non_blocking else None, MemoryPool=lambda: pool,
        using_allocator=lambda malloc: FakeStream(log=[]), get_current_stream=lambda: "current",
    )
    gpu = object.__new__(launch.Gpu)
    gpu.arrays = SimpleNamespace(cuda=cuda)
    replay = gpu.capture(lambda: log.append("work") or log.append(gc.isenabled()) or "results")
    assert log == ["enter", "begin", "work", False, "end", "exit"]
    assert [replay(), replay()] == ["results", "results"] and log[6:] == ["launch on current"] * 2

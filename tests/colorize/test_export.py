"""The ONNX file: its output is ours, at several sizes and settings; what is told where it cannot be written."""

import json
import sys

import numpy as np
import pytest

import ltbc.colorize.__main__ as program
from ltbc.colorize.export import MISSING, onnx_bytes
from ltbc.nn import Network
from tests.nn.test_tiles import network

SETTINGS = {
    "plain": {},
    "relu fusion": {"fusion": "relu"},
    "rgb": {"color_space": "rgb"},
    "without global branch": {"global_size": 0},
}
NEEDS_ONNX = "the export needs ONNX: pip install 'let-there-be-color[onnx]'"


@pytest.mark.parametrize("case", SETTINGS)
def test_onnxruntime_gives_our_output(case):
    pytest.importorskip("onnx", reason=NEEDS_ONNX)
    runtime = pytest.importorskip("onnxruntime", reason=NEEDS_ONNX)
    net = network(**SETTINGS[case])
    session = runtime.InferenceSession(onnx_bytes(net), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for n, height, width in ((1, 40, 64), (2, 32, 32)):
        inputs = {"luminance": rng.uniform(-1, 1, (n, height, width, 1)).astype(np.float32)}
        if net.settings.global_size:
            inputs["global_input"] = rng.uniform(-1, 1, (n, 32, 32, 1)).astype(np.float32)
        chroma, *logits = session.run(None, inputs)
        want, want_logits = net.forward(**inputs)
        assert chroma.shape == want.shape and np.ptp(want) > 0.1 and np.abs(chroma - want).max() < 2e-5
        assert not logits or np.allclose(logits[0], want_logits, rtol=1e-4, atol=1e-5)
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["classes"]) == ["0", "1", "2"] and float(properties["width"]) == 1 / 16


def test_the_command(tmp_path, capsys):
    pytest.importorskip("onnx", reason=NEEDS_ONNX)
    Network(width=1 / 32, classes=2, global_size=32).save(tmp_path / "tiny.safetensors")
    command = ["export", "--onnx", str(tmp_path / "out.onnx"), "--weights", str(tmp_path / "tiny.safetensors")]
    assert program.main(command) == 0 and (tmp_path / "out.onnx").stat().st_size > 10_000
    assert "out.onnx: " in capsys.readouterr().out
    assert program.main(command) == 1
    assert capsys.readouterr().err == f"colorize: {tmp_path}/out.onnx: exists (--force overwrites it)\n"
    assert program.main([*command, "--force"]) == 0
    missing = ["export", "--onnx", str(tmp_path / "new.onnx"), "--weights", str(tmp_path / "none")]
    assert program.main(missing) == 1
    assert capsys.readouterr().err == f"colorize: {tmp_path}/none: no such weights file\n"
    no_folder = [*command[:2], str(tmp_path / "no/new.onnx"), *command[3:]]
    assert program.main(no_folder) == 1 and "No such file or directory" in capsys.readouterr().err


def test_a_missing_package_is_told(tmp_path, capsys, monkeypatch):
    Network(width=1 / 32, classes=2, global_size=32).save(tmp_path / "tiny.safetensors")
    monkeypatch.setitem(sys.modules, "onnx", None)
    command = ["export", "--onnx", str(tmp_path / "out.onnx"), "--weights", str(tmp_path / "tiny.safetensors")]
    assert program.main(command) == 1 and capsys.readouterr().err == f"colorize: {MISSING}\n"

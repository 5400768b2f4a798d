"""`ltbc explain`: derivatives by weights, biases and z, the scene they are taken towards, a pixel of the output; by
default with the released weights."""

import re

import numpy as np
import pytest
from PIL import Image

from ltbc.kernels import color
from ltbc.kernels.arrays import activation_backward
from ltbc.nn import Network
from ltbc.nn.__main__ import main
from ltbc.nn.study import explain as program
from ltbc.nn.study.answers import explain_parameter, slope
from ltbc.nn.study.explain import kinds
from ltbc.nn.study.output_pixel import sensitivity
from ltbc.nn.study.recording import RecordingNetwork
from ltbc.nn.weights import RELEASED
from tests.nn.test_explain import SETTINGS, files, photo  # noqa: F401


def parameters(net, count):
    """(layer, kind, index) of parameters drawn from every layer, of fusion from both halves."""
    rng = np.random.default_rng(0)
    for name, view in net.parameters.views.items():
        layer, _, kind = name.rpartition(".")
        for k in range(count):
            index = tuple(int(rng.integers(n)) for n in view.shape)
            if layer == "fusion" and kind == "weight":
                index = (k % 2 * (view.shape[0] - 1), index[1])
            yield layer, kind, index


@pytest.mark.parametrize("settings", SETTINGS)
def test_in_float64_the_sums_are_the_gradients(settings):
    net = RecordingNetwork(**SETTINGS[settings], dtype="float64", init="he-whole")
    net.record(photo(net.settings.global_size or 64), 1, gradient=True)
    not_zero = 0
    for layer, kind, index in parameters(net, 6):
        answer = explain_parameter(net, layer, kind, index)
        assert answer.value == pytest.approx(answer.stored, rel=1e-8, abs=1e-15), (layer, kind, index)
        not_zero += answer.value != 0
    assert not_zero > 60


@pytest.mark.parametrize("backend, dtype", list(kinds()))
def test_every_backend_stored_the_sum(backend, dtype):
    net = RecordingNetwork(**SETTINGS["global"], backend=backend, dtype=dtype)
    net.record(photo(), 1, gradient=True)
    for layer, kind, index in parameters(net, 4):
        answer = explain_parameter(net, layer, kind, index)
        assert abs(answer.value - answer.stored) <= answer.allowed, (layer, kind, index)


def test_the_slope_is_that_of_the_activation():
    net = RecordingNetwork(**SETTINGS["global"], dtype="float64")
    for record in net.record(photo(), 1, gradient=True).values():
        wanted = activation_backward(np.ones_like(record.y), record.y, record.spec.activation)
        for place in np.argwhere(wanted == wanted)[:: max(1, wanted.size // 5)]:
            assert slope(record, tuple(place)) == wanted[tuple(place)]


def shown(capsys, *words, code=0):
    with pytest.raises(SystemExit) as left:
        main(["explain", *words])
    out, err = capsys.readouterr()
    assert left.value.code == code, err
    return out + err


@pytest.fixture
def on_reference(monkeypatch):
    monkeypatch.setattr(program, "kinds", lambda: [("reference", "float32")])


@pytest.mark.parametrize("words, wanted", [
    ("fusion 1 2 3 --gradient", r"act'\(z\), sigmoid: y \(1 - y\).*\n.*dz = dy \* act'\(z\), the derivative by z ="),
    ("mid.0 1 2 3 --gradient", r"act'\(z\), relu, y = .*\n.*dz ="), ("class.1 0 0 2 --gradient", r"act'\(z\), no act"),
    ("low.3 w 0 2 1 4", r"equation \(4\):\n.*dw\[r,s,c,o\]"), ("low.3 b 4", r"equation \(5\):\n.*db\[o\]"),
    ("color.3 w 1 2 0 1", r"kernels/upsample2x_conv3x3/README.md, equation \(6\)"), ("fusion w 0 3", r"s\[3\]"),
    ("global_fc.0 w 17 3", r"global.3\[\d,\d,\d+\]"), ("class.1 w 2 1", "class.0.2. .* dz.1."),
])
def test_what_is_written_out(files, capsys, on_reference, words, wanted):  # noqa: F811
    image, weights = files
    assert re.search(wanted, shown(capsys, *words.split(), "--photo", image, "--weights", weights))


def test_sigmoid_classes_have_their_own_equation(tmp_path, capsys, on_reference):
    Image.fromarray(photo(70)).save(tmp_path / "photo.png")
    for kind, equation in (("softmax", "(p - onehot)   (2)"), ("sigmoid", "(p - t)   (4)")):
        weights = tmp_path / f"{kind}.safetensors"
        Network(**SETTINGS["global"] | {"class_loss": kind}).save(weights)
        told = shown(capsys, "class.1", "0", "0", "1", "--gradient", "--photo", str(tmp_path / "photo.png"),
                     "--weights", str(weights))
        text, number = equation.split("   ")
        assert f"class_loss/README.md, equation {number}:\n        dz = 1/N {text}\n" in told


def test_the_scene_is_told_by_name_and_taken_by_name(files, capsys, on_reference):  # noqa: F811
    image, _ = files
    words = ("low.5", "1", "2", "3", "--gradient", "--photo", image)
    assert "the released weights" in (own := shown(capsys, *words))
    number, name = re.search(r"pulls towards scene (\d+), '(\w+)', the network's own first guess", own).groups()
    assert Network.load(RELEASED).settings.classes[int(number)] == name
    for label in ("aqueduct", "5"):
        assert "pulls towards scene 5, 'aqueduct'\n" in shown(capsys, *words, "--label", label)
    assert "no class is called 'no-such'; `ltbc classes`" in shown(capsys, *words, "--label", "no-such", code=2)
    assert "no class is called 'AQUE'; perhaps aqueduct" in shown(capsys, *words, "--label", "AQUE", code=2)


def test_classes_are_listed(files, capsys):  # noqa: F811
    main(["classes"])
    listed = capsys.readouterr().out.splitlines()
    assert listed == [f"{k:4} {name}" for k, name in enumerate(Network.load(RELEASED).settings.classes)]
    main(["classes", "--weights", files[1]])
    assert capsys.readouterr().out.split() == ["0", "0", "1", "1", "2", "2"]


def test_an_untrained_network_is_asked_for_and_told(files, capsys, on_reference):  # noqa: F811
    told = shown(capsys, "low.1", "1", "2", "3", "--photo", files[0], "--untrained")
    assert told.startswith("AN UNTRAINED NETWORK") and "released" not in told
    assert "not allowed with" in shown(capsys, "low.1", "1", "2", "3", "--photo", files[0], "--untrained",
                                       "--weights", files[1], code=2)


@pytest.mark.parametrize("words, message", [
    ("low.1 w 3 0 0 0", "w of low.1 is 3x3x4x8, it has no w[3, 0, 0, 0]"),
    ("low.1 b 0 1", "b of low.1 is 8, it has no b[0, 1]"), ("low.1 1 2", "name row, column and channel"),
    ("low.1 x 1 2", "PLACE must be whole numbers"), ("output 32 0", "output: name ROW and COLUMN in 0..31, got 32 0"),
])
def test_errors_are_one_line(files, capsys, on_reference, words, message):  # noqa: F811
    (line,) = shown(capsys, *words.split(), "--photo", files[0], "--weights", files[1], code=2).splitlines()
    assert message in line


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_pixel_of_the_output_follows_from_what_moves_it(settings):
    net = Network(**SETTINGS[settings] | {"width": 1 / 8}, dtype="float64", init="he-whole")
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    values, local, everywhere = sensitivity(net, pixels, 5, 20)
    luminance, _ = color.encode(pixels[None], net.settings.color_space)
    v, h = np.random.default_rng(0).normal(size=luminance.shape), 1e-7
    up, down = (net.forward(luminance + s * h * v)[0][0, 5, 20] for s in (1, -1))
    assert np.allclose(values, net.forward(luminance)[0][0, 5, 20])
    assert np.allclose((up - down) / (2 * h), ((local + everywhere) * v[0, :, :, 0]).sum((1, 2)), rtol=1e-3, atol=1e-7)
    assert local.any() and bool(everywhere.any()) == bool(net.settings.global_size)


def test_a_pixel_of_the_output_is_told_by_squares(files, capsys, on_reference):  # noqa: F811
    told = shown(capsys, "output", "5", "20", "--photo", files[0], "--weights", files[1], "--terms", "64")
    shares = [float(s) for s in re.findall(r"([\d.]+)% of it", told)]
    assert len(shares) == 128 and sum(shares) == pytest.approx(200, abs=5)
    assert "d a* / d luminance" in told and "d b* / d luminance" in told

"""The whole network: against PyTorch's autograd of the same network, its switches, its table, its files."""

import numpy as np
import pytest
import torch

from bench.torch import network as torch_network
from ltbc.nn import Adadelta, Network, Settings, WeightsError
from ltbc.nn.architecture import cost_table, parameter_shapes
from ltbc.nn.resize import resize

CASES = {  # settings beside width and image size; which picture the global branch sees
    "plain": {},
    "relu fusion": {"fusion": "relu"},
    "sigmoid classes": {"class_loss": "sigmoid"},
    "yuv": {"color_space": "yuv"},
    "rgb": {"color_space": "rgb"},
    "without global branch": {"global_size": 0},
}


def make(width=0.06, size=(32, 32), foreign=False, dtype="float64", seed=0, images=2, **settings):
    """A small network off its symmetric start, and a batch of pictures for it."""
    rng = np.random.default_rng(seed)
    settings = {"global_size": 32, "classes": 5} | settings
    net = Network(width, dtype=dtype, seed=seed, **settings)
    noise = rng.normal(size=net.parameters.flat.shape) * 0.02
    for name, view in net.parameters.views.items():  # and not between them, where zeros stay
        start = net.parameters.starts[name]
        view += noise[start : start + view.size].reshape(view.shape).astype(view.dtype)
    net.refresh()
    channels = 3 if net.settings.color_space == "rgb" else 2
    h, w = size
    batch = {
        "luminance": rng.uniform(-1, 1, (images, h, w, 1)),
        "chroma": rng.uniform(0, 1, (images, h // 2, w // 2, channels)),
        "labels": rng.integers(0, 5, images),
    }
    if foreign:
        batch["global_input"] = rng.uniform(-1, 1, (images, 32, 32, 1))
    return net, {name: x if x.dtype.kind == "i" else x.astype(net.parameters.flat.dtype) for name, x in batch.items()}


def torch_loss(torch_net, batch):
    """Loss of the PyTorch copy; a picture of another size than the global branch's gets our resized copy."""
    size = torch_net.settings.global_size
    global_input = batch.get("global_input")
    if size and global_input is None and batch["luminance"].shape[1:3] != (size, size):
        global_input = resize(batch["luminance"], size, size)
    return torch_net.loss(
        torch_network.nchw(batch["luminance"]), torch_network.nchw(batch["chroma"]), torch.from_numpy(batch["labels"]),
        None if global_input is None else torch_network.nchw(global_input),
    )


def assert_same_as_torch(net, batch):
    torch_net = torch_network.from_network(net)
    expected = torch_loss(torch_net, batch)
    expected.backward()
    net.gradients.flat[:] = np.nan  # every gradient must be written
    loss = net.loss_and_gradients(**batch)["total"]
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    for name, gradient in torch_network.gradients(torch_net).items():
        error = np.linalg.norm(net.gradients.views[name] - gradient) / np.linalg.norm(gradient)
        assert error < 1e-10, f"gradient of {name} is off by {error:.1e}"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("width", [0.06, 0.11])
@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
def test_loss_and_every_gradient_equal_autograd(case, width, size):
    assert_same_as_torch(*make(width, size, **CASES[case]))


@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
def test_gradients_with_a_foreign_global_input(size):
    assert_same_as_torch(*make(size=size, foreign=True))


@pytest.mark.parametrize("case", ["plain", "without global branch"])
def test_ten_steps_equal_torch(case):
    net, batch = make(**CASES[case])
    torch_net = torch_network.from_network(net)
    ours = Adadelta(net, lr=1.0, rho=0.9, eps=1e-6)
    theirs = torch.optim.Adadelta(torch_net.parameters(), lr=1.0, rho=0.9, eps=1e-6)
    for step in range(10):
        expected = torch_loss(torch_net, batch)
        theirs.zero_grad()
        expected.backward()
        theirs.step()
        loss = net.loss_and_gradients(**batch)["total"]
        ours.step()
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-9, err_msg=f"step {step}")


def test_class_gradient_stays_out_of_the_color_branch():
    net, batch = make()
    net.loss_and_gradients(**batch, alpha=0.0)
    without = {name: g.copy() for name, g in net.gradients.views.items()}
    net.loss_and_gradients(**batch, alpha=1.0)
    changed = {name.split(".")[0] for name, g in net.gradients.views.items() if not np.array_equal(g, without[name])}
    assert changed == {"low", "global", "global_fc", "class"}
    same = [np.array_equal(net.gradients.views[f"global_fc.2.{kind}"], without[f"global_fc.2.{kind}"])
            for kind in ("weight", "bias")]
    assert all(same), "the class branch hangs on the second fully connected layer, before the global vector"


def test_done_names_every_layer_once_when_its_gradient_is_final():
    for kwargs in ({}, {"foreign": True}, {"global_size": 0}):
        net, batch = make(**kwargs)
        seen = {}
        net.loss_and_gradients(**batch, done=lambda name, s=seen, n=net: s.setdefault(
            name, (n.gradients.views[f"{name}.weight"].copy(), len(s))))
        assert set(seen) == {layer.spec.name for layer in net.layers}
        for name, (gradient, _) in seen.items():
            np.testing.assert_array_equal(gradient, net.gradients.views[f"{name}.weight"])


MICRO = {"plain": {}, "relu fusion": {"fusion": "relu"}, "without global branch": {"global_size": 0},
         "another size": {"size": (40, 24)}, "foreign global input": {"foreign": True}}


@pytest.mark.parametrize("case", MICRO)
@pytest.mark.parametrize("micro_batch", [1, 2, 4, 9])
def test_micro_batches_sum_to_the_whole_batch(case, micro_batch):
    net, batch = make(images=5, **MICRO[case])
    want = net.loss_and_gradients(**batch)
    gradients, seen = {name: g.copy() for name, g in net.gradients.views.items()}, {}
    net.gradients.flat[:] = np.nan
    net.micro_batch = micro_batch
    for _ in range(2):  # the second time, buffers and gradients hold what the first left
        found = net.loss_and_gradients(**batch, scale=3.0, done=lambda name: seen.setdefault(
            name, net.gradients.views[f"{name}.weight"].copy()))
    for name in want:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-12, err_msg=name)
    for name, g in gradients.items():
        np.testing.assert_allclose(net.gradients.views[name], 3 * g, rtol=1e-9, atol=1e-13, err_msg=name)
    assert set(seen) == {layer.spec.name for layer in net.layers}
    for name, final in seen.items():
        np.testing.assert_array_equal(final, net.gradients.views[f"{name}.weight"], err_msg=name)


@pytest.mark.parametrize("dtype, bound, of_loss", [("float32", 2e-5, 2e-6), ("bfloat16", 0.15, 2e-4)])
def test_micro_batches_of_the_cpu_backend(dtype, bound, of_loss):
    """As near to exact gradients as the whole batch: smaller ones may take other algorithms, which round elsewhere.
    Measured on AVX2 and AVX-512: 8e-7 and 9e-8, 0.05 and 1.2e-5."""
    net, batch = make(width=0.25, dtype=dtype, backend="cpu", images=5)
    exact, same = make(width=0.25, images=5)
    for name, view in (net.low_precision or net.parameters).views.items():
        exact.parameters.views[name][...] = net.parameters.views[name] if name.endswith("bias") else view
    losses = [exact.loss_and_gradients(**same), net.loss_and_gradients(**batch)]
    error = lambda: np.linalg.norm(net.gradients.flat - exact.gradients.flat)  # noqa: E731
    whole, net.micro_batch = error(), 2
    losses.append(net.loss_and_gradients(**batch))
    assert error() < 1.5 * whole < bound * np.linalg.norm(exact.gradients.flat)
    np.testing.assert_allclose([x["total"] for x in losses], losses[0]["total"], rtol=of_loss)


def test_the_cpu_backend_splits_large_batches():
    sizes = lambda net, *batch: [part.stop - part.start for part in net.parts(*batch)]  # noqa: E731
    cpu = Network(0.06, 5, backend="cpu")
    assert sizes(cpu, 32, 224, 224) == [16, 16] and sizes(cpu, 33, 224, 224) == [11, 11, 11]
    assert sizes(cpu, 16, 224, 224) == [16] and sizes(cpu, 2, 2000, 2000) == [1, 1]
    assert sizes(Network(0.06, 5), 64, 224, 224) == [64]
    assert sizes(Network(0.06, 5, micro_batch=10), 32, 224, 224) == [8, 8, 8, 8]
    with pytest.raises(ValueError, match="network: micro_batch must be at least 1, got 0"):
        Network(0.06, 5, micro_batch=0)


def test_scale_multiplies_gradients_only():
    net, batch = make()
    loss = net.loss_and_gradients(**batch)["total"]
    gradient = net.gradients.flat.copy()
    assert net.loss_and_gradients(**batch, scale=1000.0)["total"] == loss
    np.testing.assert_allclose(net.gradients.flat, 1000 * gradient, rtol=1e-10, atol=1e-15)


def test_style_transfer_takes_the_global_vector_from_the_other_picture():
    net, batch = make()
    own = net.forward(batch["luminance"])
    same = net.forward(batch["luminance"], global_input=batch["luminance"])
    other = net.forward(batch["luminance"], global_input=batch["luminance"][::-1])
    np.testing.assert_array_equal(own[0], same[0])
    assert not np.array_equal(own[0], other[0])
    np.testing.assert_allclose(other[1], own[1][::-1], rtol=1e-10)  # classes are the style picture's


def test_any_size_sees_a_resized_copy():
    net, batch = make(size=(40, 72))
    explicit = net.forward(batch["luminance"], resize(batch["luminance"], 32, 32))
    implicit = net.forward(batch["luminance"])
    np.testing.assert_array_equal(explicit[0], implicit[0])
    assert implicit[0].shape == (2, 20, 36, 2)


def test_chroma_and_logits_are_not_rounded_to_the_activations_dtype():
    """At bfloat16 a smooth sky would show 256 steps at most."""
    net, batch = make(dtype="bfloat16", size=(64, 64))
    for x in net.forward(batch["luminance"]):
        assert x.dtype == np.float32 and (x != x.astype(net.dtype).astype(np.float32)).mean() > 0.9


def test_forward_results_are_not_overwritten_by_the_next_call():
    net, batch = make()
    first = net.forward(batch["luminance"])
    copies = [x.copy() for x in first]
    net.forward(batch["luminance"][::-1])
    for x, copy in zip(first, copies):
        np.testing.assert_array_equal(x, copy)


def test_resize_keeps_constants_and_agrees_with_pillow():
    from PIL import Image

    rng = np.random.default_rng(0)
    assert np.allclose(resize(np.full((1, 13, 40, 1), 0.7), 32, 32), 0.7)
    for shape in ((57, 31), (10, 20)):
        picture = rng.random(shape).astype(np.float32)
        expected = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(resize(picture[None, :, :, None], 32, 32)[0, :, :, 0], expected, atol=2e-6)


def test_parameter_count_and_cost_of_the_paper():
    settings = Settings(classes=tuple(map(str, range(205))))
    rows = cost_table(settings, 224, 224)
    assert sum(row["parameters"] for row in rows) == 42_353_839
    assert sum(row["macs"] for row in rows) == 8_582_941_952
    assert sum(int(np.prod(s)) for s in parameter_shapes(settings).values()) == 42_353_839
    assert rows[5]["output"] == [28, 28, 512] and rows[-3]["output"] == [112, 112, 2]


@pytest.mark.parametrize("size", [(32, 32), (40, 72)])
def test_table_tells_the_shapes_that_the_network_makes(size, monkeypatch):
    net, batch = make(size=size)
    shapes = []
    for layer in net.layers:
        def forward(*inputs, out, layer=layer, original=layer.forward):
            shapes.append((layer.spec.name, list(out.shape[1:])))
            return original(*inputs, out=out)

        monkeypatch.setattr(layer, "forward", forward)
    net.forward(batch["luminance"])
    rows = cost_table(net.settings, *size)
    assert sorted(shapes) == sorted((row["name"].removesuffix(" (global)"), row["output"]) for row in rows)


def test_same_seed_same_parameters_other_seed_others():
    seeds = (1, 1, 2, 3, 2**32 + 1, 2**63)
    flat = [Network(0.1, 3, 32, seed=seed).parameters.flat.tobytes() for seed in seeds]
    assert flat[0] == flat[1] and len(set(flat)) == 5


def test_first_prediction_is_nearly_grey_and_signals_keep_their_size():
    net = Network(0.25, 10, 64, seed=3)
    chroma, logits = net.forward(np.random.default_rng(0).uniform(-1, 1, (4, 64, 64, 1)).astype(np.float32))
    assert np.abs(chroma - 0.5).max() < 0.2 and np.abs(logits).max() < 2


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_saved_weights_come_back(tmp_path, dtype):
    net = Network(0.05, ("sea", "wood"), 40, "relu", "sigmoid", "yuv", seed=4)
    net.save(tmp_path / "w.safetensors", dtype)
    back = Network.load(tmp_path / "w.safetensors")
    assert back.settings == net.settings
    np.testing.assert_array_equal(back.parameters.flat, net.parameters.flat.astype(dtype).astype(np.float32))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_weights_file_has_the_stated_format(tmp_path):
    from safetensors import safe_open

    Network(0.05, ("sea", "wood"), 40).save(tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", "np") as file:
        metadata, names = file.metadata(), set(file.keys())
    assert metadata == {
        "format": "let-there-be-color/1", "width": "0.05", "classes": '["sea", "wood"]', "global_size": "40",
        "fusion": "sigmoid", "class_loss": "softmax", "color_space": "lab",
    }
    layers = [f"low.{i}" for i in range(6)] + [f"global.{i}" for i in range(4)] + [f"global_fc.{i}" for i in range(3)]
    layers += ["mid.0", "mid.1", "fusion"] + [f"color.{i}" for i in range(5)] + ["class.0", "class.1"]
    assert names == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def broken_files(folder):
    """Weights files that must be refused, and what the message must say."""
    from safetensors.numpy import load_file, save_file

    Network(0.05, 2, 32).save(folder / "good")
    data = (folder / "good").read_bytes()
    arrays = load_file(folder / "good")
    metadata = {"format": "let-there-be-color/1", **Network(0.05, 2, 32).settings.metadata()}
    yield folder / "missing", "no such weights file"
    (folder / "truncated").write_bytes(data[: len(data) // 2])
    yield folder / "truncated", "not a whole safetensors file"
    (folder / "foreign").write_bytes(b"hello" * 10)
    yield folder / "foreign", "not a whole safetensors file"
    save_file(arrays, folder / "unmarked")
    yield folder / "unmarked", "not weights of this program"
    save_file(arrays, folder / "wider", metadata | {"width": "0.1"})
    yield folder / "wider", "must be .* at width 0.1"
    save_file(arrays, folder / "damaged", metadata | {"fusion": "tanh"})
    yield folder / "damaged", "damaged settings"
    save_file(arrays | {"extra": arrays["low.0.bias"]}, folder / "extra", metadata)
    yield folder / "extra", "holds extra"


def test_unreadable_weights_give_one_clear_line(tmp_path):
    for path, message in broken_files(tmp_path):
        with pytest.raises(WeightsError, match=message) as caught:
            Network.load(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    net = Network(0.05, 2, 32)
    net.parameters.views["mid.0.weight"][1, 1, 0, 0] = np.nan
    net.save(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="w.safetensors: mid.0.weight holds NaN or infinite numbers"):
        Network.load(tmp_path / "w.safetensors")


@pytest.mark.parametrize("kwargs, message", [
    ({"width": 0}, "width"), ({"global_size": 30}, "global_size"), ({"classes": 0}, "classes"),
    ({"fusion": "tanh"}, "fusion"), ({"class_loss": "hinge"}, "class_loss"), ({"color_space": "hsv"}, "space"),
    ({"backend": "cpu", "dtype": "float64"}, "backend cpu computes in float32, bfloat16, got float64"),
])
def test_settings_that_do_not_fit_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Network(**({"width": 0.05, "classes": 2, "global_size": 32} | kwargs))


@pytest.mark.parametrize("shape", [(1, 30, 32, 1), (1, 32, 32, 3), (32, 32, 1), (0, 32, 32, 1), (1, 0, 32, 1)])
def test_images_that_do_not_fit_are_refused(shape):
    net = Network(0.05, 2, 32)
    with pytest.raises(ValueError, match="luminance must be"):
        net.forward(np.zeros(shape, np.float32))


def test_global_input_that_does_not_fit_is_refused():
    x = np.zeros((1, 32, 32, 1), np.float32)
    with pytest.raises(ValueError, match="global_input must be"):
        Network(0.05, 2, 32).forward(x, np.zeros((1, 40, 40, 1), np.float32))
    with pytest.raises(ValueError, match="no global branch"):
        Network(0.05, 2, 0).forward(x, x)


def test_table_on_the_command_line(capsys):
    import json

    from ltbc.nn.__main__ import main

    main(["--json"])
    table = json.loads(capsys.readouterr().out)
    assert table["parameters"] == 42_353_839 and table["macs"] == 8_582_941_952
    assert {"name", "input", "output", "parameters", "macs"} <= set(table["layers"][0])
    assert all(row["activation_bytes"] == 4 * np.prod(row["output"]) for row in table["layers"]), "float32"
    assert table["activation_bytes"] == sum(row["activation_bytes"] for row in table["layers"])
    main(["--size", "480x640", "--json"])
    assert json.loads(capsys.readouterr().out)["layers"][0]["input"] == [480, 640, 1], "height, width"
    main(["--width", "0.5", "--classes", "10", "--size", "480x640"])
    assert "low.0 (global)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--size", "30"])
    assert "multiples of 8" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_views_are_aligned_and_zeros_lie_between_them(backend, dtype):
    net, batch = make(dtype=dtype, backend=backend)
    optimizer = Adadelta(net)
    for _ in range(2):
        net.loss_and_gradients(**batch)
        optimizer.step()
    between = np.ones(net.parameters.flat.size, bool)
    for buffer in filter(None, (net.parameters, net.gradients, net.low_precision)):
        for view in buffer.views.values():
            start = (view.__array_interface__["data"][0] - buffer.flat.ctypes.data) // view.itemsize
            assert start % 32 == 0
            between[start : start + view.size] = False
    assert between.sum() == between.size - sum(view.size for view in net.parameters.views.values()) > 100
    low = net.low_precision or net.parameters
    for flat in (net.parameters.flat, net.gradients.flat, low.flat, optimizer.eg, optimizer.ed):
        assert not flat[between].any()


@pytest.mark.parametrize("name, message", [
    ("chroma", "network: chroma must be of 2 pictures like luminance, got 3"),
    ("labels", "network: labels must be of 2 pictures like luminance, got 3"),
    (None, "network: labels are needed where there is a global branch"),
])
def test_what_does_not_fit_the_pictures_is_refused(name, message):
    net, batch = make()
    wrong = {name: np.concatenate([batch[name], batch[name][:1]])} if name else {"labels": None}
    with pytest.raises(ValueError) as caught:
        net.loss_and_gradients(**batch | wrong)
    assert str(caught.value) == message

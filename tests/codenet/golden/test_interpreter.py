# SPDX-License-Identifier: Apache-2.0
"""The graph interpreter: each kind by hand or against the golden functions, whole networks against PyTorch."""

from __future__ import annotations

import time
import weakref

import numpy as np
import pytest

from codenet.errors import GraphError
from codenet.golden import interpreter
from codenet.golden import operators as golden
from codenet.graph import Concat, Convolution, Depthwise, Graph, Input, MaxPool, Requantize, Shuffle, Slice, Upsample
from tests import networks


def identity(channels: int) -> Requantize:
    return Requantize(np.ones(channels, np.int16), np.zeros(channels, np.int64), 0, -128, 127)


def small_graph() -> Graph:
    """Every kind once; the 1x1 convolution copies channels so that results are known by hand."""
    eye = np.eye(4, 3, dtype=np.int8).reshape(4, 1, 1, 3)
    eye[3] = 1
    relu = Requantize(np.ones(4, np.int16), np.array([-128, -128, -128, -100], np.int64), 0, -128, 127)
    centre = np.zeros((4, 3, 3), np.int8)
    centre[:, 1, 1] = 1
    return Graph(
        "small",
        (
            Input(name="image", height=4, width=6),
            Convolution(name="copy", inputs=("image",), weights=eye, requantize=relu, scale=1.0, zero_point=-128),
            Slice(name="half", inputs=("copy",), start=2, stop=4),
            Concat(name="both", inputs=("copy", "half")),
            Shuffle(name="shuffled", inputs=("both",), groups=2),
            MaxPool(name="pooled", inputs=("copy",)),
            Depthwise(
                name="same", inputs=("pooled",), weights=centre, requantize=identity(4), scale=1.0, zero_point=-128
            ),
            Upsample(name="up", inputs=("same",)),
        ),
        {"up": "up"},
    )


IMAGE = np.arange(72, dtype=np.int8).reshape(4, 6, 3)


def test_every_kind_by_hand() -> None:
    tensors = interpreter.run(small_graph(), IMAGE)
    assert list(tensors) == ["image", "copy", "half", "both", "shuffled", "pooled", "same", "up"]
    copy = tensors["copy"]
    assert np.array_equal(copy[:, :, :3], IMAGE.astype(int) - 128)
    assert np.array_equal(copy[:, :, 3], np.clip(IMAGE.astype(int).sum(axis=2) - 100, -128, 127))
    assert np.array_equal(tensors["half"], copy[:, :, 2:])
    # Groups of three channels, read across: copy0, copy3, copy1, half0, copy2, half1.
    assert np.array_equal(tensors["shuffled"], copy[:, :, [0, 3, 1, 2, 2, 3]])
    # The largest value of a window is its last row and column.
    assert tensors["pooled"].shape == (2, 3, 4)
    assert tensors["pooled"][0, 1, 0] == copy[1, 3, 0] and tensors["pooled"][1, 2, 0] == copy[3, 5, 0]
    assert np.array_equal(tensors["same"], tensors["pooled"])
    assert tensors["up"].shape == (4, 6, 4)
    assert np.array_equal(tensors["up"][1::2, ::2], tensors["same"])
    assert all(tensor.dtype == np.int8 for tensor in tensors.values())


def test_keeps_only_what_is_asked_for() -> None:
    everything = interpreter.run(small_graph(), IMAGE)
    some = interpreter.run(small_graph(), IMAGE, ["shuffled", "up"])
    assert list(some) == ["shuffled", "up"]
    assert all(np.array_equal(some[name], everything[name]) for name in some)
    assert list(interpreter.run(small_graph(), IMAGE, ["image"])) == ["image"]
    assert interpreter.run(small_graph(), IMAGE, []) == {}


def test_tensors_that_nothing_reads_any_more_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large networks have more tensors than a memory: of a chain two are there at a time."""
    evaluate, made, alive = interpreter._evaluate, [], []

    def counted(*arguments):
        alive.append(sum(reference() is not None for reference in made))
        result = evaluate(*arguments).copy()
        made.append(weakref.ref(result))
        return result

    monkeypatch.setattr(interpreter, "_evaluate", counted)
    names = ["image", *(f"up{n}" for n in range(5))]
    chain = [Upsample(name=name, inputs=(before,)) for before, name in zip(names, names[1:], strict=False)]
    graph = Graph("chain", (Input(name="image", height=1, width=1), *chain), {"last": names[-1]})
    assert list(interpreter.run(graph, IMAGE[:1, :1], [names[-1]])) == names[-1:]
    assert alive == [0, 1, 1, 1, 1]


def test_a_tensor_read_twice_by_one_operation_is_freed_once() -> None:
    graph = Graph(
        "twice",
        (Input(name="image", height=1, width=1), Concat(name="pair", inputs=("image", "image"))),
        {"pair": "pair"},
    )
    assert interpreter.run(graph, IMAGE[:1, :1], ["pair"])["pair"].tolist() == [[[0, 1, 2, 0, 1, 2]]]


def reference(graph: Graph, image: np.ndarray) -> dict[str, np.ndarray]:
    """The network in PyTorch, on float64 that hold integers; no code of the golden model."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    values = {graph.input.name: torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]}

    def requantize(acc, r):
        m, b = (torch.from_numpy(v.astype(np.int64))[None, :, None, None] for v in (r.m, r.b))
        return ((acc.long() * m + b) >> r.s).clamp(r.lo, r.hi).double()

    for op in graph.operations[1:]:
        x = values[op.inputs[0]]
        zero_point = graph.tensors[op.inputs[0]].zero_point
        if isinstance(op, Convolution):
            margin = op.weights.shape[1] // 2
            padded = functional.pad(x, (margin,) * 4, value=zero_point)
            kernel = torch.from_numpy(op.weights.astype(np.float64)).permute(0, 3, 1, 2)
            y = requantize(functional.conv2d(padded, kernel, stride=op.stride), op.requantize)
        elif isinstance(op, Depthwise):
            kernel = torch.from_numpy(op.weights.astype(np.float64))[:, None]
            d = values[op.inputs[1]][0, 0].long() if len(op.inputs) == 2 else torch.ones(x.shape[2:], dtype=torch.int64)
            rows, columns = torch.meshgrid(*(torch.arange(n) for n in x.shape[2:]), indexing="ij")
            padded = functional.pad(x, (7,) * 4, value=zero_point)[0]
            acc = sum(
                kernel[:, 0, i + 1, j + 1, None, None] * padded[:, 7 + rows + i * d, 7 + columns + j * d]
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            )
            y = requantize(acc[None, :, :: op.stride, :: op.stride], op.requantize)
        elif isinstance(op, MaxPool):
            y = functional.max_pool2d(x, 3, op.stride, 1)
        elif isinstance(op, Upsample):
            y = functional.interpolate(x, scale_factor=2, mode="nearest")
        elif isinstance(op, Concat):
            y = torch.cat([values[name] for name in op.inputs], 1)
        elif isinstance(op, Slice):
            y = x[:, op.start : op.stop]
        else:
            y = functional.channel_shuffle(x, op.groups)
        values[op.name] = y
    return {name: value[0].permute(1, 2, 0).numpy() for name, value in values.items()}


@pytest.mark.parametrize(
    "shape",
    [
        dict(size=64),
        dict(size=(64, 96), stem="s2max", deform="ii", seed=1),
        dict(channels=(24, 116, 232, 464, 128), seed=2),
    ],
    ids=["s4", "s2max, wider than high, pointwise first", "paper's channels"],
)
def test_networks_equal_torch(shape: dict) -> None:
    graph = networks.network(**shape)
    image = networks.random_image(graph.input.height, graph.input.width)
    tensors, expected = interpreter.run(graph, image), reference(graph, image)
    assert list(tensors) == list(expected) == list(graph.tensors)
    for name, tensor in tensors.items():
        assert (tensor.shape, tensor.dtype) == (graph.tensors[name].shape, graph.tensors[name].dtype), name
        assert np.array_equal(tensor, expected[name]), name
    dilations = [tensor.ravel() for name, tensor in tensors.items() if name.endswith(".dilation")]
    assert len(np.unique(np.concatenate(dilations))) > 3


def test_peaks_of_the_heatmap() -> None:
    graph = networks.network()
    tensors = interpreter.run(graph, networks.random_image(64, 64), graph.outputs.values())
    threshold = int(np.percentile(tensors["heatmap"], 90))
    records = interpreter.peaks(graph, tensors, threshold)
    assert np.array_equal(records, golden.peaks(tensors["heatmap"], threshold)) and len(records)


def test_refusals() -> None:
    graph = small_graph()
    with pytest.raises(GraphError, match=r"image is uint8 \[4, 6, 3\]: expected int8 \[4, 6, 3\] \(pixel - 128\)"):
        interpreter.run(graph, IMAGE.view(np.uint8))
    with pytest.raises(GraphError, match=r"image is int8 \[3, 6, 3\]: expected int8 \[4, 6, 3\]"):
        interpreter.run(graph, IMAGE[:3])
    with pytest.raises(GraphError, match="graph 'small' has no tensor 'nothing'"):
        interpreter.run(graph, IMAGE, ["up", "nothing"])
    with pytest.raises(GraphError, match="expected a heatmap among them"):
        interpreter.peaks(graph, {}, 0)
    with pytest.raises(GraphError, match="heatmap 'heatmap' is not among the tensors"):
        interpreter.peaks(networks.network(), {}, 0)


def test_dilation_out_of_range_names_the_operation() -> None:
    one = np.ones((1, 1, 1, 3), np.int8)
    nine = Requantize(np.zeros(1, np.int16), np.full(1, 9, np.int64), 0, 0, 100)
    graph = Graph(
        "far",
        (
            Input(name="image", height=2, width=2),
            Convolution(name="d", inputs=("image",), weights=one, requantize=nine, scale=1.0, zero_point=0),
            Depthwise(
                name="deform",
                inputs=("image", "d"),
                weights=np.ones((3, 3, 3), np.int8),
                requantize=identity(3),
                scale=1.0,
                zero_point=0,
            ),
        ),
        {"y": "deform"},
    )
    with pytest.raises(GraphError, match=r"depthwise 'deform': dilation in \[9, 9\]: expected \[0, 7\]"):
        interpreter.run(graph, IMAGE[:2, :2])


@pytest.mark.slow
def test_a_frame_of_configuration_a_takes_under_a_second() -> None:
    graph = networks.codenet("a")
    image = networks.random_image(256, 256)
    # Of the processor, not of the clock, so that other work on the machine counts less.
    seconds = []
    for _ in range(3):
        start = time.process_time()
        interpreter.run(graph, image, graph.outputs.values())
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1

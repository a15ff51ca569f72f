# SPDX-License-Identifier: Apache-2.0
"""A quantized network beside the golden model: every tensor, without tolerance."""

import numpy as np
import torch

from codenet.golden.interpreter import run
from codenet.vision.image import to_activation
from models.network.config import normalize
from models.network.detector import CoDeNet
from models.quantization.graph import to_graph
from models.quantization.modules import QuantBlock, QuantDeformBlock, grid
from models.quantization.untrained import _normalize_on, synthetic_photo

CLASSES = ("cat", "dog", "cow")


def prepared(config, seed=0):
    """A floating-point network with spread-out activations, and photos for it."""
    torch.manual_seed(seed)
    network = CoDeNet(config, CLASSES)
    photos = np.stack([synthetic_photo(config.size, n) for n in range(2)])
    _normalize_on(network, normalize(photos))
    return network, photos


def mismatches(quantized, photos):
    """Tensors and head outputs of the golden model that differ from the snapped network's, and how many there are."""
    graph, snapped = to_graph(quantized, "test")
    integers = {}

    def record(name, act, output):
        meaning = grid(act)
        values = torch.round(output / meaning.scale)
        assert (values - output / meaning.scale).abs().max() < 1e-6
        integers[name] = (values + meaning.zero_point).permute(0, 2, 3, 1).numpy()

    for name, module in snapped.named_modules():
        if isinstance(module, QuantBlock | QuantDeformBlock):
            module.register_forward_hook(lambda m, _i, output, name=name: record(name, m.act, output))
    with torch.no_grad():
        outputs = snapped(normalize(photos).double())
    bad, compared = [], 0
    for n, photo in enumerate(photos):
        tensors = run(graph, to_activation(photo))
        for name, values in integers.items():
            compared += 1
            if not np.array_equal(tensors[name], values[n]):
                bad.append((n, name))
        for role, name in graph.outputs.items():
            assert np.array_equal(np.rint(outputs[role][n].numpy() * 256).transpose(1, 2, 0), tensors[name])
    return bad, compared, graph

# SPDX-License-Identifier: Apache-2.0
"""Other precisions and sets of dilations through the RTL, every tensor compared."""

import pytest

from codenet import compiler
from codenet.config import AcceleratorConfig
from models.network.config import CONFLICT_FREE_OR_ZERO, normalize
from models.quantization.convert import calibrate, quantize
from models.quantization.graph import to_graph
from models.quantization.precision import Exemption, Precision
from sim.frame import run_frame
from sim.verilator.board import RtlDevice
from tests.models.common import TINY
from tests.models.exact import prepared
from tests.sim.test_networks import IRREGULAR

PRECISIONS = [Precision(activations=4), Precision(weights=8, mixed=(Exemption("heads", 4, 4),))]


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
def test_network_through_the_rtl(precision, photo):
    network, photos = prepared(TINY.replace(dilations=CONFLICT_FREE_OR_ZERO))
    graph, _ = to_graph(quantize(network, calibrate(network, [normalize(photos)]), precision), "test")
    program = compiler.compile(graph, AcceleratorConfig.small())
    with RtlDevice(program.config, IRREGULAR) as device:
        result = run_frame(device, program, graph, photo, name=str(precision), threshold=0.2)
    assert not result.mismatches and result.tensors == len(program.tensors) + 1

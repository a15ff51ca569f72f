# SPDX-License-Identifier: Apache-2.0
"""The driver for PYNQ on another machine than the board: the real package, over the network, to a server that stands in
for the board's.
"""

import json
import os
import subprocess
import sys
import warnings

import pytest

from codenet.checkout import ROOT
from tests.board.handoff import BASE, write_bitstream
from tests.board.networks import expected

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pynq", reason="the package pynq is not installed; make test-pynq has it")
    from sim.platforms.pynq_remote import PynqRemoteServer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def server(live, system):
    server = PynqRemoteServer(live, system, BASE)
    yield server
    server.close()


def test_detects_over_the_network(server, live, tmp_path):
    environment = os.environ | {
        "PYNQ_REMOTE_DEVICES": "127.0.0.1",
        "CODENET_BITSTREAM": str(write_bitstream(tmp_path)),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sw")]),
    }
    client = subprocess.run(
        [sys.executable, str(ROOT / "tests/sim/platforms/remote_client.py")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert client.returncode == 0, client.stderr
    result = json.loads(client.stdout)
    assert server.loaded == ["codenet.bin"]
    checks = [line.split(":")[0] for line in result["checks"][:5]]
    assert checks == [f"ok      {name}" for name in ("identity", "register bus", "configuration", "memory", "clock")]
    assert (result["clock"], server.system.clock_hz) == (150e6, 150e6)
    assert result["found"] == [[d.label, d.score, list(d.box)] for d in expected()]
    assert "no memory for a buffer of 1073741824 bytes" in result["error"]
    assert not live._used, "the client left buffers on the board"

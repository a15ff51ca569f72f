# SPDX-License-Identifier: Apache-2.0
"""Run by test_pynq_remote.py in a process of its own, as ``pynq`` reads PYNQ_REMOTE_DEVICES when it is imported.

Prints the detections of the photo as JSON, behind the checks of the self-test.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

from codenet import Detector, devices  # noqa: E402
from codenet.devices import selftest  # noqa: E402
from codenet.errors import DeviceError  # noqa: E402
from tests.board.networks import PHOTO, SMALL, THRESHOLD, program  # noqa: E402


def main() -> None:
    # The simulated clock is behind the wall's, and out of reach from here.
    selftest.measure_clock = lambda device: device.clock_hz
    with devices.open_device("pynq", SMALL, test=False) as device:
        checks = list(selftest.diagnose(device, program()))
        with Detector(program(), device, threshold=THRESHOLD) as detector:
            found = [(d.label, d.score, d.box) for d in detector(PHOTO)]
        try:
            device.allocate(1 << 30)
            error = ""
        except DeviceError as caught:
            error = str(caught)
    json.dump({"checks": list(map(str, checks)), "clock": device.clock_hz, "found": found, "error": error}, sys.stdout)


main()

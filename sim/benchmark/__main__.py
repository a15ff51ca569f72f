# SPDX-License-Identifier: Apache-2.0
"""``python -m sim.benchmark``: see :mod:`sim.benchmark.command`."""

import sys

from sim.benchmark.command import main

if __name__ == "__main__":
    sys.exit(main())

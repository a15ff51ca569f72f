# SPDX-License-Identifier: Apache-2.0
"""``python -m sim.one_layer``: see :mod:`sim.one_layer.study`."""

import sys

from sim.one_layer.study import main

if __name__ == "__main__":
    sys.exit(main())

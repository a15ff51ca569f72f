# SPDX-License-Identifier: Apache-2.0
"""Networks shaped for a frame rate: ``python -m models.shape --fps 150 --chip xc7z020`` (docs/models.md).

The search needs compiler and cycle model, and is therefore `sim.shape`, which this starts: `models` imports nothing of
`sim`.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("sim.shape", run_name="__main__", alter_sys=True)

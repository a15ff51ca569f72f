# SPDX-License-Identifier: Apache-2.0
"""``python -m sim.shape``, which ``python -m models.shape`` runs."""

import sys

from sim.shape.command import main

sys.exit(main())

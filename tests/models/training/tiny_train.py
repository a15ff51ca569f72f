# SPDX-License-Identifier: Apache-2.0
"""``python -m models.train`` with a network that trains in seconds as configuration a: what tests start as a process of
its own.
"""

import sys
import warnings

from models.network.config import CONFIGS
from models.train import main
from tests.models.common import TINY

warnings.filterwarnings("ignore")
# Processes that it starts import this file too, and see the same.
CONFIGS["a"] = TINY

if __name__ == "__main__":
    sys.exit(main())

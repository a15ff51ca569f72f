# SPDX-License-Identifier: Apache-2.0
"""``python -m codenet``: the same as the ``codenet`` command."""

import sys

from codenet.cli import main

sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Where the checkout of the tests is, for those that also run with an installed codenet (make test-oldest)."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

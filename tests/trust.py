# SPDX-License-Identifier: Apache-2.0
"""``build/trust.json``: what proofs, mutants, faults and the like found, each a part of its own."""

import json
from typing import Any

from codenet.checkout import BUILD

PATH = BUILD / "trust.json"


def record(part: str, figures: Any) -> None:
    """Replace one part of the file, and leave the others."""
    parts = json.loads(PATH.read_text()) if PATH.exists() else {}
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(json.dumps(parts | {part: figures}, indent=2, sort_keys=True) + "\n")

# SPDX-License-Identifier: Apache-2.0
"""Every source file names its licence in a line that tools read."""

import subprocess

from codenet.checkout import ROOT

LINE = "SPDX-License-Identifier: Apache-2.0"


def test_every_source_has_the_line():
    listing = subprocess.run(["git", "ls-files", "*.py", "*.cpp", "*.v"], cwd=ROOT, capture_output=True, text=True)
    files = [ROOT / name for name in listing.stdout.split()]
    assert len(files) > 200
    missing = [str(file.relative_to(ROOT)) for file in files if file.exists() and LINE not in file.read_text()[:200]]
    assert not missing

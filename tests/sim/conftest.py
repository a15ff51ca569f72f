# SPDX-License-Identifier: Apache-2.0
"""What tests of whole frames share."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    """A smooth photo of 160x120 pixels, from a seed."""
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC).save(path)
    return path

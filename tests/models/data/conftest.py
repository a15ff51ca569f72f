"""Photos for small data sets."""

import numpy as np
import pytest
from PIL import Image

from tests.models.data.sets import Photo


@pytest.fixture
def photo(tmp_path):
    """Makes a photo of noise, stored with an orientation tag, and its boxes."""

    def make(name="a.png", size=(60, 40), boxes=(("cat", 5, 6, 30, 35),), orientation=1):
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        image = Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (*size[::-1], 3)).astype(np.uint8))
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(path, exif=exif)
        return Photo(path, tuple(boxes))

    return make

# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: what it shows, and what it does when things go away and come back.

Pictures of it are left in ``build/live``, to be looked at.
"""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from codenet.live.feed import Feed
from codenet.live.outputs import Output
from codenet.live.server import Address, PageServer
from codenet.live.session import Controls, Session
from codenet.registers import PROFILE_WORDS
from codenet.runtime.profile import StepProfile
from codenet.vision.image import load
from tests.browser import CHROMIUM, Browser
from tests.codenet.live.stage import ABOUT, make_detector, port, seen, serving, until
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="without Chromium: no page is opened")

PHOTO = np.asarray(load(ROOT / "docs/photos/chelsea.jpg"))
PICTURES = ROOT / "build" / "live"

LIVE = "document.getElementById('status').textContent == 'live'"
SEEN = "document.querySelectorAll('#found i').length"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(browser):
    """The browser, whose scripts must not fail."""
    browser.events.clear()
    yield browser
    browser.call("Page.navigate", url="about:blank")
    assert not browser.errors()


def frame(number: int = 1, **changes):
    return seen(number, photo=PHOTO, photo_size=PHOTO.shape[:2], **changes)


def look(page: Browser, name: str, *, whole: bool = True) -> Image.Image:
    """A picture of the page, left in :data:`PICTURES`."""
    data = page.screenshot(whole=whole)
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}.png").write_bytes(data)
    return Image.open(io.BytesIO(data)).convert("RGB")


def text(page: Browser, name: str) -> str:
    return page.evaluate(f"document.getElementById('{name}').textContent")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "mobile"), [(1280, 860, False), (800, 1000, True), (390, 844, True)])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_shows_everything_everywhere(page, width, height, mobile, dark):
    profile = [
        StepProfile(n, f"step{n}", tuple(900 - 100 * k + 200 * n for k in range(PROFILE_WORDS))) for n in range(9)
    ]
    with serving() as (server, controls):
        server.hub.seen(frame())
        page.open(server.url, width, height, dark=dark, mobile=mobile)
        page.wait(f"{LIVE} && {SEEN}")
        page.evaluate("document.getElementById('measure').click()")
        until(lambda: controls.profile)
        server.hub.seen(frame(2, profile=profile))
        page.wait("document.querySelectorAll('#chart g').length == 9")
        page.evaluate("document.querySelector('#chart g').dispatchEvent(new Event('click'))")
        picture = look(page, f"{'dark' if dark else 'light'}-{width}")
        assert text(page, "rate") == "12.5" and text(page, "score") == "0.30"
        assert text(page, "times") == "prepare1.25 mswait0.50 msdecode0.13 msaccelerator1.00 ms"
        assert text(page, "found") == "cat50 %" and "step0: 3,900 cycles" in text(page, "step")
        assert "by hand" in text(page, "about")
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) == 0, "wider than the window"
        corner = picture.getpixel((2, picture.height - 2))
        assert (max(corner) < 40) if dark else (min(corner) > 220)
        box = page.evaluate(
            "(r => [r.left, r.top, r.width, r.height])(document.getElementById('view').getBoundingClientRect())"
        )
        assert box[2] > 0.6 * min(width, 800) and abs(box[2] / box[3] - 451 / 300) < 0.02
        # The left edge of the box is 10 photo pixels from the picture's.
        dots = 2 if mobile else 1
        x, y = dots * (box[0] + box[2] * 10 / 451 + 1), dots * (box[1] + box[3] * 25 / 300)
        red, green, blue = picture.getpixel((round(x), round(y)))
        assert red > 180 and green < 110 and blue < 110, "no box where it should be"


def test_camera_lost_and_back(page):
    with serving() as (server, _):
        server.hub.seen(frame())
        page.open(server.url)
        page.wait(LIVE)
        server.hub.lost("camera 0: has stopped, 5 frames failed one after the other")
        page.wait("document.getElementById('status').textContent == 'camera lost'")
        assert "camera 0: has stopped" in text(page, "notice")
        look(page, "camera-lost")
        assert page.evaluate("document.getElementById('snapshot').disabled")
        server.hub.back("camera 0")
        server.hub.seen(frame(2))
        page.wait(f"{LIVE} && document.getElementById('notice').hidden")


def test_connection_lost_and_back_without_a_reload(page):
    with serving() as (server, _):
        server.hub.seen(frame())
        page.open(server.url)
        page.wait(LIVE)
        page.evaluate("window.mark = 7")
        number = port(server)
    page.wait("document.getElementById('status').textContent == 'offline'")
    look(page, "offline")
    with serving(address=Address("127.0.0.1", number)) as (server, _):
        server.hub.seen(frame(1, threshold=0.6))
        page.wait(LIVE)
        assert page.evaluate("window.mark") == 7 and text(page, "score") == "0.60"


def test_token_is_asked_for(page):
    with serving(token="a-token-of-tests") as (server, _):
        server.hub.seen(frame())
        page.open(server.url.split("#")[0], 390, 844, mobile=True)
        page.wait("!document.getElementById('gate').hidden")
        look(page, "token")
        for token in ("wrong-token", "a-token-of-tests"):
            page.evaluate(f"document.getElementById('token').value = '{token}'")
            page.evaluate("document.getElementById('gate').requestSubmit()")
        page.wait(f"{LIVE} && document.getElementById('gate').hidden")
        page.open(server.url)
        page.wait(LIVE)


def test_threshold_moves_for_all(page):
    with serving() as (server, controls):
        server.hub.seen(frame())
        page.open(server.url)
        page.wait(LIVE)
        move = "(e => { e.value = %s; e.dispatchEvent(new Event('input')); })(document.getElementById('threshold'))"
        for value in (0.5, 0.61, 0.72):
            page.evaluate(move % value)
        until(lambda: controls.threshold == 0.72)
        page.open(server.url)
        server.hub.seen(frame(2, threshold=0.72))
        page.wait(f"{LIVE} && document.getElementById('score').textContent == '0.72'")


def test_snapshot_is_the_picture_with_its_boxes(page, tmp_path):
    with serving() as (server, _):
        server.hub.seen(frame())
        page.open(server.url)
        page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page.wait(LIVE)
        page.evaluate("document.getElementById('snapshot').click()")
        done = until(lambda: [path for path in tmp_path.iterdir() if path.suffix == ".jpg" and path.stat().st_size])
        assert done[0].name == "codenet-2027-01-15T08-00-01-000Z.jpg"
        with Image.open(done[0]) as picture:
            assert picture.size == (451, 300)
            red, green, blue = picture.getpixel((11, 30))
            assert red > 180 and green < 110 and blue < 110


def test_names_are_text_and_nothing_else(page):
    """A program's class, a file or a device with a name like that draws itself, and runs nothing."""
    evil = "<img src=x onerror=window.evil=1>"
    detections = [type(frame().detections[0])(evil, 0, 0.5, (10.0, 5.0, 120.0, 40.0))]
    with PageServer(Address("127.0.0.1", 0), Controls(0.3), about=ABOUT | {"source": evil}) as server:
        server.hub.seen(frame(1, detections=detections))
        page.open(server.url)
        page.wait(f"{LIVE} && {SEEN}")
        assert text(page, "found") == f"{evil}50 %" and evil in text(page, "about")
        server.hub.lost(evil)
        page.wait("document.getElementById('notice').textContent.includes('onerror')")
        assert page.evaluate("window.evil === undefined && document.images.length == 0")


class Enough(Output):
    """Stops a session whose pictures have been looked at."""

    def __init__(self, hub):
        self.hub, self.stop = hub, None

    def seen(self, seen):
        if seen.number > 20 and self.hub.encodings > 5:
            self.stop()


def test_whole_session(page):
    """From photos through the detector to the browser, until they have all been seen."""
    controls = Controls(0.3)
    with make_detector() as detector, PageServer(Address("127.0.0.1", 0), controls, about=ABOUT, rate=1e6) as server:
        page.open(server.url)
        photos = Feed("photos", lambda: (PHOTO for _ in itertools.repeat(0)), lasting=False)
        enough = Enough(server.hub)
        session = Session(detector, photos, [server.hub, enough], controls=controls, rate=50.0)
        enough.stop = session.stop
        assert session.run() > 20
        page.wait(f"{LIVE} && {SEEN} == 1")
        assert text(page, "found") == "cat50 %"

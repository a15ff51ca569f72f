# SPDX-License-Identifier: Apache-2.0
"""Viewers share one encoding, get the newest picture, and keep nobody waiting."""

import asyncio
import io
import threading

import numpy as np
import pytest
from PIL import Image

from codenet.live import hub as module
from codenet.live.hub import SIDE, Hub, encode, pack
from codenet.live.session import Controls
from codenet.registers import PROFILE_WORDS
from codenet.runtime.profile import StepProfile
from tests.codenet.live.stage import ABOUT, PHOTO, seen, unpack


def with_hub(work, **options):
    """What the coroutine ``work(hub)`` returns."""

    async def main():
        hub = Hub(asyncio.get_running_loop(), ABOUT, **{"rate": 1e6, **options})
        try:
            return await asyncio.wait_for(work(hub), 20)
        finally:
            hub.close()

    return asyncio.run(main())


def test_many_viewers_cost_one_encoding():
    async def work(hub):
        waiting = [asyncio.create_task(hub.picture(0)) for _ in range(50)]
        await asyncio.sleep(0)
        hub.seen(seen(1))
        bodies = await asyncio.gather(*waiting)
        late = await hub.picture(0)
        return bodies, late, hub.encodings

    bodies, late, encodings = with_hub(work)
    assert encodings == 1
    assert len(bodies) == 50 and set(bodies) == {late}
    value, jpeg = unpack(late)
    assert value["seen"] == seen(1).to_dict() and value["about"] == ABOUT and value["lost"] is None
    assert Image.open(io.BytesIO(jpeg)).size == (200, 60)


def test_nobody_watches_and_nothing_is_encoded():
    async def work(hub):
        for number in range(100):
            hub.seen(seen(number))
        await asyncio.sleep(0)
        return hub.encodings

    assert with_hub(work) == 0


def test_slow_viewer_misses_pictures_and_gets_the_newest():
    async def work(hub):
        numbers, version = [], 0
        for number in (1, 5, 6, 7, 40):
            hub.seen(seen(number))
            if number in (1, 40):
                value, _ = unpack(await hub.picture(version))
                version = value["version"]
                numbers.append(value["seen"]["frame"])
        return numbers, hub.encodings

    assert with_hub(work) == ([1, 40], 2)


def test_one_encoding_at_a_time(monkeypatch):
    """While one picture is being encoded, all who ask get that; the frames meanwhile are never encoded."""
    go, running, most = threading.Event(), [], []

    def slow(photo, levels):
        running.append(photo)
        most.append(len(running))
        assert go.wait(20)
        running.pop()
        return b"jpeg"

    monkeypatch.setattr(module, "encode", slow)

    async def work(hub):
        hub.seen(seen(1))
        first = asyncio.create_task(hub.picture(0))
        while not running:
            await asyncio.sleep(0.001)
        for number in range(2, 30):
            hub.seen(seen(number))
        await asyncio.sleep(0)
        second = asyncio.create_task(hub.picture(0))
        await asyncio.sleep(0)
        go.set()
        numbers = [unpack(body)[0]["seen"]["frame"] for body in (await first, await second)]
        numbers.append(unpack(await hub.picture(1))[0]["seen"]["frame"])
        return numbers, hub.encodings

    assert with_hub(work) == ([1, 1, 29], 2)
    assert max(most) == 1


def test_viewer_that_goes_away_takes_the_picture_from_nobody():
    async def work(hub):
        first, second = (asyncio.create_task(hub.picture(0)) for _ in range(2))
        await asyncio.sleep(0)
        hub.seen(seen(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        return unpack(await second)[0]["seen"]["frame"]

    assert with_hub(work) == 1


def test_lost_camera_is_news_and_keeps_its_last_picture():
    async def work(hub):
        hub.seen(seen(1))
        value, jpeg = unpack(await hub.picture(0))
        hub.lost("camera 0: has stopped")
        lost, same = unpack(await hub.picture(value["version"]))
        hub.back("camera 0")
        back, again = unpack(await hub.picture(lost["version"]))
        return value["lost"], lost["lost"], back["lost"], jpeg == same == again, hub.encodings

    assert with_hub(work) == (None, "camera 0: has stopped", None, True, 1)


def test_pictures_come_at_most_so_often():
    async def work(hub):
        for number in range(1, 50):
            hub.seen(seen(number))
        await asyncio.sleep(0)
        return unpack(await hub.picture(0))[0]["seen"]["frame"]

    assert with_hub(work, rate=1e-3) == 1


def test_profile_is_that_of_a_frame_after_it_was_asked_for():
    old, new = ([StepProfile(0, name, tuple(range(PROFILE_WORDS)))] for name in ("old", "new"))

    controls = Controls(0.3)

    async def work(hub):
        hub.seen(seen(1, profile=old))
        await asyncio.sleep(0)
        asked = asyncio.create_task(hub.profile(controls))
        await asyncio.sleep(0)
        hub.seen(seen(2))
        await asyncio.sleep(0)
        assert controls.profile and not asked.done()
        hub.seen(seen(3, profile=new))
        return await asked

    value = with_hub(work)
    assert value["steps"] == [{"name": "new", "counts": [0, 1, 2, 3, 4, 5]}]
    assert value["counters"][0] == "active" and len(value["counters"]) == 6


def test_large_photos_become_small(tmp_path):
    picture = Image.open(io.BytesIO(encode(np.zeros((1000, 4000), np.uint8))))
    assert picture.size == (SIDE, SIDE // 4)
    assert encode(PHOTO[..., ::-1]).startswith(b"\xff\xd8")


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_photo_that_is_gone_ends_nothing(tmp_path, content):
    path = tmp_path / "photo.jpg"
    if content is not None:
        path.write_bytes(content)
    assert encode(path) == b""


def test_told_after_the_end():
    async def main():
        return Hub(asyncio.get_running_loop())

    hub = asyncio.run(main())
    hub.seen(seen(1))
    hub.lost("gone")


def test_pack():
    assert unpack(pack({"a": "ü"}, b"\0\1")) == ({"a": "ü"}, b"\0\1")

# SPDX-License-Identifier: Apache-2.0
"""The installed bitstream is always one whole pair, whatever ends its replacement."""

import errno
import os
from pathlib import Path

import pytest

from codenet.command import describe
from codenet.devices import bitstream
from codenet.devices.bitstream import Handoff, digest, find_bitstream
from codenet.devices.boards import BOARDS
from codenet.devices.installation import Bitstream, install, of_file
from codenet.errors import DeviceError
from tests.board.handoff import bit_file, hwh, write_bitstream


@pytest.fixture(autouse=True)
def zoo(tmp_path, monkeypatch):
    monkeypatch.delenv(bitstream.ENVIRONMENT, raising=False)
    monkeypatch.setattr(bitstream, "SHIPPED", tmp_path / "zoo" / "bitstream" / "codenet.bit")
    (tmp_path / "zoo").mkdir()
    return tmp_path / "zoo"


def pair(tmp_path, words: bytes) -> Bitstream:
    """A bitstream and the handoff file that is of it, and of no other."""
    (tmp_path / "made.bit").write_bytes(bit_file(words))
    text = hwh(accelerator={"C_BITSTREAM": digest(tmp_path / "made.bit")})
    return Bitstream(bit_file(words), text.encode(), {})


def words_of(path) -> bytes:
    """Of the installed pair, which has to be whole."""
    Handoff.read(path).check(path)
    return path.read_bytes()[-4:]


def test_the_last_one_counts(tmp_path, zoo):
    assert find_bitstream() is None
    for words in (b"old!", b"new!", b"new!", b"old!"):
        assert install(pair(tmp_path, words)) == find_bitstream()
        assert words_of(find_bitstream()) == words
    assert len(list(zoo.iterdir())) == 2, "the link and its folder"


def test_damage_is_mended(tmp_path):
    path = install(pair(tmp_path, b"old!"))
    path.write_bytes(b"damaged")
    assert words_of(install(pair(tmp_path, b"old!"))) == b"old!"


STEPS = ("write", "fsync", "replace", "symlink")
"""System calls that change files."""


def interrupted(bitstream: Bitstream, number: int) -> bool:
    """Install in a process that ends before its ``number``-th change, as at the loss of power; whether there was
    one.
    """
    child = os.fork()
    if child == 0:
        count = 0
        for name in STEPS:
            original = getattr(os, name)

            def step(*arguments, original=original, **named):
                nonlocal count
                count += 1
                if count > number:
                    os._exit(9)
                return original(*arguments, **named)

            setattr(os, name, step)
        try:
            install(bitstream)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_power_lost_at_any_moment(tmp_path, zoo):
    """The old pair runs on or the new one does; and the next attempt succeeds and leaves nothing else behind."""
    old, new = pair(tmp_path, b"old!"), pair(tmp_path, b"new!")
    seen = []
    for number in range(100):
        install(old)
        if not interrupted(new, number):
            break
        seen.append(words_of(find_bitstream()))
        install(new)
        assert words_of(find_bitstream()) == b"new!"
        assert len(list(zoo.iterdir())) == 2
    assert seen[0] == b"old!" and len(seen) >= 5 and number < 99
    assert words_of(find_bitstream()) == b"new!"


@pytest.mark.parametrize("call", ["fsync", "symlink"])
def test_no_space(tmp_path, zoo, monkeypatch, call):
    install(pair(tmp_path, b"old!"))

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="no space left; what was installed before stays") as error:
            install(pair(tmp_path, b"new!"))
    assert str(zoo) in describe(error.value)
    assert words_of(find_bitstream()) == b"old!"
    assert len(list(zoo.iterdir())) == 2


def test_pair_of_two_builds(tmp_path):
    first, second = pair(tmp_path, b"old!"), pair(tmp_path, b"new!")
    path = Bitstream(first.bit, second.handoff, {}).write(tmp_path / "mixed")
    with pytest.raises(DeviceError, match="take both of one release"):
        of_file(path, BOARDS["pynq-z2"])


def test_file_of_the_same_board(tmp_path):
    path = write_bitstream(tmp_path, accelerator={"C_BOARDS": "pynq-z2"})
    assert of_file(Path(path), BOARDS["pynq-z2"]).bit == path.read_bytes()

# SPDX-License-Identifier: Apache-2.0
"""Files appear whole or not at all, and never in an input's place."""

import errno
import json
import os
import threading

import pytest

from codenet import files


def test_contents_and_nothing_else(tmp_path):
    files.write(tmp_path / "a", b"\0\1")
    files.write(str(tmp_path / "b"), "ä")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "a").read_bytes() == b"\0\1" and (tmp_path / "b").read_text(encoding="utf-8") == "ä"


def test_json_ends_with_a_line(tmp_path):
    files.write_json(tmp_path / "a.json", {"edges": [1, 2.5], "name": None})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"edges": [1, 2.5], "name": None} and text.endswith("}\n")
    with pytest.raises(FileExistsError):
        files.write_json(tmp_path / "a.json", {}, inputs=[tmp_path / "a.json"])


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ValueError("x"), KeyboardInterrupt()]
)
def test_a_failure_leaves_what_was_there(tmp_path, error):
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(type(error)) as caught, files.writing(target) as file:
        file.write(b"half of it")
        raise error
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a"]
    if isinstance(error, OSError):
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))


def test_a_full_disk_names_the_file():
    with pytest.raises(OSError, match="No space left on device") as caught:
        files.write("/dev/full", b"x" * 100)
    assert caught.value.filename == "/dev/full"
    files.write("/dev/null", b"goes nowhere")
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, files.writing(tmp_path / "out"):
        (tmp_path / "in").read_bytes()
    assert caught.value.filename == str(tmp_path / "in")


@pytest.mark.parametrize("kind", ["same", "dotted", "link", "hard link"])
def test_an_input_is_refused(tmp_path, kind):
    photo = tmp_path / "photo"
    photo.write_text("photo")
    target = {"same": photo, "dotted": tmp_path / "." / "x" / ".." / "photo"}.get(kind, tmp_path / "other")
    (tmp_path / "x").mkdir()
    if kind == "link":
        target.symlink_to(photo)
    elif kind == "hard link":
        target.hardlink_to(photo)
    with pytest.raises(FileExistsError, match="is an input") as caught:
        files.write(target, b"", inputs=[tmp_path / "missing", photo])
    assert caught.value.filename == str(target) and photo.read_text() == "photo"


def test_a_link_keeps_pointing(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"new"


@pytest.mark.parametrize(("name", "reason"), [("no/file", "there is no folder"), (".", "is a folder")])
def test_where_no_file_can_be(tmp_path, name, reason):
    with pytest.raises(OSError, match=reason) as caught:
        files.write(tmp_path / name, b"")
    assert caught.value.filename == str(tmp_path / name)


def test_two_writers_at_once(tmp_path):
    """Each writes a whole file; the last one stays."""
    texts = [bytes([number]) * 100_000 for number in range(4)]
    threads = [threading.Thread(target=files.write, args=(tmp_path / "a", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_bytes() in texts and os.listdir(tmp_path) == ["a"]

# SPDX-License-Identifier: Apache-2.0
"""Files of data sets: text in the encodings that tools write, and the photo that a name in an annotation means."""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from codenet.errors import CodenetError
from codenet.vision import image as vision

#: Suffixes of photos, for names without one and for folders of photos.
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

#: Marks at the start of a file that say how it is encoded.
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

#: Orientations of photos that are stored on their side.
_TURNED = (5, 6, 7, 8)


def encoding_mark(content: bytes) -> str | None:
    """The encoding that the first bytes of a file declare; None without a byte order mark."""
    return next((name for mark, name in _MARKS if content.startswith(mark)), None)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in what its byte order mark says; `CodenetError` naming the file."""
    try:
        content = path.read_bytes()
        return content.decode(encoding_mark(content) or "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CodenetError(f"data: {path}: cannot be read: {error}; expected text in UTF-8") from error


def listed(path: Path) -> list[str]:
    """Lines of a list of files but those that are empty or name a hidden file; `CodenetError` as of `read_text`."""
    lines = [line.strip() for line in read_text(path).splitlines()]
    return [line for line in lines if line and not re.split(r"[/\\]", line)[-1].startswith(".")]


def visible(folder: Path, pattern: str) -> list[Path]:
    """What ``folder`` has of a pattern, sorted, but hidden files, as macOS adds to archives (``._*``)."""
    if not os.path.isdir(folder):
        return []
    return sorted(path for path in folder.glob(pattern) if not _hidden(path.relative_to(folder)))


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, as `visible`; none where it is missing."""
    return [path for path in visible(folder, "*") if path.is_dir()]


def photos_in(folder: Path) -> list[Path]:
    """Photos in a folder and its subfolders, as `visible`."""
    return [path for path in visible(folder, "**/*") if path.suffix.lower() in SUFFIXES and path.is_file()]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _folded(name: str) -> str:
    """What two spellings of a file name have in common: case, and the composition of accents."""
    return unicodedata.normalize("NFC", name).casefold()


class Photos:
    """Finds the photos that annotations name, in the given folders, of which those that are missing are left out.

    A name may be a path of the machine that it was written on, with ``/`` or ``\\``, or of a URL: the longest end of it
    that is a file counts.
    """

    def __init__(self, *bases: Path) -> None:
        self.bases = [base for base in dict.fromkeys(bases) if base.is_dir()] or [bases[0]]
        self._listings: dict[Path, tuple[dict[str, list[Path]], dict[str, list[Path]]]] = {}

    def _listing(self, folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        """Files of a folder by name, and its photos by name without suffix; both folded."""
        if folder not in self._listings:
            names: dict[str, list[Path]] = {}
            stems: dict[str, list[Path]] = {}
            for path in visible(folder, "*"):
                names.setdefault(_folded(path.name), []).append(path)
                if path.suffix.lower() in SUFFIXES:
                    stems.setdefault(_folded(path.stem), []).append(path)
            self._listings[folder] = names, stems
        return self._listings[folder]

    def _ends(self, name: str) -> Iterator[tuple[Path, str]]:
        """Folders in which a name may lie, and the file's name there: the most of its path first."""
        for text in dict.fromkeys((name, unquote(name.rpartition("?d=")[2]))):
            parts = [part for part in re.split(r"[/\\]+", text.strip()) if part not in ("", ".", "..")]
            for first in range(len(parts)):
                for base in self.bases:
                    yield base.joinpath(*parts[first:-1]), parts[-1]

    def named(self, name: str) -> Path | None:
        """The file of a name; None if there is none.

        `ValueError` where only the case of letters differs, and several do.
        """
        for folder, last in self._ends(name):
            found = self._listing(folder)[0].get(_folded(last), [])
            exact = [path for path in found if path.name == last]
            if len(exact or found) > 1:
                raise ValueError(f"{name!r} may be any of {', '.join(map(str, found))}; expected one photo")
            if found:
                return (exact or found)[0]
        return None

    def of_stem(self, stem: str) -> list[Path]:
        """Photos of a name without its suffix."""
        return next(
            (found for folder, last in self._ends(stem) if (found := self._listing(folder)[1].get(_folded(last)))), []
        )

    def find(self, name: str) -> Path:
        """The photo of a name, which may lack its suffix; where it would lie if it is missing.

        `ValueError` if several fit.
        """
        found = self.named(name)
        if found is not None:
            return found
        same = [] if Path(name).suffix.lower() in SUFFIXES else self.of_stem(name)
        return only(same, name) or self.bases[0] / name


def only(paths: list[Path], name: str) -> Path | None:
    """The one photo of several that may be meant, or None; `ValueError` for more."""
    if len(paths) > 1:
        files = ", ".join(path.name for path in paths)
        raise ValueError(f"{name!r} may be any of {files}: name the file with its suffix, or remove the others")
    return paths[0] if paths else None


@dataclass(frozen=True)
class PhotoHead:
    """Width and height of a photo as it is stored, and its EXIF orientation: 1 upright, 2 to 8 turned or mirrored."""

    stored: tuple[int, int]
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as a viewer shows it, and the network sees it."""
        return self.stored[::-1] if self.orientation in _TURNED else self.stored


def read_head(path: Path) -> PhotoHead | str:
    """Size and orientation of a photo without decoding it where that is possible; otherwise why there is none."""
    if not os.path.isfile(path):  # Unlike Path's, it is false of a name that no file can have.
        return f"{path}: image is missing"
    try:
        with vision.open_image(path) as image:
            orientation = image.getexif().get(vision.ORIENTATION, 1)
            # Pillow gives a TIFF's size as it will be when it is loaded.
            turned = image.format == "TIFF" and orientation in _TURNED
            return PhotoHead(
                image.size[::-1] if turned else image.size, orientation if orientation in range(1, 9) else 1
            )
    except Exception:  # decoders raise whatever they trip over
        try:
            return PhotoHead(vision.load(path).size, 1)
        except (CodenetError, OSError) as error:
            return str(error)

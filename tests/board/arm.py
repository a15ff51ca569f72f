# SPDX-License-Identifier: Apache-2.0
"""The runtime on an emulated 32-bit ARM: installed from its wheel into Debian's armhf userland, with Debian's Python,
NumPy and Pillow.

``python -m tests.board.arm``, also ``make test-arm``: a Cortex-A9, the core of the Zynq-7000, emulated by qemu-user,
loads the shipped program and finds objects in the photos of docs/photos with the golden model; pixels, outputs and
detections must be those of this machine bit for bit. Then ``codenet benchmark`` runs there, to show that it does: **its
times are those of an emulator, no measurement of an ARM**.

Needs root (for debootstrap and chroot), qemu-arm-static and debootstrap, and the network once: the userland is kept in
build/arm.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from codenet.checkout import ROOT
from hw.flow.wheel import build_wheel

BUILD = ROOT / "build" / "arm"
USERLAND = BUILD / "root"
PHOTOS = sorted((ROOT / "docs" / "photos").glob("*.jpg"))

RELEASE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-numpy,python3-pil"
CORE = "cortex-a9"
LIBRARIES = "/usr/lib/arm-linux-gnueabihf"


class Missing(Exception):
    """What this machine lacks, and how to get it."""


def check_machine() -> None:
    """Raise :class:`Missing` unless an emulated userland can be run, and made if it isn't there."""
    tools = {"qemu-arm-static": "qemu-user-static", "debootstrap": "debootstrap", "dpkg-deb": "dpkg"}
    for tool, package in tools.items():
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is not on this system (Debian, Ubuntu: apt install {package})")
    if os.geteuid() != 0:
        raise Missing("debootstrap and chroot need root (sudo make test-arm)")


def make_userland() -> None:
    """Debian's packages, unpacked: nothing of them is configured, as that would run programs under the kernel's
    emulation.
    """
    done = USERLAND / ".codenet-userland"
    wanted = f"{RELEASE} {PACKAGES}"
    if done.exists() and done.read_text() == wanted:
        return
    shutil.rmtree(USERLAND, ignore_errors=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    print(f"fetching Debian {RELEASE} for armhf into {USERLAND}, about 200 MB", flush=True)
    command = ["debootstrap", "--foreign", "--arch=armhf", "--variant=minbase", f"--include={PACKAGES}"]
    log = BUILD / "debootstrap.log"
    with log.open("w") as file:
        if subprocess.run([*command, RELEASE, str(USERLAND), MIRROR], stdout=file, stderr=file).returncode:
            last = log.read_text().splitlines()[-1:]
            raise Missing(f"debootstrap failed ({' '.join(last)}); see {log}")
    for package in sorted((USERLAND / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(USERLAND)], check=True)
    shutil.copy(shutil.which("qemu-arm-static") or "", USERLAND / "qemu-arm-static")
    done.write_text(wanted)


def install(userland: Path, *files: Path) -> None:
    """Build the wheel and unpack it, with ``files``, into /opt of a userland."""
    wheel = build_wheel(userland.parent / "wheel")
    opt = userland / "opt"
    shutil.rmtree(opt, ignore_errors=True)
    opt.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(opt)
    for file in files:
        shutil.copy(file, opt / file.name)


def emulated(*arguments: str) -> str:
    """Output of a Python command in the userland."""
    libraries = f"{LIBRARIES}/blas:{LIBRARIES}/lapack"  # Links to them are made when packages are configured.
    settings = [f"LD_LIBRARY_PATH={libraries}", "PYTHONPATH=/opt", "LC_ALL=C.UTF-8", "HOME=/root"]
    qemu = ["/qemu-arm-static", "-cpu", CORE, *(part for item in settings for part in ("-E", item))]
    command = ["chroot", str(USERLAND), *qemu, "/usr/bin/python3.11", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd="/").stdout


def native(*arguments: str) -> str:
    """Output of a Python command here, with the same wheel."""
    environment = {**os.environ, "PYTHONPATH": str(USERLAND / "opt")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd="/").stdout


def differences(here: dict, there: dict) -> list[str]:
    """What differs between two outputs of frame_digest.py, in words; machines aside."""
    found = [] if here["program"] == there["program"] else ["the program file differs"]
    for photo, expected in here["frames"].items():
        got = there["frames"].get(photo, {})
        found += [f"{photo}: {name} differ" for name in expected if expected[name] != got.get(name)]
        if not got.get("stream is the same"):
            found.append(f"{photo}: the stream's results are not those of single photos")
    return found


def compare() -> list[str]:
    """Run both; prints what was compared, returns what differs."""
    here = json.loads(native(str(USERLAND / "opt/frame_digest.py"), *map(str, PHOTOS)))
    there = json.loads(emulated("/opt/frame_digest.py", *(f"/opt/{photo.name}" for photo in PHOTOS)))
    print(f"here:     {here['machine']}\nemulated: {there['machine']} ({CORE})")
    for photo, frame in there["frames"].items():
        print(f"  {photo}: {len(frame['detections'])} detections, {len(frame['outputs'])} outputs")
    return differences(here, there)


def main() -> int:
    try:
        check_machine()
        make_userland()
    except Missing as error:
        print(f"test-arm: {error}", file=sys.stderr)
        return 2
    install(USERLAND, ROOT / "tests/board/frame_digest.py", *PHOTOS)
    found = compare()
    for line in found:
        print(f"DIFFERENT: {line}")
    if not found:
        print("pixels, outputs, scores and boxes are the same, bit for bit")
    print("\ncodenet benchmark, emulated (the times are those of the emulator, not of an ARM):\n")
    print(emulated("-m", "codenet", "benchmark", "--device", "golden", "--frames", "3"))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

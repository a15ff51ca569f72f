# SPDX-License-Identifier: Apache-2.0
"""Debian's armhf packages, unpacked into a folder: what the emulated processor runs. Needs no root and no chroot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from codenet.checkout import ROOT
from codenet.errors import CodenetError
from tests.board.arm import CORE, LIBRARIES, MIRROR, PACKAGES, RELEASE, Missing

BUILD = ROOT / "build" / "instructions"
USERLAND = BUILD / "root"
PLUGIN = BUILD / "count.so"

WANTED = [*PACKAGES.split(","), "python3-opencv"]
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

OPT = USERLAND / "opt"
"""The wheel and what is run of it; by its path here, as qemu finds only some of a userland's files by theirs."""

SETTINGS = {
    "PYTHONPATH": str(OPT),
    "OMP_NUM_THREADS": "1",
    "JSIMD_FORCENEON": "1",  # libjpeg asks the kernel whether there is NEON, and here that is another machine's.
    "LC_ALL": "C.UTF-8",
}


def check_machine() -> None:
    """Raise :class:`Missing` unless packages can be fetched, the plugin be built and programs be emulated."""
    tools = {"qemu-arm": "qemu-user", "gcc": "gcc", "apt-get": "apt", "dpkg-deb": "dpkg"}
    for tool, package in tools.items():
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is not on this system (Debian, Ubuntu: apt install {package})")
    if not KEYRING.exists():
        raise Missing(f"{KEYRING} is not on this system (Ubuntu: apt install debian-archive-keyring)")


def make_userland() -> None:
    """Fetch and unpack the packages, unless they are there; nothing of this machine's packages is touched."""
    done, wanted = USERLAND / ".codenet-userland", f"{RELEASE} {' '.join(WANTED)}"
    if done.exists() and done.read_text() == wanted:
        return
    shutil.rmtree(USERLAND, ignore_errors=True)
    apt = BUILD / "apt"
    for folder in (
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
        "var/lib/dpkg",
        "var/cache/apt/archives/partial",
    ):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "var/lib/dpkg/status").touch()
    (apt / "etc/apt/sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {RELEASE} main\n")
    print(f"fetching Debian {RELEASE} for armhf into {USERLAND}, about 200 MB", flush=True)
    options = {
        "Dir": apt,
        "Dir::State::status": apt / "var/lib/dpkg/status",
        "Dir::Bin::methods": "/usr/lib/apt/methods",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": apt / "none",
        "APT::Architecture": "armhf",
        "APT::Architectures": "armhf",
        "APT::Install-Recommends": "false",
        "Debug::NoLocking": "true",
    }
    command = ["apt-get", "--quiet", "--yes", *(f"-o{name}={value}" for name, value in options.items())]
    log = BUILD / "apt.log"
    with log.open("w") as file:
        for action in (["update"], ["install", "--download-only", *WANTED]):
            if subprocess.run([*command, *action], stdout=file, stderr=file).returncode:
                last = log.read_text().splitlines()[-1:]
                raise Missing(f"apt-get {action[0]} failed ({' '.join(last)}); see {log}")
    for package in sorted((apt / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(USERLAND)], check=True)
    done.write_text(wanted)


def build_plugin() -> None:
    """Compile the plugin that counts."""
    source = Path(__file__).with_name("count.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(PLUGIN), str(source)], check=True)


def counted(*arguments: str) -> tuple[str, str]:
    """What a Python command in the userland prints, and what the plugin counted.

    Raises
    ------
    CodenetError
        It failed.
    """
    libraries = [f"{USERLAND}{LIBRARIES}{part}" for part in ("", "/blas", "/lapack")]
    settings = SETTINGS | {"LD_LIBRARY_PATH": ":".join([*libraries, f"{USERLAND}/lib/arm-linux-gnueabihf"])}
    qemu = ["qemu-arm", "-L", str(USERLAND), "-cpu", CORE, "-plugin", f"file={PLUGIN}"]
    qemu += [part for item in settings.items() for part in ("-E", "=".join(item))]
    command = [*qemu, str(USERLAND / "usr/bin/python3.11"), *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise CodenetError(f"{' '.join(arguments)} failed in emulation: {result.stderr.splitlines()[-1:]}")
    return result.stdout, result.stderr

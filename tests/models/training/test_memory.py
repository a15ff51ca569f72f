# SPDX-License-Identifier: Apache-2.0
"""Freed memory stays with the process, where the C library is glibc."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import numpy as np
from models.training.memory import keep_freed_memory
kept = {keep} and keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(64 << 20, np.uint8)
before = faults()
for _ in range(8):
    np.ones(64 << 20, np.uint8)
print(int(kept), faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_arrays_that_come_again_cost_no_page_faults():
    results = []
    for keep in (False, True):
        run = subprocess.run(
            [sys.executable, "-c", COUNT.format(keep=keep)], capture_output=True, text=True, check=True
        )
        results.append(tuple(map(int, run.stdout.split())))
    (without, faults_without), (kept, faults_kept) = results
    assert (without, kept) == (0, 1)
    assert faults_kept < 100 < faults_without


def test_another_c_library(monkeypatch):
    from models.training import memory

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert memory.keep_freed_memory() is False

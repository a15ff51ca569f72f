# SPDX-License-Identifier: Apache-2.0
"""A program for commands."""

from __future__ import annotations

import pytest

from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from tests.networks import network


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """Path of a small detector's program."""
    path = tmp_path_factory.mktemp("program") / "small.cdn"
    compile_graph(network(64, equal_heads=True, name="tiny"), AcceleratorConfig.small()).save(path)
    return path

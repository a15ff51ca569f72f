# SPDX-License-Identifier: Apache-2.0
"""A network small enough to train in a test."""

from models.network.config import NetworkConfig

TINY = NetworkConfig(
    "tiny", size=64, channels=(8, 16, 32, 48, 32), units=(2, 2, 2), decoder=(24, 16, 16), head=16, deform="i"
)

#: The same with the other kind of stem and of deformable stage.
TINY_II = TINY.replace(name="tiny-ii", stem="s2max", deform="ii")

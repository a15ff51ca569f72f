# SPDX-License-Identifier: Apache-2.0
"""What is done with nine samples, channel by channel: filter, maximum, peaks."""

from hw.depthwise.depthwise import Depthwise
from hw.depthwise.filter import REQUANTIZE
from hw.depthwise.peaks import Peaks

__all__ = ["Depthwise", "Peaks", "REQUANTIZE"]

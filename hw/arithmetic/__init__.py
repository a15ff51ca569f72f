# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of fixed latency, without control and without stalls: products, sums, requantization."""

from hw.arithmetic.mac_array import Array, skew
from hw.arithmetic.requantize import CLAMPED, SHIFTED, Requantizer
from hw.arithmetic.tap_sums import TAPS, TapSums

__all__ = ["Array", "CLAMPED", "Requantizer", "SHIFTED", "TAPS", "TapSums", "skew"]

# SPDX-License-Identifier: Apache-2.0
"""Rows in nine banks of block RAM, and nine samples of a pixel a cycle out of them."""

from hw.window.row_cursor import RowCursor
from hw.window.window import Window
from hw.window.writer import WindowWriter

__all__ = ["RowCursor", "Window", "WindowWriter"]

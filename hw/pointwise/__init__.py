# SPDX-License-Identifier: Apache-2.0
"""The 1x1 convolution, and the buffers that it reads."""

from hw.pointwise.pointwise import Pointwise
from hw.pointwise.row_buffer import RowBuffer
from hw.pointwise.vector_buffer import VectorBuffer

__all__ = ["Pointwise", "RowBuffer", "VectorBuffer"]

# SPDX-License-Identifier: Apache-2.0
"""The study of one deformable layer against unbounded and bounded offsets (docs/one-layer.md)."""

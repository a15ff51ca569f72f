# SPDX-License-Identifier: Apache-2.0
"""Proofs about the gateware: components with properties around them, checked by a solver for all inputs (``make
formal``, docs/trust.md).
"""

# SPDX-License-Identifier: Apache-2.0
"""Pictures of the documentation that are made from the hardware: the block diagram, and waveforms of real
simulations.
"""

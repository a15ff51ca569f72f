# SPDX-License-Identifier: Apache-2.0
"""What a Cortex-A9 executes for a frame's part of the host, counted in emulation; and what frame rates follow."""

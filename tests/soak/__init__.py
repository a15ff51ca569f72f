# SPDX-License-Identifier: Apache-2.0
"""Many frames, of different photos and networks, with random memory timing: every tensor is that of the graph."""

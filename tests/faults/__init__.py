# SPDX-License-Identifier: Apache-2.0
"""Single faults on the simulated board: each ends in the right integers or in a named error, and the next frame is
right.
"""

# SPDX-License-Identifier: Apache-2.0
"""What drivers of boards run on, over the simulated board: PYNQ, remote PYNQ, and the files of plain Linux."""

# SPDX-License-Identifier: Apache-2.0
"""Resources and longest paths of the accelerator, as synthesized by Yosys."""

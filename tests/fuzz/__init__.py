# SPDX-License-Identifier: Apache-2.0
"""Files that are broken in many ways: readers take them or refuse them by name, and nothing else."""

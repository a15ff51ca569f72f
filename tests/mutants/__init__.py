# SPDX-License-Identifier: Apache-2.0
"""Mutants of the sources, one change each, which the tests of the changed file must kill."""

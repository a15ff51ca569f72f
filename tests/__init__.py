# SPDX-License-Identifier: Apache-2.0
"""A package, so that another one of this name, which some distributions install, does not come first."""

# SPDX-License-Identifier: Apache-2.0
"""Measured frames of all configurations, their report, charts and page."""

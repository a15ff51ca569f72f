# SPDX-License-Identifier: Apache-2.0
"""Boxes as they are found, for people and for other programs: a page, text, JSON lines, MQTT, pictures."""

"""Measured frames of all configurations, their report, charts and page."""

"""Designs of boards around the accelerator: processor block, clock, reset, lights."""

"""The command ``codenet`` and its parts."""

from codenet.cli.command import main

__all__ = ["main"]

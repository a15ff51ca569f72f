"""The golden model: the operators in NumPy, and the two evaluations on them, of graphs and of programs."""

from codenet.golden.interpreter import run

__all__ = ["run"]

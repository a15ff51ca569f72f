"""How fast a network runs on a shape: plans, resources, roofline."""

from sim.performance.plan import STALLS, compile_for, read_dilations
from sim.performance.roofline import Roof, roof
from sim.performance.targets import TARGETS, Target, resources_of

__all__ = ["Roof", "STALLS", "TARGETS", "Target", "compile_for", "read_dilations", "resources_of", "roof"]

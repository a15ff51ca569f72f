# SPDX-License-Identifier: Apache-2.0
"""Search for shapes of networks with compiler and cycle model in the loop: ``python -m models.shape``.

Modules: ``shapes`` (the space), ``cost`` (cycles of a shape), ``proxy`` (its accuracy, estimated), ``search``,
``report`` (table, JSON, chart), ``command``.
"""

from sim.shape.cost import Cost, Costs
from sim.shape.proxy import Detector, Proxy
from sim.shape.search import Candidate, Search, front
from sim.shape.shapes import SPACE, Shape

__all__ = ["Candidate", "Cost", "Costs", "Detector", "Proxy", "SPACE", "Search", "Shape", "front"]

# SPDX-License-Identifier: Apache-2.0
"""Between memory and datapath: loader, storer, and the fetcher of descriptors and parameters."""

from hw.dma.loader import Loader
from hw.dma.parameter_fetcher import ParameterFetcher
from hw.dma.plane_runs import PlaneRuns
from hw.dma.storer import Storer

__all__ = ["Loader", "ParameterFetcher", "PlaneRuns", "Storer"]

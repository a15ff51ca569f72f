# SPDX-License-Identifier: Apache-2.0
"""Bundles of ports that many components take: named once, as a signature, and connected at once.

Their members lie beside a component's other ports, so that its body and its benches say ``step`` rather than
``control.step``.
"""

from types import SimpleNamespace

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Member


def taken(signature: wiring.Signature) -> dict[str, Member]:
    """Members of a component that takes ``signature``, for its port list: inputs are what is ``Out`` there."""
    return dict(signature.flip().members)


def connect_bundle(m: Module, signature: wiring.Signature, giver: object, taker: object) -> None:
    """Connect the ports of ``giver`` and ``taker`` that make up ``signature``; ``giver`` gives what is ``Out`` there.

    A component may be the giver of a bundle that it takes: it hands it on to a part of it.
    """
    wiring.connect(m, _part(giver, signature), _part(taker, signature.flip()))


def _part(owner: object, signature: wiring.Signature) -> SimpleNamespace:
    """The interface of those ports of an object that make up ``signature``."""
    return SimpleNamespace(signature=signature, **{name: getattr(owner, name) for name in signature.members})

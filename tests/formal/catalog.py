# SPDX-License-Identifier: Apache-2.0
"""All proofs, and what docs/trust.md says of them."""

from __future__ import annotations

import textwrap

from codenet.checkout import ROOT
from tests.formal import arithmetic, bridge, buffers, bursts, control, masters, queues
from tests.formal.prove import Proof

PROOFS = {
    proof.name: proof
    for proof in (
        queues.stream_register,
        queues.stream_queue,
        bursts.burst_splitter,
        masters.burst_reader,
        masters.burst_writer,
        control.registers,
        buffers.vector_buffer,
        buffers.row_buffer,
        bridge.registers_bridge,
        arithmetic.depthwise_requantizer,
        arithmetic.pointwise_requantizer,
        control.sequencer,
    )
}

PAGE = ROOT / "docs" / "trust.md"
BEGIN, END = "<!-- proofs: python -m tests.formal --docs -->\n", "<!-- end of proofs -->\n"


def with_claims(page: str) -> str:
    """The page with what is claimed between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "\n".join(map(_claim, PROOFS.values())) + END + after


def _claim(proof: Proof) -> str:
    lines = [f"**{proof.name.capitalize()}** ({proof.method}, depth {proof.depth}; {len(proof.mutants)} mutants)."]
    lines += [f"{proof.claim[0].upper()}{proof.claim[1:]}.", f"Assumed: {proof.assumptions}."]
    return "".join(textwrap.fill(line, 118) + "\n" for line in lines)

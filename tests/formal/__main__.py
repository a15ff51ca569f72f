# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.formal [NAME ...]``, also ``make formal``: proofs, covers and mutants, a table, and the part
``proofs`` of ``build/trust.json``; status 1 if a proof does not hold, a cover is not reached or a mutant survives.

``--docs`` writes what is claimed to docs/trust.md instead.
"""

from __future__ import annotations

import argparse
import sys

from codenet.errors import CodenetError
from tests.formal.catalog import PAGE, PROOFS, with_claims
from tests.formal.prove import cover, prove, refute
from tests.trust import record


def main(arguments: list[str] | None = None) -> int:
    """Run the proofs named, all by default; returns the status."""
    parser = argparse.ArgumentParser(prog="python -m tests.formal", description="Prove what docs/trust.md claims.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROOFS)}; default: all")
    parser.add_argument("--docs", action="store_true", help="write the claims to docs/trust.md")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in PROOFS]
    if unknown:
        parser.error(f"no proof is named {unknown[0]!r}: expected some of {', '.join(PROOFS)}")
    if options.docs:
        PAGE.write_text(with_claims(PAGE.read_text()))
        return 0
    figures = {}
    print(f"{'proof':24} {'method':10} {'depth':>5} {'seconds':>7}  {'result':8} {'covers':8} mutants", flush=True)
    try:
        for name in options.names or PROOFS:
            proof = PROOFS[name]
            result, reached = prove(proof), cover(proof)
            dead = sum(refute(proof, mutant).status == "FAIL" for mutant in proof.mutants)
            figures[name] = {
                "method": proof.method,
                "depth": proof.depth,
                "seconds": round(result.seconds, 1),
                "result": result.status,
                "covers": reached.status,
                "mutants": len(proof.mutants),
                "mutants_found": dead,
            }
            row = f"{name:24} {proof.method:10} {proof.depth:5} {result.seconds:7.1f}  {result.status:8}"
            print(f"{row} {reached.status:8} {dead} of {len(proof.mutants)}", flush=True)
    except CodenetError as error:
        print(f"python -m tests.formal: {error}", file=sys.stderr)
        return 1
    if not options.names:
        record("proofs", figures)
    good = [f["result"] == f["covers"] == "PASS" and f["mutants"] == f["mutants_found"] for f in figures.values()]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

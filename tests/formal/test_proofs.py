# SPDX-License-Identifier: Apache-2.0
"""The proofs hold, and find faults. All of them: ``make formal``."""

import pytest

from tests.formal.__main__ import main
from tests.formal.catalog import PAGE, PROOFS, with_claims
from tests.formal.prove import Mutant, ProofError, cover, prove, refute, tools

QUICK = "stream register"


@pytest.fixture
def solver():
    try:
        tools()
    except ProofError as error:
        pytest.skip(str(error))


def mutants(names):
    return [
        pytest.param(PROOFS[name], mutant, id=f"{name}-{n}")
        for name in names
        for n, mutant in enumerate(PROOFS[name].mutants)
    ]


def test_quick_proof(solver):
    proof = PROOFS[QUICK]
    assert prove(proof).status == cover(proof).status == "PASS"
    assert refute(proof, proof.mutants[0]).status == "FAIL"


@pytest.mark.slow
@pytest.mark.parametrize("proof", PROOFS.values(), ids=PROOFS)
def test_proof_holds_and_is_about_something(solver, proof):
    assert prove(proof).status == "PASS"
    assert cover(proof).status == "PASS"


@pytest.mark.slow
@pytest.mark.parametrize("proof, mutant", mutants(PROOFS))
def test_mutant_gets_a_counterexample(solver, proof, mutant):
    assert refute(proof, mutant).status == "FAIL"


@pytest.mark.parametrize("proof, mutant", mutants(PROOFS))
def test_mutant_is_of_the_source_as_it_is(proof, mutant):
    with mutant.applied():
        pass


def test_mutant_ends_with_its_block():
    from hw.lib import StreamRegister

    original = StreamRegister.elaborate
    with Mutant("hw.lib.skid_buffer", "spare_full.eq(1)", "spare_full.eq(0)").applied():
        assert StreamRegister.elaborate is not original
    assert StreamRegister.elaborate is original


@pytest.mark.parametrize("proof", PROOFS.values(), ids=PROOFS)
def test_proof_has_mutants(proof):
    assert proof.mutants


def test_page_claims_what_is_proven():
    text = PAGE.read_text()
    assert text == with_claims(text), "docs/trust.md is out of date: python -m tests.formal --docs"


def test_unknown_proof_is_refused_with_the_list(capsys):
    with pytest.raises(SystemExit):
        main(["burst"])
    assert "no proof is named 'burst': expected some of stream register" in capsys.readouterr().err


def test_missing_solver_is_named(monkeypatch, capsys):
    monkeypatch.setattr("tests.formal.prove.SOLVER", "no-such-solver")
    assert main([QUICK]) == 1
    assert "no-such-solver: not found (make formal" in capsys.readouterr().err

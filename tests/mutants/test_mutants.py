# SPDX-License-Identifier: Apache-2.0
"""The mutation tool: what it changes, what it leaves, and that tests kill a mutant, or that it is told. Many mutants:
``make mutants``.
"""

import ast

import pytest

from tests import campaign
from tests.mutants import __main__ as command
from tests.mutants.catalog import LIST, by_name, equivalents, find, sources
from tests.mutants.mutate import mutations, sample
from tests.mutants.run import KILLED, SURVIVED, TIMEOUT, Tree, killers

CHANGES = {
    "x = a + b": ["(a - b)"],
    "x = a << 2": ["(a >> 2)", "3"],
    "x = a < b <= c": ["(a <= b <= c)", "(a < b < c)"],
    "x = a is None": ["(a is not None)"],
    "x = a and b": ["(a or b)"],
    "x = not a": ["(a)"],
    "x = -a": ["(a)"],
    "x = 0": ["1"],
    "x = 1": ["0"],
    "x = 7": ["8"],
    "x = True": ["False"],
    "x = a if b else c": ["(c if b else a)"],
    "if a: f()": ["(not (a))", "pass"],
    "x += y": ["pass"],
    "for x in y: break": ["pass"],
    "m.d.sync += [a.eq(b), c.eq(d)]": ["pass", "*()", "*()"],
    "with m.If(a & b): f()": ["(a & b) == 0", "(a | b)", "pass"],
    "with m.If(~a): f()": ["(a)", "pass"],
    "x = Mux(a, b, c)": ["Mux(a, c, b)"],
    "def f(x=2): pass": ["3"],
}

UNCHANGED = [
    'x = "text"',
    'x = f"{a + 1}"',
    'x = "a" + b',
    "x: Literal[1]",
    "raise ValueError(1 + 2)",
    "assert x == 1",
    "__all__ = [1]",
    "if TYPE_CHECKING: f()",
    "import a",
    '"""Documentation."""',
    "@decorate(1)\ndef f() -> int: return x",
]


@pytest.mark.parametrize("text", CHANGES)
def test_change(text):
    source = text.encode()
    found = mutations(source, "x.py")
    assert [mutation.after for mutation in found] == CHANGES[text]
    mutants = {mutation.apply(source) for mutation in found}
    assert source not in mutants
    assert all(ast.dump(ast.parse(mutant)) != ast.dump(ast.parse(source)) for mutant in mutants)


@pytest.mark.parametrize("text", UNCHANGED)
def test_nothing_to_change(text):
    assert not mutations(text.encode(), "x.py")


def test_position_behind_letters_of_several_bytes():
    source = 'x = "äöü", 1 + y\n'.encode()
    assert {mutation.apply(source).decode() for mutation in mutations(source, "x.py")} == {
        'x = "äöü", (1 - y)\n',
        'x = "äöü", 0 + y\n',
    }


def test_every_source_has_names_of_its_own_and_mutants_that_parse():
    for path, source in sources(["hw/[cdw]*", "sw/*"]).items():
        found = mutations(source, path)
        assert len({mutation.name for mutation in found}) == len(found)
        for mutation in found[:: max(1, len(found) // 2)]:
            ast.parse(mutation.apply(source))
            assert find(mutation.name) == mutation


def test_sample_is_of_every_file_and_repeats():
    chosen = sources(["hw/dma/*"])
    first = sample(chosen, 60, 1)
    assert first == sample(chosen, 60, 1) != sample(chosen, 60, 2)
    assert len({mutation.name for mutation in first}) == 60
    assert {mutation.path for mutation in first} == {path for path in chosen if by_name(path)}
    assert len(sample(chosen, 10**6, 1)) == sum(len(by_name(path)) for path in chosen)


@pytest.mark.parametrize(
    ("path", "first", "also"),
    [
        ("hw/dma/loader.py", "tests/hw/dma/test_loader.py", "tests/sim/test_steps.py"),
        (
            "sw/codenet/compiler/layout.py",
            "tests/codenet/compiler/test_layout.py",
            "tests/codenet/compiler/test_fuse.py",
        ),
        ("sw/codenet/compiler/tile.py", "tests/codenet/compiler/test_bounds.py", "tests/sim/cycles"),
    ],
)
def test_tests_of_a_source(path, first, also):
    stages = killers(path)
    assert stages[0][0] == first
    assert also in [test for tests in stages for test in tests]


@pytest.mark.parametrize("path", ["hw/dma/loader.py", "sw/codenet/compiler/tile.py"])
def test_no_stage_is_without_tests(path):
    """A file without tests of its own begins with those of its room: no mutant survives because nothing ran."""
    every = killers(path)
    assert len(every) >= 2 and all(every)
    assert [killers(path, stages) for stages in (1, 2, 3)] == [every[:1], every[:2], every]


def test_equivalent_mutants_are_of_the_sources_as_they_are():
    for name, reason in equivalents(LIST.read_text()).items():
        assert reason, f"no reason below {name}"
        assert name in by_name(name.partition(" ")[0]), f"outdated, take it from {LIST.name}: {name}"


TOY = """
def count(limit):
    n = 0
    while n < limit:
        n += 1
    return n, -n
"""

TEST_OF_TOY = """
from codenet.golden.toy import count

def test_count():
    assert count(3)[0] == 3
"""


@pytest.fixture
def toy(monkeypatch):
    """A copy of the checkout with a module, and a test that does not see all of it."""
    tree = Tree()
    path, test = "sw/codenet/golden/toy.py", "tests/codenet/golden/test_toy.py"
    (tree.root / path).write_text(TOY)
    (tree.root / test).write_text(TEST_OF_TOY)
    monkeypatch.setattr("tests.mutants.run.killers", lambda path, stages: [[test]])
    monkeypatch.setattr("tests.mutants.run.SLACK", 2.0)
    monkeypatch.setattr("tests.mutants.run.PATIENCE", 2.0)
    return tree, {mutation.name.partition(": ")[2]: mutation for mutation in mutations(TOY.encode(), path)}


def test_mutants_are_killed_survive_or_never_end(toy):
    tree, found = toy
    source = (tree.root / "sw/codenet/golden/toy.py").read_text()
    outcomes = {
        "n < limit -> (n <= limit)": (KILLED, "tests/codenet/golden/test_toy.py::test_count"),
        "-n -> (n)": (SURVIVED, "tests/codenet/golden/test_toy.py"),
        "n += 1 -> pass": (TIMEOUT, "tests/codenet/golden/test_toy.py: no end within"),
    }
    for name, (outcome, by) in outcomes.items():
        found_outcome, found_by = tree.suffer(found[name], 1)
        assert (found_outcome, found_by[: len(by)]) == (outcome, by)
        assert (tree.root / "sw/codenet/golden/toy.py").read_text() == source == TOY


def test_tests_that_fail_without_a_mutation_say_so(toy):
    tree, found = toy
    (tree.root / "tests/codenet/golden/test_toy.py").write_text("def test_nothing(): assert False")
    with pytest.raises(RuntimeError, match="test_nothing fails without a mutation"):
        tree.suffer(found["-n -> (n)"], 1)


class Judge:
    """In place of a tree: even mutants survive, in order."""

    def __init__(self):
        self.judged = []

    def suffer(self, mutation, stages):
        self.judged.append(mutation.name)
        return (SURVIVED, "some tests") if len(self.judged) % 2 == 0 else (KILLED, "a test")


def test_command_counts_names_survivors_and_resumes(tmp_path, monkeypatch, capsys):
    judge, recorded = Judge(), {}
    monkeypatch.setattr(campaign, "BUILD", tmp_path)
    monkeypatch.setattr(command, "record", recorded.__setitem__)
    monkeypatch.setattr(command, "_tree", lambda: judge)
    arguments = ["--files", "hw/lib/*", "--count", "6", "--stages", "1"]
    assert command.main(arguments) == 1
    assert recorded["mutants"]["by_area"] == {"hw": {KILLED: 3, SURVIVED: 3}}
    said = capsys.readouterr().out
    assert f"survived: {judge.judged[1]}\n    some tests" in said and judge.judged[0] not in said
    assert command.main(arguments) == 1
    assert len(judge.judged) == 6, "all are kept"


def test_command_does_not_try_what_is_known_to_be_equivalent(tmp_path, monkeypatch):
    known, recorded = tmp_path / "equivalent.txt", {}
    names = [mutation.name for mutation in sample(sources(["hw/lib/counter.py"]), 2, 0)]
    known.write_text("".join(f"{name}\n    Nobody sees it.\n" for name in names))
    monkeypatch.setattr(campaign, "BUILD", tmp_path)
    monkeypatch.setattr(command, "record", recorded.__setitem__)
    monkeypatch.setattr(command, "LIST", known)
    monkeypatch.setattr(command, "_tree", None)
    assert command.main(["--files", "hw/lib/counter.py", "--count", "2"]) == 0
    assert recorded["mutants"]["by_area"] == {"hw": {"equivalent": 2}}


def test_command_refuses_files_that_are_not_there(capsys):
    assert command.main(["--files", "hw/nothing.py"]) == 2
    assert "--files hw/nothing.py: no source matches" in capsys.readouterr().err

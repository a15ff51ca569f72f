# SPDX-License-Identifier: Apache-2.0
"""A component with properties around it, as RTLIL for the solver."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from amaranth import ClockDomain, Const, Elaboratable, Module, Signal, Value
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Cover, Fragment, MemoryInstance, ValueLike
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In


class Bench:
    """Module ``m`` around ``component``, to write properties in. Inputs of the component that ``m`` does not drive are
    free: any value, every cycle.

    Parameters
    ----------
    component:
        What is proven; it is elaborated here, and by no one else.
    contract:
        Leave out what :meth:`invariant` is given: so that a counterexample breaks the contract and not only what an
        induction stands on.
    """

    def __init__(self, component: wiring.Component, *, contract: bool = False) -> None:
        self.component = component
        self.m = Module()
        self._contract = contract
        self._locals: dict[int, dict[str, object]] = {}
        with self._noting_locals():
            self.m.submodules.component = self._fragment = Fragment.get(component, None)
        # Found by their contents: a transformer, such as a reset, copies the rest.
        self._memories = {id(part._data): part for part in _walk(self._fragment) if isinstance(part, MemoryInstance)}
        self._free = [
            Value.cast(value) for _, member, value in component.signature.flatten(component) if member.flow is In
        ]

    @contextmanager
    def _noting_locals(self) -> Iterator[None]:
        """Note the local variables of all that is elaborated meanwhile, as signals have no other names that are sure
        to be theirs; and of functions that are given its module, which may be called more than once, the signals by
        their names.
        """

        def note(frame: FrameType, event: str, _: object) -> None:
            if event != "return":
                return
            function, variables = frame.f_code.co_name, frame.f_locals
            if isinstance(owner := variables.get("self"), Elaboratable):
                found = self._locals.setdefault(id(owner), {"": owner})
                for name, value in variables.items():
                    found[f"{function}:{name}"] = value
                    found.setdefault(name, value)
            elif isinstance(variables.get("m"), Module) and (owner := _elaborated(frame)):
                found = self._locals.setdefault(id(owner), {"": owner})
                found |= {
                    f"{function}:{value.name}": value for value in variables.values() if isinstance(value, Signal)
                }

        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def inner(self, path: str, owner: object = None) -> Any:
        """A local variable of ``elaborate`` or of a helper of it (``helper:name`` if several have that name), or a
        signal of a function that got its module (``function:name of the signal``): of the component or, with dots, of
        what another one holds.
        """
        owner = owner or self.component
        for name in path.split("."):
            names = self._locals[id(owner)]
            assert name in names, f"{path}: no {name} among {sorted(names)}"
            owner = names[name]
        return owner

    def in_state(self, fsm: str, state: str) -> Value:
        """The component's state machine ``fsm`` is in ``state``."""
        machine = self._fragment.find_generated(fsm)
        return machine.state == machine.encoding[state]

    def memory_word(self, memory: memory.Memory, address: ValueLike) -> Signal:
        """What ``memory`` holds at ``address``."""
        instance = self._memories[id(memory.data)]
        port = instance._read_ports[0]
        word, index = Signal(len(port._data), name="memory_word"), Signal(len(port._addr), name="memory_index")
        self.m.d.comb += index.eq(address)
        instance.read_port(domain="comb", addr=index, data=word, en=Const(1), transparent_for=())
        return word

    def free(self, name: str, shape) -> Signal:
        """Any value, every cycle."""
        signal = Signal(shape, name=name)
        self._free.append(signal)
        return signal

    def constant(self, name: str, shape) -> Signal:
        """Any value, the same in all cycles."""
        given, held, first = self.free(name, shape), Signal(shape, name=f"{name}_held"), Signal(init=1)
        self.m.d.sync += first.eq(0)
        with self.m.If(first):
            self.m.d.sync += held.eq(given)
        with self.m.Else():
            self.assume(given == held)
        return given

    def past(self, value: ValueLike, name: str = "past") -> Signal:
        """``value`` as it was a cycle ago, 0 at first."""
        value = Value.cast(value)
        register = Signal(value.shape(), name=name)
        self.m.d.sync += register.eq(value)
        return register

    def ensure(self, condition: ValueLike) -> None:
        """The contract: to be proven."""
        self.m.d.comb += Assert(condition, src_loc_at=1)

    def invariant(self, condition: ValueLike) -> None:
        """What holds inside of the component: proven too, for the induction to stand on."""
        if not self._contract:
            self.m.d.comb += Assert(condition, src_loc_at=1)

    def assume(self, condition: ValueLike) -> None:
        """What the surroundings keep to."""
        self.m.d.comb += Assume(condition)

    def cover(self, condition: ValueLike) -> None:
        """What must be able to happen."""
        self.m.d.comb += Cover(condition, src_loc_at=1)

    def stable(self, valid: Value, ready: Value, *payload: ValueLike, assume: bool = False) -> None:
        """AXI's rule for a channel (A3.2.1): what is offered stays as it is until it is taken."""
        waiting = self.past(valid & ~ready, "waiting")
        state = self.assume if assume else self.ensure
        state(~waiting | valid)
        for value in map(Value.cast, payload):
            state(~waiting | (value == self.past(value)))

    def rtlil(self) -> str:
        """The whole, module ``top``; registers start from their initial values, without a reset."""
        self.m.domains.sync = domain = ClockDomain("sync", reset_less=True)
        return rtlil.convert(self.m, name="top", ports=[domain.clk, *self._free])


class Scoreboard:
    """Follows any one item from where it goes in to where it has to come out.

    Items go in ``pushed`` at a time and come out ``popped`` at a time, 0 if none. Which item is followed is free, so
    that what is proven of it holds for all: if it comes out at its turn and unchanged, and no more come out than went
    in, then none is lost, repeated or overtaken. ``clear`` forgets all of them.

    Members
    -------
    level : items inside.
    start : the item ``offset`` of those that go in now is the one to follow.
    watching, ahead : one is followed; items that come out before it.
    turn : it comes out now, as item ``ahead``.
    """

    def __init__(self, bench: Bench, pushed: ValueLike, popped: ValueLike, capacity: int, clear: ValueLike = 0) -> None:
        m = bench.m
        pushed, popped = Value.cast(pushed), Value.cast(popped)
        self.level, self.ahead = Signal(range(capacity + 1), name="level"), Signal(range(capacity + 1), name="ahead")
        self.watching, self.start, self.turn = Signal(name="watching"), Signal(name="start"), Signal(name="turn")
        self.offset = bench.free("offset", range(capacity + 1))
        mark = bench.free("mark", 1)
        left = Signal.like(self.level, name="left")
        m.d.comb += [
            left.eq(self.level - popped),
            self.start.eq(mark & ~self.watching & (self.offset < pushed)),
            self.turn.eq(self.watching & (self.ahead < popped)),
        ]
        m.d.sync += self.level.eq(left + pushed)
        with m.If(self.start):
            m.d.sync += [self.watching.eq(1), self.ahead.eq(left + self.offset)]
        with m.Elif(self.turn):
            m.d.sync += self.watching.eq(0)
        with m.Elif(self.watching):
            m.d.sync += self.ahead.eq(self.ahead - popped)
        with m.If(clear):
            m.d.sync += [self.level.eq(0), self.watching.eq(0)]
        bench.ensure(popped <= self.level)
        bench.invariant(self.level <= capacity)
        bench.invariant(~self.watching | (self.ahead < self.level))
        bench.cover(self.turn & (self.ahead == 0))

    def hold(self, bench: Bench, value: ValueLike) -> Signal:
        """``value`` as it was when the item that is followed went in."""
        value = Value.cast(value)
        held = Signal(value.shape(), name="held")
        with bench.m.If(self.start):
            bench.m.d.sync += held.eq(value)
        return held


def waits_at_most(bench: Bench, condition: ValueLike, cycles: int) -> Signal:
    """Ensure that ``condition`` never lasts for more than ``cycles`` cycles; returns for how many it has lasted."""
    count = Signal(range(cycles + 2), name="waited")
    with bench.m.If(condition):
        bench.m.d.sync += count.eq(count + 1)
        bench.ensure(count < cycles)
    with bench.m.Else():
        bench.m.d.sync += count.eq(0)
    return count


def _elaborated(frame: FrameType | None) -> Elaboratable | None:
    """What is elaborated where ``frame`` was called from."""
    while frame := frame and frame.f_back:
        if isinstance(owner := frame.f_locals.get("self"), Elaboratable):
            return owner
    return None


def _walk(fragment: Fragment) -> Iterator[Fragment]:
    yield fragment
    for part, *_ in fragment.subfragments:
        yield from _walk(part)

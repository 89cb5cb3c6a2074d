"""`explain_wiring`: where each parameter comes from, as a table."""

# mypy: disable-error-code="empty-body, no-untyped-call"

import functools
from pathlib import Path

from penstock.core.model import Outcome
from penstock.flow import Context, Flow, each, gather, optional, outcome, param, repeat, switch, use

TABLE = """\
flow 'orders': 9 steps; inputs: paths, strict, limit

step     parameter  takes
paths    value      input paths: list[Path]
extract  path       each(paths)
         strict     input strict: bool = False
         ctx        the Context of the attempt
check    extract    use(extract, 'sum')
total    prices     gather(check)
         all        gather(check, failures='keep')
publish  total      use(total)  (by name)
         copies     3  (bound)
         (after)    check
         (when)     total of use(total), limit of input limit
report   published  outcome(publish)
         totals     optional(total, None)
         (trigger)  all_done
half     x          use(total)
         y          2  (of the partial)
any      first      use(total)
         second     7  (bound)
nothing             nothing"""


def test_the_table():
    flow = Flow("orders")

    @flow.step
    def extract(
        path: Path = each(param("paths", list[Path])), strict: bool = False, *, ctx: Context
    ) -> dict: ...
    @flow.step
    def check(extract=use(extract, "sum")) -> float: ...
    @flow.step
    def total(
        prices: list[float] = gather(check), all: list[Outcome[float]] = gather(check, failures="keep")
    ): ...

    def publish(total, copies): ...

    done = flow.add(publish, copies=3, after=[check], when=lambda total, limit: total > limit)

    @flow.step(trigger="all_done")
    def report(published=outcome(done), totals=optional(total, None)): ...

    flow.add(functools.partial(lambda x, y: 1, y=2), name="half", x=use(total))
    flow.add(lambda **kw: 1, name="any", first=use(total), second=7)
    flow.add(lambda: 1, name="nothing")
    assert flow.explain_wiring() == TABLE


LOOP_AND_SWITCH = """\
flow 'odd': 10 steps; inputs: none

step          parameter       takes
kind                          nothing
invoice       kind            use(kind)  (by name)
              (switch)        the branch that use(kind) names
letter        (switch)        the branch that use(kind) names
              (when)          kind of use(kind)
switch(kind)  route           use(kind)
              case 'invoice'  use(invoice), if it ran
              case 'letter'   use(letter), if it ran
grow/1        start           use(switch(kind))
grow/2        start           use(grow/1)
              (until)         start of use(grow/1)
grow/3        start           use(grow/2)
              (until)         start of use(grow/2)
grow          (repeat)        the last value of grow/1 to grow/3
after         grow            use(grow), or its default if that was skipped  (by name)
long          text            'many words many words many words many words many words many words
                                many words many words many words many words many words many words
                                many words many words many words many words many words many words …"""


def test_switches_and_loops_are_told_in_their_own_words():
    flow = Flow("odd")

    async def good_enough(start): ...

    kind = flow.add(lambda: "letter", name="kind")
    invoice = flow.add(lambda kind: 1, name="invoice")
    letter = flow.add(lambda: 2, name="letter", when=lambda kind: True)
    chosen = switch(kind, {"invoice": invoice, "letter": letter})
    repeat(flow.add(lambda start: 1, name="grow", start=use(chosen)), until=good_enough, max=3)
    flow.add(lambda grow=5: 1, name="after")
    flow.add(lambda text: 1, name="long", text="many words " * 40)
    assert flow.explain_wiring() == LOOP_AND_SWITCH


def test_nothing_is_wider_than_100_columns():
    flow = Flow("f" * 150)
    flow.add(lambda **kw: 1, name="s" * 150, bind={"p" * 150: "v" * 150, "q": 1})
    for line in flow.explain_wiring().splitlines():
        assert len(line) <= 100
    assert "…" in flow.explain_wiring()
    assert Flow("empty").explain_wiring() == "flow 'empty': 0 steps; inputs: none\n\nstep  parameter  takes"

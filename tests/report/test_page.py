"""The page of a report: complete, self-contained, and telling the same as the report that it was made of."""

import base64
import hashlib
import re
import string
from itertools import pairwise

import pytest

from penstock.core.outline import Outline, OutlineNode
from penstock.report import story
from penstock.report.axis import WIDE, Axis
from penstock.report.data import Attempt, Figure, Level, Life, Line, Report, Step, Trouble, rows
from penstock.report.page import as_json, page
from penstock.report.text import change, cut, escape, listed, percent, seconds, size
from penstock.report.tracks import KINDS, tracks

from . import made
from .parsed import Page

MADE = {
    "small": made.small,
    "failed": made.failed,
    "resumed": made.resumed,
    "cancelled": made.cancelled,
    "gated": made.gated,
    "large": made.large,
}
GRAPH = '<svg width="300" height="80" class="pk"><g data-node="0"><text>x</text></g></svg>'


@pytest.fixture(params=sorted(MADE))
def report(request):
    return MADE[request.param]()


def empty(**fields):
    """A run of which nothing is known yet."""
    outline = Outline("idle", (OutlineNode("only"),))
    known = {
        "status": "pending",
        "reason": "",
        "made": 5.0,
        "created": 1.0,
        "began": 1.0,
        "ended": 1.0,
        "wall": 0.0,
    }
    return Report(**{"run_id": "r1", "flow": "idle", "outline": outline, **known, **fields})


def lasted(attempt):
    assert attempt.began is not None
    assert attempt.ended is not None
    return attempt.ended - attempt.began


# --- it tells what the report knows ------------------------------------------------------------------------


def test_every_step_and_item_is_a_row_with_its_status_duration_attempts_and_reason(report):
    told = Page(page(report)).rows()
    known = list(rows(report))
    assert len(told) == len(known)
    for row, step in zip(told, known, strict=True):
        assert row["Step"].removesuffix("◆") == step.path
        assert row["Step"].endswith("◆") == step.critical
        assert row["Status"].startswith(step.status)
        assert row.get("Duration", "") == (seconds(step.duration) if step.duration is not None else "")
        assert row.get("Attempts", "") == (f"{step.tries}" if step.tries else "")
        assert row.get("Reason", "") == step.reason
        for status, count in step.counts.items():
            assert f"{count} {status}" in row["Status"]


def test_cpu_and_memory_are_in_the_table_where_they_were_measured(report):
    told = Page(page(report)).rows()
    for row, step in zip(told, rows(report), strict=True):
        assert row.get("CPU", "") == ("" if step.cpu is None else seconds(step.cpu))
        assert row.get("Peak memory", "") == ("" if step.memory is None else size(step.memory, step.exact))


def test_what_was_not_measured_has_no_column_and_is_said():
    step = Step("only", "only", "succeeded", source="run", tries=1, duration=1.0)
    read = Page(page(empty(steps=(step,), status="succeeded")))
    assert "CPU" not in read.rows()[0]
    assert "CPU and memory were not measured" in read.by_id("steps").text


def test_each_failure_is_told_with_every_attempt_its_traceback_its_output_and_the_debug_command():
    report = made.failed()
    read = Page(page(report))
    cards = read.all("article", "failure")
    assert [read.one("h3", inside=card).text for card in cards] == ["parse[3]", "load"]
    for card, path in zip(cards, ["parse[3]", "load"], strict=True):
        step = next(one for one in rows(report) if one.path == path)
        (history,) = read.all("ol", "tries", inside=card)
        chips = [one.text for one in read.all("li", inside=history) if "gap" not in one.classes]
        assert [" ".join(chip.split()[:4]) for chip in chips] == [
            f"{one.number} {one.outcome} {seconds(lasted(one))}" for one in step.attempts
        ]
        assert step.trouble is not None
        assert read.all("p", "error", inside=card)[0].text == " ".join(
            f"{step.trouble.type}: {step.trouble.text}".split()
        )
        trace = read.all("pre", "trace", inside=card)[0]
        assert trace.words
        assert "".join(trace.words).strip() == step.trouble.trace.strip()
        log = read.all("ol", "log", inside=card)[0]
        assert "slow answer; trying again" in log.text
        assert "day=2026-03-01" in log.text
        commands = [one.text for one in read.all("code", inside=card)]
        assert any(
            re.fullmatch(rf"penstock debug {report.run_id} '?{re.escape(path)}'?", one) for one in commands
        )


def test_the_users_own_innermost_frame_comes_first_and_other_peoples_frames_are_quiet():
    read = Page(page(made.failed()))
    card = read.all("article", "failure")[0]
    assert read.one("p", "where", inside=card).text.startswith(
        "warehouse/client.py:112 in fetch return self._session.get("
    )
    trace = read.all("pre", "trace", inside=card)[0]
    assert all(
        "site-packages" in line.text or not line.text.startswith("File")
        for line in read.all("i", inside=trace)
    )
    assert [line.text.split('"')[1] for line in read.all("b", inside=trace)] == [
        "/home/ana/shop/flows/sales.py",
        "/home/ana/shop/warehouse/client.py",
    ]


def test_failures_begin_with_the_one_that_failed_first():
    report = made.failed()
    ends = {step.path: step.ended or 0.0 for step in report.failures}
    cards = Page(page(report)).all("article", "failure")
    assert [ends[Page(page(report)).one("h3", inside=card).text] for card in cards] == sorted(ends.values())


def test_a_hundred_failures_are_told_but_not_all_in_full():
    trace = "Traceback (most recent call last):\n" + '  File "/home/a/x.py", line 1, in f\n    f()\n' * 200
    trouble = Trouble("error", "ValueError", "no", trace)
    steps = tuple(
        Step(
            f"s{n}",
            f"s{n}",
            "failed",
            reason="no",
            tries=1,
            trouble=trouble,
            ended=float(n),
            attempts=(Attempt(1, 1, "failed", 0.0, 0.0, 0.0, float(n), trouble=trouble),),
        )
        for n in range(1, 101)
    )
    text = page(empty(steps=steps, status="failed", counts={"failed": 100}))
    assert len(text) < 300_000
    read = Page(text)
    assert len(read.rows()) == 100
    assert "more failures" in read.by_id("failures").text


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("small", ["Succeeded in 12.9 s: 8 steps and 18 items", "1 step succeeded only after a retry"]),
        (
            "failed",
            [
                "'parse[3]' failed at its 2nd attempt with ConnectionError: warehouse:5432",
                "1 more failed",
                "4 steps were skipped because of that",
            ],
        ),
        ("resumed", ["Succeeded in", "It was driven twice (cut off once)", "nobody drove it for 1 h 01 min"]),
        ("cancelled", ["Cancelled after 6.00 s: by hand: wrong day", "6 cancelled and 2 succeeded"]),
        ("gated", ["Waiting", "gate 'approve' (Publish release 2.4 to production?) is open"]),
    ],
)
def test_one_sentence_tells_the_story(name, parts):
    told = Page(page(MADE[name]())).one("p", "story").text
    for part in parts:
        assert part in told


def test_the_story_of_a_run_that_was_cut_off_or_goes_on():
    cut_off = Step("a", "a", "running", tries=1, attempts=(Attempt(1, 1, "interrupted", 1.0, 1.0, 1.0, 3.0),))
    assert "while 'a' ran. It can be resumed" in story.story(
        empty(status="cut off", wall=2.0, steps=(cut_off,))
    )
    assert "1 of 2 steps have ended" in story.story(
        empty(status="running", wall=2.0, steps=(cut_off, cut_off), counts={"succeeded": 1, "running": 1})
    )


def test_commands_figures_tags_inputs_outputs_and_provenance_are_there(report):
    text = Page(page(report)).by_id("main").text
    kinds = {" ".join(one.line.split()[:2]) for one in report.commands}
    for kind in kinds:
        assert next(one.line for one in report.commands if one.line.startswith(kind)) in text
    for name, value in [*report.inputs, *report.tags.items(), *report.about.items()]:
        assert name in text
        assert value in text
    for output in report.outputs:
        assert output.preview in text
    assert report.run_id in text
    if report.efficiency is not None:
        assert percent(report.efficiency.share) in text
        assert seconds(report.efficiency.work) in text


def test_why_a_run_ended_early_is_among_its_facts():
    read = Page(page(empty(status="failed", reason="the deadline of 10 s has passed")))
    (facts,) = read.all("dl", "facts")
    assert "the deadline of 10 s has passed" in facts.text


def test_a_gate_is_told_with_its_question_and_its_answer():
    read = Page(page(made.gated()))
    first, second = read.all("article", inside=read.by_id("gates"))
    assert "Does the build look right?" in first.text
    assert "answered" in first.text
    assert "True" in first.text
    assert "Publish release 2.4 to production?" in second.text
    assert "open" in second.text


def test_the_lives_of_a_resumed_run_are_told():
    report = made.resumed()
    read = Page(page(report))
    lives = read.all("li", inside=read.one("ol", "lives"))
    assert [("cut off" in one.text, "changed code: totals" in one.text) for one in lives] == [
        (True, False),
        (False, True),
    ]
    assert len(read.all("div", "away")) == 1


def test_what_if_tells_every_variant_and_how_good_the_replay_is():
    report = made.small()
    text = Page(page(report)).by_id("efficiency").text
    assert report.forecast is not None
    for one in report.forecast.ifs:
        assert one.what in text
        assert seconds(one.seconds) in text
    assert "−23 %" in text
    assert "±0 %" in text


def test_what_was_left_out_and_what_went_wrong_beside_the_run_is_said():
    read = Page(page(made.failed(), version="9.9"))
    footer = read.one("footer").text
    assert "penstock logs shows them" in footer
    assert "Penstock 9.9" in footer
    assert "an observer was switched off" in read.by_id("main").text


def test_a_run_of_which_nothing_is_known_has_a_page():
    read = Page(page(empty()))
    assert read.doubtful == []
    assert "Pending" in read.one("p", "story").text


# --- the timeline ------------------------------------------------------------------------------------------


QUIET = ("wait", "queue", "pause")
LOOKS = {"succeeded": "run", "failed": "failed", "cancelled": "stopped", "interrupted": "stopped"}


def bars_of(data):
    """The bars of the page's data as the script reads them."""
    found = []
    for track in data["tracks"]:
        row = at = 0
        numbers = track["b"]
        for i in range(0, len(numbers), 5):
            row += numbers[i]
            at += numbers[i + 3]
            attempt, kind = divmod(numbers[i + 2], len(KINDS))
            found.append((row, KINDS[kind], attempt, at, numbers[i + 4]))
    return found


def test_every_attempt_that_began_is_in_the_timeline_as_what_it_came_to(report):
    data = Page(page(report)).data()
    drawn = {(row, attempt, at): kind for row, kind, attempt, at, _ in bars_of(data) if kind not in QUIET}
    for row, step in enumerate(rows(report)):
        for attempt in step.attempts:
            ended = report.ended if attempt.ended is None else attempt.ended
            if attempt.began is not None and ended > attempt.began:
                kind = drawn[row, attempt.number, round((attempt.began - report.began) * 1000)]
                assert kind == ("gate" if attempt.gate else LOOKS[attempt.outcome])


def test_failed_attempts_and_those_cut_off_look_different_from_those_that_succeeded():
    report = made.resumed()
    kinds = {(row, kind) for row, kind, *_ in bars_of(Page(page(report)).data())}
    for row, step in enumerate(rows(report)):
        outcomes = {one.outcome for one in step.attempts}
        if "interrupted" in outcomes:
            assert (row, "stopped") in kinds
        assert ("succeeded" in outcomes) == ((row, "run") in kinds)


def test_lanes_of_a_band_never_overlap():
    for track in tracks(made.large(60, 300)):
        if not track.band:
            continue
        lanes: dict[int, list] = {}
        for bar in track.bars:
            lanes.setdefault(bar.lane, []).append(bar)
        assert len(lanes) == track.lanes
        for bars in lanes.values():
            spans: dict[int, tuple[float, float]] = {}
            for bar in bars:
                began, ended = spans.get(bar.number, (bar.began, bar.ended))
                spans[bar.number] = min(began, bar.began), max(ended, bar.ended)
            inside = sorted(spans.values())
            assert all(first[1] <= second[0] for first, second in pairwise(inside))


@pytest.mark.parametrize(("steps", "items"), [(500, 0), (1000, 0), (400, 600), (6, 994)])
def test_many_steps_share_rows_and_none_is_lost(steps, items):
    report = made.large(steps, items)
    found = tracks(report)
    assert len(found) <= 100
    heads = {step.path for step in report.steps if step.mapped}
    assert {step.path for track in found for _, step in track.steps} | heads == {
        step.path for step in rows(report)
    }


def test_a_thousand_unlike_steps_are_folded_but_what_failed_keeps_its_row():
    steps = tuple(
        Step(
            name,
            name,
            "failed" if n == 500 else "succeeded",
            tries=1,
            attempts=(Attempt(1, 1, "failed" if n == 500 else "succeeded", 0.0, 0.0, 1.0 + n, 2.0 + n),),
        )
        for n, name in enumerate(
            f"{a}{b}" for a in "abcdefghijklmnopqrstuvwxyzäöüßñ" for b in string.ascii_letters[:33]
        )
    )
    report = empty(steps=steps, status="failed", ended=2000.0)
    found = tracks(report)
    assert len(found) <= 100
    assert steps[500].path in [track.label for track in found if not track.band]
    assert sum(len(track.steps) for track in found) == len(steps)


def test_the_axis_keeps_the_order_of_time_and_folds_the_night():
    lives = (Life(0.0, 10.0, end="cut off"), Life(86_410.0, 86_420.0, 86_400.0, True, "succeeded"))
    axis = Axis(empty(began=0.0, ended=86_420.0, lives=lives))
    places = [axis(at) for at in (0, 5, 10, 50_000, 86_410, 86_415, 86_420)]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == WIDE
    assert places[2] > WIDE * 0.4
    assert places[4] - places[2] < WIDE * 0.06
    assert all(not 10 < tick * 1 < 0 for tick, _ in axis.ticks())


def test_waiting_at_a_gate_overnight_does_not_squeeze_the_work():
    levels = (Level(0.0, 1, 0), Level(4.0, 0, 0), Level(40_000.0, 1, 0), Level(40_004.0, 0, 0))
    axis = Axis(empty(began=0.0, ended=40_004.0, levels=levels))
    assert axis(4.0) > WIDE * 0.4
    assert [gap.away for gap in axis.gaps] == [False]


def test_ticks_are_few_and_round():
    for span in (0.0004, 0.03, 1.0, 7.0, 61.0, 800.0, 5_000.0, 90_000.0, 3e6, 4e7):
        ticks = list(Axis(empty(began=0.0, ended=span)).ticks())
        assert 2 <= len(ticks) <= 12
        assert ticks[0] == (0, "0")
        assert len({label for _, label in ticks}) == len(ticks)


# --- one file, that loads nothing --------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "items"), [(1000, 0), (400, 600), (6, 994)])
def test_a_thousand_steps_take_at_most_300_kb(steps, items):
    from penstock.draw.svg import svg

    report = made.large(steps, items)
    assert len(page(report, svg(report.outline, statuses=report.standings)).encode()) <= 300_000


def test_u06_the_policy_names_our_script_and_nothing_else(report):
    text = page(report, GRAPH)
    read = Page(text)
    policy = next(one.attributes["content"] for one in read.all("meta") if one.attributes.get("http-equiv"))
    scripts = [one for one in read.all("script") if one.attributes.get("type") != "application/json"]
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256("".join(scripts[0].words).encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in rules["script-src"]
    assert {name for one in read.elements for name in one.attributes if name.startswith("on")} == set()


def test_the_page_is_well_formed_and_names_no_address(report):
    read = Page(page(report, GRAPH))
    assert read.doubtful == []
    for one in read.elements:
        for name in ("href", "src", "action"):
            target = one.attributes.get(name, "#")
            assert target.startswith(("#", "data:")), target
    ids = [one.attributes["id"] for one in read.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for one in read.all("a"):
        assert one.attributes["href"].removeprefix("#") in ids


def test_the_style_and_the_script_ask_for_nothing():
    text = page(made.small())
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "XMLHttp",
    ):
        assert word not in text


def test_headings_landmarks_and_captions_are_there(report):
    read = Page(page(report, GRAPH))
    assert len(read.all("h1")) == 1
    assert len(read.all("main")) == 1
    assert read.all("nav")
    assert read.all("caption")
    assert read.elements[0].attributes["lang"] == "en"
    assert all(
        one.attributes.get("aria-labelledby") in {e.attributes.get("id") for e in read.all("h2")}
        for one in read.all("section")
    )
    assert all(
        "aria-label" in one.attributes or "aria-labelledby" in one.attributes
        for one in read.elements
        if one.attributes.get("role") in ("img", "region", "group") and "pk" not in one.classes
    )
    assert all(one.attributes["aria-sort"] == "none" for one in read.all("th") if "scope" in one.attributes)


# --- values of strangers -----------------------------------------------------------------------------------


def test_figures_stand_in_frames_without_rights_and_pixels_are_data():
    figures = (
        Figure("a", "image/png", made.PIXEL),
        Figure("b", "text/html", '<table onclick="x"><script>window.__hit(1)</script></table>'),
        Figure("c", "image/svg+xml", "<svg onload='window.__hit(2)'></svg>"),
        Figure("d", "image/png", 'AAAA" onerror="window.__hit(3)'),
        Figure("e", "application/x-evil", "?"),
    )
    read = Page(page(empty(figures=figures)))
    assert [one.attributes["src"] for one in read.all("img")] == [f"data:image/png;base64,{made.PIXEL}"]
    frames = read.all("iframe")
    assert len(frames) == 2
    for frame in frames:
        assert frame.attributes["sandbox"] == ""
        policy = frame.attributes["srcdoc"].index("Content-Security-Policy")
        assert policy < frame.attributes["srcdoc"].index("window.__hit")
    assert "script" not in [one.tag for one in read.all() if one.attributes.get("class") == "figures"]


def test_u06_json_of_the_page_never_ends_its_element():
    text = as_json({"</script><!--": ["\u2028&", "<script>", "\ud800"]})
    assert not set("<>&\u2028") & set(text)
    assert "\\u2028" in text


def test_control_characters_and_turned_reading_directions_are_shown_as_such():
    line = Line(1.0, "info", "stdout", "a\x1b[2Jb\x00c\u202ed")
    attempt = Attempt(1, 1, "failed", 1.0, 1.0, 1.0, 2.0, trouble=made.REFUSED, lines=(line,))
    step = Step("x\u202ey", "x", "failed", trouble=made.REFUSED, tries=1, attempts=(attempt,))
    text = page(empty(steps=(step,), status="failed"))
    assert not set("\x1b\x00\u202e") & set(text)
    assert "\\x1b[2Jb\\x00c\\u202ed" in text


def test_the_page_can_be_written_as_utf_8_whatever_a_text_holds():
    step = Step("\ud800", "\udfff", "failed", reason="\ud83d", tries=1)
    page(empty(steps=(step,), status="failed", tags={"\udc00": "\udc01"}, flow="\ud800")).encode()


# --- words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.0004, "< 1 ms"),
        (0.0304, "30 ms"),
        (0.9996, "1.00 s"),
        (1.234, "1.23 s"),
        (9.996, "10.0 s"),
        (59.96, "1 min 00 s"),
        (125.0, "2 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7380.0, "2 h 03 min"),
        (90_000.0, "1 d 01 h"),
        (-1.5, "−1.50 s"),
    ],
)
def test_seconds(value, text):
    assert seconds(value) == text


def test_sizes_shares_and_lists():
    assert [size(n) for n in (0, 999, 1000, 12_500_000, 99_960_000, 3 * 10**12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12.5 MB",
        "100 MB",
        "3.0 TB",
    ]
    assert size(5_000_000, False) == "≤ 5.0 MB"
    assert [percent(share) for share in (0.0, 0.001, 0.5, 1.0)] == ["0 %", "< 1 %", "50 %", "100 %"]
    assert [change(share) for share in (-0.234, 0.0, 0.05, 4.0, 11.0)] == [
        "−23 %",
        "±0 %",
        "+5 %",
        "× 5",
        "× 12",
    ]
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert cut("abcdef", 4) == "abc…"
    assert escape('<a href="x">&') == "&lt;a href=&quot;x&quot;&gt;&amp;"

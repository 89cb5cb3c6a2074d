"""What a notebook shows of flows and of their results."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from penstock import Flow, InputError, RunOptions, each, use
from penstock.dialects.definitions import PipelineDefinition, StageDefinition
from penstock.dialects.pipelines import PipelineBuilder
from penstock.dialects.steps import PipelineExecutor
from penstock.dialects.workflow import Workflow


def prices() -> Flow:
    flow = Flow("prices")
    many = flow.add(lambda: [1, 2, 0], name="many")
    halves = flow.add(lambda x: 1 // x, name="halves", x=each(many))
    flow.add(lambda x: x, name="end", x=use(many), after=[halves])
    return flow


def words(picture: str) -> list[str]:
    return [
        one.text or "" for one in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_a_flow_is_a_picture_in_a_notebook():
    flow = prices()
    bundle = flow._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == repr(flow)
    assert {"prices", "many", "halves", "end", "each of many"} <= set(words(bundle["image/svg+xml"]))
    assert bundle["image/svg+xml"] == flow.draw("svg")


def test_a_result_is_a_picture_of_how_it_went():
    bundle = prices().run(options=RunOptions(on_failure="continue"))._repr_mimebundle_()
    said = words(bundle["image/svg+xml"])
    assert {"failed", "succeeded", "each of many · 3 items"} <= set(said)
    assert any(word.startswith("ZeroDivisionError: ") for word in said)


@pytest.mark.parametrize("kind", ["definitions", "pipelines", "steps", "workflow"])
def test_flows_of_the_dialects_are_pictures_too(kind):
    def load(*_: object) -> int:
        return 1

    class Load:
        async def execute(self, input: object, context: object, /) -> Any:
            return 1

    made: Any
    match kind:
        case "definitions":
            made = PipelineDefinition("odd", [StageDefinition("load", Load())])
        case "pipelines":
            made = PipelineBuilder("odd").stage("load", load).build()
        case "steps":
            made = PipelineExecutor()
            made.add_step("load", load)
        case _:
            made = Workflow("odd")
            made.add_task("load", load)
    bundle = made._repr_mimebundle_()
    assert "load" in words(bundle["image/svg+xml"])
    assert bundle["text/plain"] == repr(made)


def test_a_flow_that_is_not_valid_says_so():
    flow = Flow("odd")
    flow.add(lambda x: x, name="a", x=use(prices().steps["end"]))
    bundle = flow._repr_mimebundle_()
    assert list(bundle) == ["text/plain"]
    assert bundle["text/plain"].startswith(repr(flow) + "\n")
    assert "prices" in bundle["text/plain"]


def test_a_form_that_is_none():
    with pytest.raises(InputError, match=r"there is no form 'sgv'; did you mean 'svg'\?"):
        prices().draw("sgv")

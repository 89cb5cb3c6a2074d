"""What a user reads who gets it wrong: whole texts, at most three lines, that name the mend."""

# mypy: ignore-errors

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import pytest

from penstock.core.errors import CycleError, GraphError, InputError
from penstock.core.model import Limit, RetryPolicy, RunOptions
from penstock.flow import Context, Flow, each, gather, optional, outcome, param, use

# Each case is one function; one test at the end runs them all.
CASES: list[Any] = []


def misuse(text: str, error: type[Exception] = GraphError) -> Callable[[Any], Any]:
    """Marks a function that gets something wrong in an empty flow, with the text of its error."""

    def note(function: Any) -> Any:
        CASES.append(pytest.param(function, text, error, id=function.__name__))
        return function

    return note


class Order: ...


class Totals(TypedDict):
    total: int


@misuse(
    "step 'enrich': its parameter 'order' takes Order, and 'extract' returns list[Order];\n"
    "did you mean order=each(extract)?",
)
def an_each_is_forgotten(flow):
    @flow.step
    def extract() -> list[Order]: ...
    @flow.step
    def enrich(order: Order = use(extract)) -> int: ...


@misuse(
    "step 'enrich': its parameter 'order' takes Order, and 'order' returns list[Order];\n"
    "did you mean order=each(order)?",
)
def an_each_is_forgotten_and_the_wiring_is_by_name(flow):
    @flow.step
    def order() -> list[Order]: ...
    @flow.step
    def enrich(order: Order) -> int: ...


@misuse(
    "step 'c': its parameter 'xs' takes list[int], and 'b' returns int;\ndid you mean xs=gather(b)?",
)
def a_gather_is_forgotten(flow):
    @flow.step
    def a() -> list[int]: ...
    @flow.step
    def b(x: int = each(a)) -> int: ...
    @flow.step
    def c(xs: list[int] = use(b)) -> int: ...


@misuse(
    "step 'b': its parameter 'x' takes list[int], and each(a) gives int;\ndid you mean x=use(a)?",
)
def each_where_the_whole_is_wanted(flow):
    @flow.step
    def a() -> list[int]: ...
    @flow.step
    def b(x: list[int] = each(a)) -> int: ...


@misuse(
    "step 'c': its parameter 'xs' takes list[int], and gather(b, failures='keep') gives list[Outcome[int]];\n"
    "annotate 'xs' as list[Outcome[int]], or leave out failures='keep'",
)
def failures_kept_and_not_expected(flow):
    @flow.step
    def a() -> list[int]: ...
    @flow.step
    def b(x: int = each(a)) -> int: ...
    @flow.step
    def c(xs: list[int] = gather(b, failures="keep")) -> int: ...


@misuse(
    "step 'c': its parameter 'a' takes list[int], and 'a' returns list[int] | None;\n"
    "annotate 'a' for None too, or let 'a' never return it",
)
def a_value_that_may_be_none(flow):
    @flow.step
    def a() -> list[int] | None: ...
    @flow.step
    def b(x: list[int]) -> int: ...
    @flow.step
    def c(a: list[int]) -> int: ...


@misuse(
    "step 'c': its parameter 'a' takes int, and None, the default of optional(a, None), is None;\n"
    "annotate 'a' for both, or give another default",
)
def a_default_of_another_type(flow):
    @flow.step
    def a() -> int: ...
    @flow.step
    def c(a: int = optional(a, None)) -> int: ...


@misuse(
    "step 'c': a=each(a) needs a list or tuple, and 'a' returns dict[str, int];\n"
    "return list(...) of its keys, values or items, or take it whole with use(a)",
)
def each_of_a_dict(flow):
    @flow.step
    def a() -> dict[str, int]: ...
    @flow.step
    def c(a: int = each(a)) -> int: ...


@misuse(
    "step 'c': a=each(a) needs a list or tuple, and 'a' returns set[int], which has no order;\n"
    "return sorted(...), or take it whole with use(a)",
)
def each_of_a_set(flow):
    @flow.step
    def a() -> set[int]: ...
    @flow.step
    def c(a: int = each(a)) -> int: ...


@misuse(
    "step 'c': a=each(a) needs a list or tuple, and 'a' returns Sequence[int];\n"
    "annotate it as list[int], and return one",
)
def each_of_a_sequence(flow):
    @flow.step
    def a() -> Sequence[int]: ...
    @flow.step
    def c(a: int = each(a)) -> int: ...


@misuse(
    "step 'c': a=each(a) needs a list or tuple, and 'a' returns int;\n"
    "return a list, or take it whole with use(a)",
)
def each_of_a_number(flow):
    @flow.step
    def a() -> int: ...
    @flow.step
    def c(a: int = each(a)) -> int: ...


@misuse(
    "step 'c': a=each(param('text')) needs a list or tuple, and 'text' is str;\n"
    "say param('text', list[...]), or use() it whole",
)
def each_of_a_text_input(flow):
    @flow.step
    def c(a: str = each(param("text", str))) -> int: ...


@misuse(
    "step 'c': a=use(a, 2): 'a' returns tuple[int, str], which has 2 elements, from 0",
)
def an_index_beyond_a_tuple(flow):
    @flow.step
    def a() -> tuple[int, str]: ...
    @flow.step
    def c(a: int = use(a, 2)) -> int: ...


@misuse(
    "step 'c': a=use(a, 'totl'): 'a' returns Totals, without a key 'totl'; did you mean 'total'?",
)
def a_key_that_is_not_there(flow):
    @flow.step
    def a() -> Totals: ...
    @flow.step
    def c(a: int = use(a, "totl")) -> int: ...


@misuse(
    "step 'c': its parameter 'a' takes str, and use(a, 'total') gives int;\n"
    "change one of the two annotations, or the marker of 'a'",
)
def a_part_of_another_type(flow):
    @flow.step
    def a() -> Totals: ...
    @flow.step
    def c(a: str = use(a, "total")) -> int: ...


@misuse(
    "step 'c': a=use(a, 'total'): 'a' returns int, which has no parts; say use(a)",
)
def a_part_of_a_number(flow):
    @flow.step
    def a() -> int: ...
    @flow.step
    def c(a: str = use(a, "total")) -> int: ...


@misuse(
    "step 'c': its parameter 'b' is named like a mapped step, and a name makes no calls;\n"
    "say b=gather(b) for the list of all its items, or b=use(b) for one call per item",
)
def a_mapped_step_by_name(flow):
    @flow.step
    def a() -> list[int]: ...
    @flow.step
    def b(x: int = each(a)) -> int: ...
    @flow.step
    def c(b) -> int: ...


@misuse(
    "these steps wait for each other: a -> c -> b -> a\n"
    "'c' asks 'a' (x); 'b' asks 'c' (c); 'a' asks 'b' (b)\n"
    "'c' of 'b' is wired by its name alone; rename it if an input is meant",
    error=CycleError,
)
def a_circle(flow):
    @flow.step
    def a(b) -> list[int]: ...
    @flow.step
    def b(c) -> int: ...
    @flow.step
    def c(x=use(a)) -> int: ...


@misuse(
    "step 'path': its parameter 'path' has the step's own name, so it would wait for itself;\n"
    "rename the parameter, or the step with name='...'",
)
def a_parameter_with_the_name_of_its_step(flow):
    @flow.step
    def path(path: str) -> str: ...


@misuse(
    "step 'load': retry takes a RetryPolicy, not 3; say retry=RetryPolicy(max_attempts=3)",
)
def retry_as_a_number(flow):
    @flow.step(retry=3)
    def load(): ...


@misuse(
    "step 'load': retry takes a RetryPolicy, not '3'; say retry=RetryPolicy(max_attempts=3)",
)
def retry_as_a_text(flow):
    @flow.step(retry="3")
    def load(): ...


@misuse(
    "step 'load': timeout must be more than 0 s, not 0; leave it out for no timeout",
)
def no_time_at_all(flow):
    @flow.step(timeout=0)
    def load(): ...


@misuse(
    "step 'load': timeout takes seconds or a Timeout, not '3'",
)
def timeout_as_a_text(flow):
    @flow.step(timeout="3")
    def load(): ...


@misuse(
    "step 'load': limits takes Limit objects, not 'api'; say limits=[Limit('api', capacity=4)]",
)
def limits_by_name(flow):
    @flow.step(limits=["api"])
    def load(): ...


@misuse(
    "step 'load': limits takes a list; say limits=[...]",
)
def one_limit_without_a_list(flow):
    @flow.step(limits=Limit("api", 3))
    def load(): ...


@misuse(
    "step 'load': there is no option 'retries'; did you mean 'retry'?",
)
def a_misspelt_option(flow):
    @flow.step(retries=3)
    def load(): ...


@misuse(
    "step 'load': 'path' is a parameter, and flow.step takes options only;\n"
    "give it its marker or value as a default, or use flow.add(..., path=...)",
)
def a_binding_given_to_the_decorator(flow):
    @flow.step(path=3)
    def load(path): ...


@misuse(
    "step 'load': 'retries' is neither an option nor a parameter of <lambda>(path); did you mean 'retry'?",
)
def a_misspelt_option_of_add(flow):
    flow.add(lambda path: 1, name="load", retries=3)


@misuse(
    "step 'load': 'pth' is neither an option nor a parameter of <lambda>(path); did you mean 'path'?",
)
def a_misspelt_binding(flow):
    flow.add(lambda path: 1, name="load", pth=3)


@misuse(
    "a step is made of a function, not of a value of type int",
)
def a_number_as_a_step(flow):
    flow.add(3)


@misuse(
    "flow.step takes a function, not 'load'; say @flow.step(name='load')",
)
def a_name_as_a_step(flow):
    flow.step("load")


@misuse(
    "a step is made of a function, and 'f' was called; leave out the ()",
)
def a_coroutine_as_a_step(flow):
    async def f(): ...

    flow.add(f())


@misuse(
    "step 'p': the flow gives all by keyword, and cannot fill '*args' of print;\n"
    "wrap it in a function that names its parameters, or put functools.wraps on the decorator",
)
def print_as_a_step(flow):
    flow.add(print, name="p")


@misuse(
    "step 'p': 'obj' of len can be given by position only, and the flow gives all by keyword;\n"
    "wrap it in a function that names its parameters",
)
def len_as_a_step(flow):
    flow.add(len, name="p")


@misuse(
    "step 'p': dict has no signature that Python can read;\n"
    "wrap it in a function of your own: lambda x: dict(x)",
)
def dict_as_a_step(flow):
    flow.add(dict, name="p")


@misuse(
    "step 'p': max has no signature that Python can read;\n"
    "wrap it in a function of your own: lambda x: max(x)",
)
def max_as_a_step(flow):
    flow.add(max, name="p")


@misuse(
    "a lambda has no name of its own; say flow.add(..., name='...')",
)
def a_lambda_without_a_name(flow):
    flow.add(lambda x: x)


@misuse(
    "step 'f': the flow gives all by keyword, and cannot fill '*xs' of f;\n"
    "wrap it in a function that names its parameters, or put functools.wraps on the decorator",
)
def star_arguments(flow):
    @flow.step
    def f(*xs): ...


@misuse(
    "step 'f': 'x' of f can be given by position only, and the flow gives all by keyword;\n"
    "wrap it in a function that names its parameters",
)
def positional_only(flow):
    @flow.step
    def f(x, /): ...


@misuse(
    "step 'f': its parameters 'x' and 'y' are both each(), which leaves open how items pair;\n"
    "say pair='zipped' or pair='product' on the step,\n"
    "or map over one and give the other whole: y=use(a)",
)
def two_each(flow):
    a = flow.add(lambda: [1], name="a")

    @flow.step
    def f(x=each(a), y=each(a)): ...


@misuse(
    "step 'f': its parameter 'store' would be the input 'store', a name that the run call keeps for itself;\n"
    "rename it, or give its value: flow.add(..., store=...)",
)
def a_reserved_input(flow):
    @flow.step
    def f(store: str): ...


@misuse(
    "step 'f': its parameter 'x' takes step 'a' of another flow, 'other'; add its function to 'flow'",
)
def a_marker_of_another_flow(flow):
    o = Flow("other")
    a = o.add(lambda: 1, name="a")

    @flow.step
    def f(x=use(a)): ...


@misuse(
    "step 'f': after takes step 'a' of another flow, 'other'; add its function to 'flow'",
)
def after_a_step_of_another_flow(flow):
    o = Flow("other")
    a = o.add(lambda: 1, name="a")

    @flow.step(after=[a])
    def f(): ...


@misuse(
    "use('a'): use takes a step, not its name; give the step itself, or param('a') for an input of the run",
)
def use_of_a_name(flow):
    use("a")


@misuse(
    "each(len): 'len' is not a step; put @flow.step on it, or flow.add it",
)
def each_of_a_function(flow):
    each(len)


@misuse(
    "gather([1]): gather takes a step, not a value of type list",
)
def gather_of_a_list(flow):
    gather([1])


@misuse(
    "use(use(a)): use takes a step, not another marker; say use(a)",
)
def a_marker_of_a_marker(flow):
    use(use(flow.add(lambda: 1, name="a")))


@misuse(
    "there are two steps called 'f' (one is at HERE); give one another name with name='...'",
)
def two_functions_of_one_name(flow):
    @flow.step
    def f(): ...
    @flow.step
    def f(): ...  # noqa: F811


@misuse(
    "there is a step 'f' already; to use a function again say flow.add(..., name='...')",
)
def one_function_twice(flow):
    def f(): ...

    flow.add(f)
    flow.add(f)


@misuse(
    "step 'f': when takes a function that returns a bool, not True",
)
def when_is_no_function(flow):
    @flow.step(when=True)
    def f(): ...


@misuse(
    "step 'f': when takes a function, not the step 'ok'; to ask for its value say when=lambda ok: ok",
)
def when_is_a_step(flow):
    ok = flow.add(lambda: True, name="ok")

    @flow.step(when=ok)
    def f(): ...


@misuse(
    "step 'f': when must return a bool, and 'w' is annotated to return int",
)
def when_returns_a_number(flow):
    def w(x) -> int: ...
    @flow.step(when=w)
    def f(): ...


@misuse(
    "step 'f': when takes 'ctx', the Context; a condition is no attempt, so it has none",
)
def when_asks_for_the_context(flow):
    @flow.step(when=lambda ctx: True)
    def f(ctx: Context): ...


@misuse(
    "step 'f': when is a generator function; it must return a bool",
)
def when_is_a_generator(flow):
    def w(x):
        yield

    @flow.step(when=w)
    def f(): ...


@misuse(
    "step 'f': parameter 'b' of its when is named like a mapped step, and a name makes no calls;\n"
    "say b=gather(b) for the list of all its items, or b=use(b) for one call per item",
)
def when_asks_for_a_mapped_step(flow):
    a = flow.add(lambda: [1], name="a")
    flow.add(lambda x: 1, name="b", x=each(a))

    @flow.step(when=lambda b: True)
    def f(): ...


@misuse(
    "step 'f': there is no trigger 'all_dne'; did you mean 'all_done'?\n"
    "(one of all_succeeded, all_done, none_failed, any_succeeded, all_failed, always, or a function)",
)
def a_misspelt_trigger(flow):
    flow.add(lambda: [1], name="a")

    @flow.step(trigger="all_dne")
    def f(a): ...


@misuse(
    "step 'f': with the trigger 'all_done' it may start when 'a' has no value;\n"
    "give 'x' a default, or take it with outcome(a) or optional(a, default)",
)
def a_trigger_that_may_lack_a_value(flow):
    a = flow.add(lambda: [1], name="a")

    @flow.step(trigger="all_done")
    def f(x=use(a)): ...


@misuse(
    "step 'f': x=a does not say what to take of it; say x=use(a), each(a) or gather(a)",
)
def a_step_without_a_marker(flow):
    a = flow.add(lambda: [1], name="a")

    @flow.step
    def f(x=a): ...


@misuse(
    "step 'b': its parameter 'x' has use(a) inside a list, where nothing fills it;\n"
    "give each marker a parameter of its own: a function with **values takes any number of them",
)
def markers_in_a_list(flow):
    a = flow.add(lambda: [1], name="a")
    flow.add(lambda x: 1, name="b", x=[use(a), use(a)])


@misuse(
    "step 'b': 'limits' is an option of the step, so it takes no marker;\n"
    "for a parameter of that name say bind={'limits': use(a)}",
)
def a_marker_for_an_option(flow):
    a = flow.add(lambda: [1], name="a")
    flow.add(lambda limits: 1, name="b", limits=use(a))


@misuse(
    "step 'f': its parameter 'x' takes int, and '3' is str",
)
def a_constant_of_another_type(flow):
    def f(x: int): ...

    flow.add(f, x="3")


@misuse(
    "input 'path' has two types: str in step 'a' (parameter 'path'), int in step 'b' (parameter 'path');\n"
    "let the annotations agree, or rename one of the parameters",
)
def an_input_of_two_types(flow):
    @flow.step
    def a(path: str): ...
    @flow.step
    def b(path: int): ...


@misuse(
    "input 'n' has two defaults: 1 in step 'a', 2 in step 'b';\n"
    "let them agree, or bind one where it is added: flow.add(..., n=2)",
)
def an_input_of_two_defaults(flow):
    @flow.step
    def a(n=1): ...
    @flow.step
    def b(n=2): ...


@misuse(
    "step 'b': its parameter 'x' takes the input 'a', and a step has that name too; rename one",
)
def an_input_named_like_a_step(flow):
    flow.add(lambda: [1], name="a")
    flow.add(lambda x: 1, name="b", x=each(param("a", list[int])))


@misuse(
    "step 'load': cache= comes with the cache",
    error=NotImplementedError,
)
def caches_come_later(flow):
    @flow.step(cache=True)
    def load(path): ...


@misuse(
    "flow 'all': defaults: cache= comes with the cache",
    error=NotImplementedError,
)
def caches_of_all_steps_come_later(flow):
    Flow("all", defaults={"cache": True})


@misuse(
    "run_id names a run of a store; say store='runs.db' too",
    error=InputError,
)
def a_run_id_without_a_store(flow):
    flow.run(run_id="x")


@misuse(
    "run_id is a text without blanks around it, not ' '; or leave it out",
    error=InputError,
)
def j27_a_blank_run_id(flow):
    flow.run(store="memory:", run_id=" ")


@misuse(
    "there is no store 'mysql://x': say 'sqlite:///runs.db', a path, or 'memory:'",
    error=InputError,
)
def a_store_of_another_kind(flow):
    flow.run(store="mysql://x")


@misuse(
    "store takes a path, a word such as 'sqlite:///runs.db', or a store, not 7",
    error=InputError,
)
def a_number_as_store(flow):
    flow.run(store=7)


@misuse(
    "rerun names steps of a run that goes on, and this one is new; say run_id=",
    error=InputError,
)
def a_rerun_in_a_new_run(flow):
    flow.run(store="memory:", options=RunOptions(rerun=["a"]))


@misuse("gate 'ok': default is its answer when its time is over; give a timeout too")
def a_default_that_never_comes(flow):
    flow.gate("ok", default=True)


@misuse("gate 'ok': an answer is bool, and its default is 'yes'")
def an_answer_of_another_type(flow):
    flow.gate("ok", timeout=5, default="yes")


@misuse("gate 'ok': 'retry' is an option of steps that call something; it only waits")
def a_gate_that_tries_again(flow):
    flow.gate("ok", retry=RetryPolicy())


@misuse(
    "step 'nap': it sleeps until a datetime, for a timedelta, or until what use(step) or param(...) gives, "
    "not int"
)
def a_sleep_until_a_number(flow):
    flow.sleep_until("nap", 5)


@misuse(
    "gather: failures is 'raise', 'drop', 'keep' or a Quorum, not 'none'",
)
def an_unknown_policy(flow):
    gather(flow.add(lambda: 1, name="a"), failures="none")


@misuse(
    "gather(gather(...)): the policy stands on the inner one; say gather(gather(a, failures='drop'))",
)
def the_policy_on_the_outer_gather(flow):
    gather(gather(flow.add(lambda: 1, name="a")), failures="drop")


@misuse(
    "step 'b': gather takes a mapped step, and 'a' is not mapped; take its value with use(a)",
)
def gather_of_a_step_that_is_not_mapped(flow):
    a = flow.add(lambda: 1, name="a")
    flow.add(lambda xs: 1, name="b", xs=gather(a))


@misuse(
    "step 'a': after takes a list of steps; say after=[b]",
)
def after_a_name(flow):
    flow.add(lambda: 1, name="a", after="b")


@misuse(
    "step 'a': after takes steps, not 'b'",
)
def after_names(flow):
    flow.add(lambda: 1, name="a", after=["b"])


@misuse(
    "step 'b': after takes the steps themselves; say a for use(a)",
)
def after_a_marker(flow):
    a = flow.add(lambda: 1, name="a")
    flow.add(lambda: 1, name="b", after=[use(a)])


@misuse(
    "f() is called outside a run, where nothing fills 'y' from use(a); pass it: f(y=...)",
    error=TypeError,
)
def a_direct_call_that_lacks_a_value(flow):
    a = flow.add(lambda: 1, name="a")

    @flow.step
    def f(x, y=use(a)): ...

    f(3)


@misuse(
    "step 'a': 'y' is not a parameter of <lambda>(x)",
)
def a_template_with_an_unknown_name(flow):
    flow.add(lambda x: 1, name="a").bind(y=3)


@misuse(
    "use(a, True): a part is a key (str) or an index (int), not bool",
)
def a_part_that_is_no_key(flow):
    use(flow.add(lambda x: 1, name="a"), True)


@misuse(
    "step 'a[1]': '[' is not allowed in a name; use letters, digits, spaces and _ - . : + @ # , ( ) = ' &",
)
def a_name_with_brackets(flow):
    flow.add(lambda: 1, name="a[1]")


@misuse(
    "step 'a': keep is True or False, not 'yes'",
)
def keep_as_a_text(flow):
    flow.add(lambda: 1, name="a", keep="yes")


@misuse(
    "param('a b'): an input is given as a keyword, so its name must be an identifier",
)
def an_input_that_is_no_keyword(flow):
    param("a b")


@misuse(
    "step 'b': a marker in a partial must be given by keyword",
)
def a_marker_by_position_in_a_partial(flow):
    a = flow.add(lambda: 1, name="a")
    flow.add(functools.partial(lambda x, y: 1, use(a)), name="b")


@misuse(
    "step 'b': x=<template <lambda>(y=3)> is no step; flow.add() it, then use() it",
)
def a_template_as_a_value(flow):
    a = flow.add(lambda y: 1, name="a")
    flow.add(lambda x: 1, name="b", x=a.bind(y=3))


@misuse("step 'f': trigger takes a name or a function, not the step 'a'; order is after=[...]")
def a_trigger_that_is_a_step(flow):
    a = flow.add(lambda: 1, name="a")
    flow.add(lambda: 1, name="f", trigger=a)


@misuse("step 'f': trigger takes a name or a function of outcomes, not 3")
def a_trigger_that_is_a_number(flow):
    flow.add(lambda: 1, name="f", trigger=3)


@misuse(
    "step 'f': trigger takes 'x' from use(a), and it sees outcomes; say outcome(a)",
)
def a_trigger_that_asks_for_a_value(flow):
    a = flow.add(lambda: 1, name="a")
    flow.add(lambda: 1, name="f", trigger=lambda x=use(a): True)


@misuse(
    "step 'f': when takes 'x' from each(a), and it makes no calls;\n"
    "let the step itself map, and name its parameter",
)
def a_condition_that_maps(flow):
    a = flow.add(lambda: [1], name="a")
    flow.add(lambda: 1, name="f", when=lambda x=each(a): True)


@misuse("step 'f': limits takes Limit objects, not 3; say limits=[Limit('api', capacity=4)]")
def limits_as_a_number(flow):
    flow.add(lambda: 1, name="f", limits=3)


@misuse("step 'f': after takes a list of steps, not 3")
def after_a_number(flow):
    flow.add(lambda: 1, name="f", after=3)


@misuse("step 'f': after takes steps, and param('x') is an input of the run: it is there at once")
def after_an_input(flow):
    flow.add(lambda: 1, name="f", after=[param("x")])


@misuse("step 'f': runner is the name of a runner, not 3")
def runner_as_a_number(flow):
    flow.add(lambda: 1, name="f", runner=3)


@misuse("step 'f': its parameter 'x' takes use(f): it would wait for itself")
def a_step_that_uses_itself(flow):
    f = flow.add(lambda x: 1, name="f")
    f.bindings["x"] = use(f)


@misuse(
    "optional('a'): optional takes a step, not its name; "
    "give the step itself, or param('a') for an input of the run"
)
def optional_of_a_name(flow):
    optional("a", None)


@misuse("outcome(3): outcome takes a step, not a value of type int")
def outcome_of_a_number(flow):
    outcome(3)


@pytest.mark.parametrize(("wrong", "text", "error"), CASES)
def test_text(wrong, text, error):
    def build() -> None:
        flow = Flow("flow")
        wrong(flow)
        flow.graph()

    with pytest.raises(error) as caught:
        build()
    assert type(caught.value) is error
    assert re.sub(r"at \S+\.py:\d+", "at HERE", str(caught.value)) == text
    assert len(text.splitlines()) <= 3


def test_what_is_defined_twice_at_a_prompt_says_how_to_begin_anew():
    names = {"flow": (flow := Flow("cells"))}
    again = ";\nif this cell was run again, run the one with Flow('cells') first: it begins an empty flow"
    cells = [
        "@flow.step\ndef b(): ...",
        "def c(): ...\nc = flow.add(c)",
        "from penstock import switch\nswitch(flow.steps['b'], {1: flow.steps['c']}, name='d')",
        "from penstock import Flow\nother = Flow('e')\nother.add(lambda: 1, name='f')\nflow.add(other)",
    ]
    for number, cell in enumerate(cells):
        exec(compile(cell, f"<ipython-input-{number}-0>", "exec"), names)
    for number, cell in enumerate(
        [cells[0], "flow.add(c.function)", "flow.add(lambda: 1, name='e')", cells[3]]
    ):
        with pytest.raises(GraphError) as refused:
            exec(compile(cell, f"<ipython-input-9{number}-0>", "exec"), names)
        assert str(refused.value).endswith(again)
    with pytest.raises(GraphError) as refused:
        exec(compile(cells[0], "a_file.py", "exec"), names)
    assert again not in str(refused.value)
    assert flow.steps.keys() == {"b", "c", "e/f"}

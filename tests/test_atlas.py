"""The standard library atlas: every number of the example is counted again here, in another way."""

import ast
import importlib
import io
import random
import re
import sys
import threading
import tokenize
import warnings
from collections import defaultdict
from importlib.util import resolve_name
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OURS = ["latin1_undeclared", "null_bytes", "unclosed_bracket", "uneven_indentation", "unknown_encoding"]

#: Steps whose outputs are looked at; as targets of a run they are kept.
KEPT = ["discover", "survey", "totals", "import_graph", "loops", "hot_spots", "duplicates", "summary"]
KEPT += ["page", "table"]

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef

#: How many files of the standard library the quick tests take; the slow ones take all.
SOME = 150


@pytest.fixture(scope="module")
def modules():
    """The example and its helpers, imported as `python examples/stdlib_atlas.py` would."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return SimpleNamespace(
            job=importlib.import_module("stdlib_atlas"),
            measure=importlib.import_module("atlas.measure"),
            relate=importlib.import_module("atlas.relate"),
        )
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture(
    scope="module",
    params=[pytest.param(SOME, id="some"), pytest.param(0, id="all", marks=pytest.mark.slow)],
)
def atlas(request, modules, tmp_path_factory):
    """One run of the flow, and the sources it saw."""
    out = tmp_path_factory.mktemp("atlas")
    result = modules.job.flow.run(limit=request.param, out=str(out), targets=KEPT)
    result.raise_for_failure()
    return SimpleNamespace(**{name: result[name] for name in KEPT})


@pytest.fixture(scope="module")
def counts(atlas):
    """What an independent count says of each file that the compiler takes, by path. No tree is kept."""
    found = {}
    for source in atlas.discover:
        tree = compiled(source.file)
        if tree is not None:
            found[source.path] = Count(tree, source.file)
    return found


def compiled(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return compile(Path(file).read_bytes(), "x", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


class Count:
    """One file, counted with `ast.walk` and plain recursion."""

    def __init__(self, tree, file):
        self.file = file
        nodes = list(ast.walk(tree))
        self.lines = lines_of(Path(file).read_bytes())
        self.functions = sum(isinstance(node, FUNCTION) for node in nodes)
        self.classes = sum(isinstance(node, ast.ClassDef) for node in nodes)
        self.imports = sum(len(node.names) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
        self.at_import = list(names_imported(at_import(tree.body)))
        self.imported = list(names_imported(nodes))
        self.decisions = 0
        self.shapes = []  # (line, statements, a first hint whether functions are the same)
        for function in outermost_functions(tree):
            self.decisions += decisions_of(function)
            bare(function)
            shape = tuple(map(type, ast.walk(function)))
            statements = sum(issubclass(kind, ast.stmt) for kind in shape) - 1
            self.shapes.append((function.lineno, statements, hash(shape)))


# --- What was found and what failed


def test_the_whole_library_is_seen_once(modules):
    sources = modules.job.discover()
    inside = {path.relative_to(modules.job.STDLIB) for path in Path(modules.job.STDLIB).glob("**/*.py")}
    wanted = {
        path.as_posix()
        for path in inside
        if not re.search(r"(^|/)(site-packages|dist-packages|__pycache__)/", path.as_posix())
    }
    paths = [source.path for source in sources if not source.path.startswith("examples/broken/")]
    assert sorted(paths) == sorted(wanted)
    assert len(wanted) > 500
    assert len(sources) == len(wanted) + len(OURS)


def test_a_limit_takes_files_from_everywhere(modules):
    chosen = [source.path for source in modules.job.discover(limit=40)]
    assert len(chosen) == len(set(chosen)) == 40 + len(OURS)
    assert len({path.partition("/")[0] for path in chosen}) > 10


def test_a_root_that_is_no_folder_is_refused_by_name(modules, tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere"):
        modules.job.discover(root=str(tmp_path / "nowhere"))


def test_failures_are_the_files_that_do_not_compile(atlas, counts):
    unread = [lost.path for lost in atlas.survey.unread]
    assert sorted(unread) == sorted({source.path for source in atlas.discover} - counts.keys())
    assert all(lost.error and lost.reason for lost in atlas.survey.unread)


def test_our_broken_files_are_exactly_these_five(atlas):
    broken = {lost.path: lost for lost in atlas.survey.unread if lost.path.startswith("examples/broken/")}
    assert list(broken) == [f"examples/broken/{name}.py" for name in OURS]
    said = {Path(path).stem: (lost.error, lost.reason) for path, lost in broken.items()}
    assert said["uneven_indentation"][0] == "IndentationError"
    assert "decode byte 0xf6" in said["latin1_undeclared"][1]
    assert "null bytes" in said["null_bytes"][1]
    assert "'{' was never closed (unclosed_bracket.py, line 3)" in said["unclosed_bracket"][1]
    assert "unknown encoding: utf-9" in said["unknown_encoding"][1]
    assert "line 0" not in said["unknown_encoding"][1]


# --- Totals


def test_totals_equal_an_independent_count(atlas, counts):
    totals = atlas.totals
    assert totals.files == len(atlas.discover)
    assert totals.unread == totals.files - len(counts)
    for figure in ("lines", "functions", "classes", "imports"):
        assert getattr(totals, figure) == sum(getattr(count, figure) for count in counts.values()), figure
    assert totals.definitions == totals.functions + totals.classes
    assert totals.complexity == totals.functions + sum(count.decisions for count in counts.values())


def lines_of(data):
    return len(re.findall(rb"\r\n|\r|\n", data)) + (not data.endswith((b"\r", b"\n")) and data != b"")


def outermost_functions(node):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTION):
            yield child
        elif not isinstance(child, ast.expr):
            yield from outermost_functions(child)


def decisions_of(function):
    """All decisions below a function, those of the functions in it included."""
    count = 0
    for node in ast.walk(function):
        name = type(node).__name__
        count += name in {
            "If",
            "IfExp",
            "While",
            "For",
            "AsyncFor",
            "ExceptHandler",
            "comprehension",
            "match_case",
        }
        count += len(getattr(node, "ifs", ())) + (getattr(node, "guard", None) is not None)
        count += len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0
    return count


def test_each_file_equals_a_count_of_its_tokens(atlas):
    """No tree at all: code lines, definitions and complexity from the words of each file."""
    compared = 0
    files = {source.path: source.file for source in atlas.discover}
    for metrics in atlas.survey.files[:: 1 if len(files) < 500 else 4]:
        data = Path(files[metrics.path]).read_bytes()
        count = Words(data)
        definitions = metrics.definitions
        assert (metrics.path, definitions) == (metrics.path, count.definitions)
        assert (metrics.path, metrics.code_lines) == (metrics.path, count.code_lines)
        if not count.hidden:
            assert (metrics.path, metrics.complexity) == (metrics.path, count.complexity)
            compared += 1
    assert compared > 0.8 * min(len(files), SOME)


class Words:
    """Counts over the tokens of a file, told apart by logical line and depth."""

    DECISIONS = frozenset({"if", "elif", "for", "while", "except", "and", "or"})
    SILENT = frozenset(
        {
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENCODING,
            tokenize.ENDMARKER,
        }
    )

    def __init__(self, data):
        self.functions = self.classes = self.decisions = 0
        self.hidden = False  # an f-string of before Python 3.12, which is one token, has a decision in it
        text = io.BytesIO(data).readlines()
        spoken: set[int] = set()
        depth, inside, held, documentable = 0, None, 0, True
        line = []
        for token in tokenize.tokenize(io.BytesIO(data).readline):
            if token.type == tokenize.INDENT:
                depth += 1
            elif token.type == tokenize.DEDENT:
                depth -= 1
            if token.type not in self.SILENT:
                line.append(token)
            if token.type not in (tokenize.NEWLINE, tokenize.ENDMARKER) or not line:
                continue
            words = [word.string for word in line]
            heads = words[1:] if words[0] == "async" else words
            is_function, is_class = heads[0] == "def", words[0] == "class"
            self.functions += is_function
            self.classes += is_class
            if inside is not None and depth <= inside:
                inside = None
            found = self.decisions_in(line)
            if words[0] == "@" and inside is None:
                held += found  # a decorator counts for the function below it, if it is one
            elif is_function and inside is None:
                inside = depth
                found += held
            if inside is not None:
                self.decisions += found
            if words[0] != "@":
                held = 0
            if not (documentable and all(plain_string(word) for word in line)):
                body = one_line_docstring(line) if is_function or is_class else None
                spoken.update(
                    number for word in line[:body] for number in range(word.start[0], word.end[0] + 1)
                )
            documentable = (is_function or is_class) and words[-1] == ":"
            line = []
        self.code_lines = sum(
            1
            for number, raw in enumerate(text, 1)
            if number in spoken and raw.strip() and not raw.strip().startswith(b"#")
        )

    def decisions_in(self, line):
        words = [word.string for word in line]
        count = sum(word.type == tokenize.NAME and word.string in self.DECISIONS for word in line)
        if words[0] == "case" and words[1] not in {"=", ":", ".", ","} and ends_a_header(words):
            count += 1
        for word in line:
            if word.type == tokenize.STRING and re.match(r"[rR]?[fF]", word.string):
                self.hidden |= bool(re.search(r"\b(if|for|and|or)\b", word.string))
        return count

    @property
    def definitions(self):
        return self.functions + self.classes

    @property
    def complexity(self):
        return self.functions + self.decisions


def plain_string(word):
    return word.type == tokenize.STRING and not re.match(r"[rR]?[fFbB]", word.string)


def ends_a_header(words):
    depth = 0
    for word in words:
        depth += (word in "([{") - (word in ")]}")
        if word == ":" and depth == 0:
            return True
    return False


def one_line_docstring(line):
    """Where the docstring of `def f(): "text"` begins among the tokens."""
    depth = 0
    for index, word in enumerate(line):
        depth += (word.string in {"(", "[", "{"}) - (word.string in {")", "]", "}"})
        if word.string == ":" and depth == 0:
            rest = line[index + 1 :]
            return index + 1 if rest and plain_string(rest[0]) and all(map(plain_string, rest)) else None
    return None


# --- Complexity, lines and digests, file by file


@pytest.fixture
def measured(modules, tmp_path):
    def run(text):
        file = tmp_path / "sample.py"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return modules.measure.measure(modules.measure.Source(str(file), "pack/sample.py"))

    return run


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("pass", 1),
        ("if a: pass\n elif b: pass\n else: pass", 3),
        ("return a and b and c or d", 4),
        ("return [x for x in a if x if x.y]", 4),
        ("for x in a:\n  while x: pass\n else: pass", 3),
        ("try: pass\n except A: pass\n except B: pass\n else: pass\n finally: pass", 3),
        ("match a:\n  case 1 if b: pass\n  case _: pass", 4),
        ("return (lambda x: x if x else 0)", 2),
        ("assert a; raise b", 1),
        ("with a: pass", 1),
    ],
)
def test_complexity_of_a_function(measured, body, complexity):
    assert measured(f"def f(a):\n {body}\n").complexity == complexity


def test_a_nested_function_has_its_own_complexity(measured):
    found = measured(
        "class A:\n x = 1 if A else 2\n def f(self):\n  if x: pass\n  def g():\n   if x or y: pass\n"
    )
    assert [(function.name, function.complexity) for function in found.functions] == [
        ("A.f", 2),
        ("A.f.g", 3),
    ]
    assert (found.classes, found.definitions) == (1, 3)


def test_code_lines_leave_out_blanks_comments_and_docstrings(measured):
    text = '"""Doc\n\nmore."""\n\n# note\nx = """a\n# kept out\n"""\n\n'
    text += 'def f(): "doc"\n\nclass A:\n    """Doc."""\n'
    found = measured(text)
    assert (found.lines, found.code_lines) == (13, 4)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_every_line_end(measured, end):
    found = measured("\ufeff" + end.join(["x = 1", "", "# a", "y = 2"]))
    assert (found.lines, found.code_lines) == (4, 2)


BODY = "a = 1\n b = 2\n c = [a, b]\n for x in c:\n  print(x)\n return c\n"


def digests(found):
    return [function.digest for function in found.functions]


def test_names_docstrings_and_places_do_not_tell_functions_apart(measured):
    one, two = digests(measured(f'def f(q):\n "Doc."\n {BODY}\n\n# a note\ndef g( q ):\n\n {BODY}'))
    assert one == two != ""


@pytest.mark.parametrize(
    "other",
    [
        f"def f(p):\n {BODY}",
        f"async def f(q):\n {BODY}",
        f"def f(q, *, r=1):\n {BODY}",
        f"@d\ndef f(q):\n {BODY}",
        "def f(q):\n " + BODY.replace("1", "1.0"),
        "def f(q):\n " + BODY.replace("1", "True"),
        "def f(q):\n " + BODY.replace("[a, b]", "a, b"),
        "def f(q):\n " + BODY.replace(" return c\n", "  return c\n"),
    ],
)
def test_everything_else_tells_them_apart(measured, other):
    assert digests(measured(f"def f(q):\n {BODY}")) != digests(measured(other))


def test_small_and_nested_functions_are_not_compared(measured):
    assert digests(measured("def f():\n pass\n")) == [""]
    inner = BODY.replace("\n ", "\n  ")
    assert digests(measured(f"def f():\n def g():\n  {inner}"))[1] == ""


def test_imports_that_wait(measured):
    text = (
        "import a.b, c\nfrom . import d\nif TYPE_CHECKING:\n import e\nelse:\n import f\n"
        "def g():\n from ..h import i\nif __name__ == '__main__':\n import j\n"
        "try:\n import k\nexcept E: pass\n"
    )
    found = {line.module + line.name: (line.level, line.deferred) for line in measured(text).imports}
    assert found == {
        "a.b": (0, False),
        "c": (0, False),
        "d": (1, False),
        "e": (0, True),
        "f": (0, False),
        "hi": (2, True),
        "j": (0, True),
        "k": (0, False),
    }


# --- What is odd in the sources stays with their file


def test_nesting_deeper_than_the_stack_is_walked(measured):
    deep = min(2_000, sys.getrecursionlimit() * 2)
    try:
        found = measured("def f():\n return " + "+".join(["1"] * deep))
    except RecursionError:
        pytest.skip("this Python's own parser gives up first")
    assert found.complexity == 1


def test_nesting_that_the_parser_refuses_is_an_ordinary_failure(measured):
    for text in ("(" * 5_000 + ")" * 5_000, "-" * 200_000 + "1"):
        with pytest.raises((RecursionError, MemoryError, SyntaxError)):
            measured(text)


def test_warnings_of_old_sources_are_silent_and_nobody_elses(measured):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measured(b"x = '\\d'\ny = 1 is 1\nassert (x, 'y')\n").lines == 3
        with pytest.raises(UserWarning):
            warnings.warn("ours", stacklevel=1)
        with pytest.raises((SyntaxError, DeprecationWarning)):
            ast.parse("x = '\\d'")


def test_warnings_are_silent_in_threads_too(modules, tmp_path):
    file = tmp_path / "old.py"
    file.write_bytes(b"x = '\\d'\n" * 20)
    source = modules.measure.Source(str(file), "old.py")
    trouble = []

    def work():
        try:
            for _ in range(50):
                modules.measure.measure(source)
        except Exception as error:
            trouble.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []


# --- Imports and loops


def test_import_graph_equals_an_independent_one(atlas, counts):
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in counts}
    eager: set[tuple[str, str]] = set()
    every: set[tuple[str, str]] = set()
    for module, path in modules.items():
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        for edges, names in ((eager, counts[path].at_import), (every, counts[path].imported)):
            for name in absolute(names, package):
                while name and name not in modules:
                    name = name.rpartition(".")[0]
                if name and name != module:
                    edges.add((module, name))
    assert set(atlas.import_graph.modules) == set(modules)
    assert set(atlas.import_graph.edges) == eager
    assert set(atlas.import_graph.deferred) == every - eager


def at_import(statements):
    """The statements that importing a module can run."""
    for node in statements:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        blocks = ["body", "orelse", "finalbody", "handlers", "cases"]
        if isinstance(node, ast.If) and re.match(
            r"(\w+\.)*TYPE_CHECKING$|__name__\b [=!]=", ast.unparse(node.test)
        ):
            blocks.remove("body")
        for block in blocks:
            yield from at_import(getattr(node, block, []))


def names_imported(nodes):
    """(dots, module, name) of each imported name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (("", alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level, node.module or "", "." + alias.name) for alias in node.names)


def absolute(names, package):
    for dots, module, name in names:
        try:
            yield (resolve_name(dots + module, package) if dots else module) + name
        except ImportError:  # beyond the top
            continue


def reachable(edges):
    """For each node the set of nodes it reaches, as the bits of a number; by brute force."""
    nodes = sorted({node for edge in edges for node in edge})
    bit = {node: 1 << place for place, node in enumerate(nodes)}
    reach = dict.fromkeys(nodes, 0)
    changed = True
    while changed:
        changed = False
        for start, end in edges:
            new = reach[start] | bit[end] | reach[end]
            if new != reach[start]:
                reach[start] = new
                changed = True
    return nodes, bit, reach


def knots_of(edges):
    nodes, bit, reach = reachable(edges)
    groups = defaultdict(set)
    for node in nodes:
        if reach[node] & bit[node]:
            mutual = frozenset(o for o in nodes if reach[node] & bit[o] and reach[o] & bit[node])
            groups[mutual].add(node)
    return {group for group in groups if len(group) > 1}


def test_loops_are_strongly_connected_and_maximal(atlas):
    graph, loops = atlas.import_graph, atlas.loops
    assert {frozenset(loop.modules) for loop in loops.found} == knots_of(graph.edges)
    sizes = [len(loop.modules) for loop in loops.found]
    assert sizes == sorted(sizes, reverse=True)
    latent = knots_of(graph.edges + graph.deferred)
    assert bool(latent) == bool(loops.latent)
    if loops.latent:
        assert frozenset(loops.latent.modules) in latent
        assert len(loops.latent.modules) == max(map(len, latent))
    if len(graph.modules) > 500:  # the whole library: os has always been in a loop
        assert any({"os", "posixpath"} <= set(loop.modules) for loop in loops.found)


def test_the_way_round_a_loop_is_a_real_and_shortest_one(atlas):
    loops = [*atlas.loops.found, *([atlas.loops.latent] if atlas.loops.latent else [])]
    for loop in loops:
        way = loop.shortest
        assert way[0] == way[-1]
        assert set(pairwise(way)) <= set(loop.edges)
        assert {module for edge in loop.edges for module in edge} == set(loop.modules)
        if len(way) > 3:
            assert not any((b, a) in loop.edges for a, b in loop.edges)


@pytest.mark.parametrize("seed", range(60))
def test_loops_of_random_graphs(modules, seed):
    dice = random.Random(seed)
    names = [f"m{number:02}" for number in range(dice.randint(2, 18))]
    edges = tuple({tuple(dice.sample(names, 2)) for _ in range(dice.randint(0, 40))})
    found = modules.relate.loops(modules.relate.ImportGraph(tuple(names), edges, ())).found
    assert {frozenset(loop.modules) for loop in found} == knots_of(edges)


def test_a_loop_of_ten_thousand_needs_no_recursion(modules):
    names = tuple(f"m{number}" for number in range(10_000))
    edges = tuple(zip(names, names[1:] + names[:1], strict=True))
    assert [len(knot) for knot in modules.relate.knots(names, modules.relate.neighbours(edges))] == [10_000]


# --- Hot spots and duplicates


def test_hot_spots_are_the_most_complex(atlas, counts):
    spots = atlas.hot_spots
    every = sorted((f.complexity for file in atlas.survey.files for f in file.functions), reverse=True)
    assert [spot.complexity for spot in spots] == every[: len(spots)]
    for spot in spots:
        function = functions_at(counts[spot.path].file)[spot.line]
        assert function.name == spot.name.rpartition(".")[2]
        nested = sum(map(decisions_of, outermost_functions(function)))
        assert spot.complexity == 1 + decisions_of(function) - nested


def functions_at(file):
    return {node.lineno: node for node in ast.walk(compiled(file)) if isinstance(node, FUNCTION)}


def test_duplicates_are_the_functions_with_equal_dumps(atlas, counts, modules):
    """All of them, and no others."""
    alike = defaultdict(list)
    for path, count in counts.items():
        for line, statements, shape in count.shapes:
            if statements >= modules.measure.ENOUGH_STATEMENTS:
                alike[shape].append((path, line))
    candidates = defaultdict(list)  # only what has the shape of another is worth writing down
    for places in alike.values():
        for path, line in places if len(places) > 1 else ():
            candidates[path].append(line)
    groups = defaultdict(list)
    for path, lines in candidates.items():
        functions = functions_at(counts[path].file)
        for line in lines:
            function = functions[line]
            bare(function)
            name, function.name = function.name, ""
            groups[ast.dump(function)].append((path, name, line))
    wanted = {tuple(sorted(group)) for group in groups.values() if len(group) > 1}
    found = [
        tuple(sorted((path, name.rpartition(".")[2], line) for path, name, line in group.places))
        for group in atlas.duplicates
    ]
    assert set(found) == wanted
    assert len(found) == len(wanted)


def bare(function):
    for node in ast.walk(function):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            del node.body[0]
        if isinstance(node, ast.Constant):
            node.kind = None


def test_summary_says_the_totals(atlas):
    totals = atlas.totals
    for number in (totals.files, totals.lines, totals.definitions):
        assert f"{number:,}" in atlas.summary
    assert atlas.page in atlas.summary
    assert atlas.table in atlas.summary

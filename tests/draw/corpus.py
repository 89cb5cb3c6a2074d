"""Names that have broken other people's files, pages and drawings; G07."""

from penstock.core.errors import GraphError
from penstock.core.names import normal_id

SEEDS = [
    "../x", "..\\x", "con", "NUL", "a\0b", "x" * 10_000, "😀 fine", "👩‍👩‍👧", "\u202egnp.exe",
    "<img src=x onerror=alert(1)>", "${jndi:ldap://x}", "'; DROP TABLE runs; --", "__proto__",
    "constructor", "end", "subgraph", "graph", "node", "edge", "digraph", "strict", "click", "class",
    "style", "default", "linkStyle", "a-->b", "a->b", "a==>b", "a|b", "[x]", "(x)", "((x))", "{x}",
    "{{x}}", "<x>", "</script>", "<!-- x -->", "%%{init: {}}%%", "%% comment", "# head", "#quot;",
    "#35;", "&lt;", "&amp;", "&#60;", "&", "1. item", "- item", "* item", "+ item", "**bold**",
    "`code`", "_x_", "$$x^2$$", "\\N", "\\n", "\\", "\\\\", '"', '\\"', "'", '"]; evil [label="',
    '"] --> b["', "\n", "a\nb", "a\r\nb", "\t", "\x1b[31mred", "\x07", "\u2028", "\u2029", "\ufeff",
    "\u200b", "\ud800", "e\u0301", "\u0301", "ﬁ", "中文名字", "שלום", "مرحبا", "ไทย", "→", "a → b", "x/y",
    "a.b:c", "a=b", "100%", "~", "$HOME", "$(rm -rf /)", "`rm`", "; ls", "| cat", "> out",
    "\\\\host\\x", "{}", "{{ x }}", "{% x %}", "%s", "%(x)s", "{0}", "\x7f", "\x80", "￿", "n0", "m1",
    "cluster_1", "true", "null", "", " ", " x ", "0", "-1", "1e9", "NaN", "a" * 200, "TD", "LR",
    "x:::y", "x@{shape: rect}", "<br>", "<br/>", "<b>x</b>", "HTML<TABLE>", "javascript:alert(1)",
    "http://x/?a=b&c=d", "data:text/html,x", "?", "!", "é", "É", "𝒳", "ß", "İ", "ı",
]  # fmt: skip

NAMES = list(dict.fromkeys([*SEEDS, *(f"a {one} b" for one in SEEDS), *(f"{one}x" for one in SEEDS)]))
NAMES += [f"x{chr(number)}y" for number in range(33, 161)]


def allowed() -> list[str]:
    """Those that a step may have."""
    found = []
    for name in NAMES:
        try:
            found.append(normal_id(name))
        except GraphError:
            continue
    return list(dict.fromkeys(found))

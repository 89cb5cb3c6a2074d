"use strict";
// Adds to the page what a paper cannot do. Texts go in by textContent only; nothing here is needed to read.
(() => {
  const root = document.documentElement;
  const all = (what, from = document) => [...from.querySelectorAll(what)];
  const one = (what, from = document) => from.querySelector(what);
  const make = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const data = JSON.parse(one("#data").textContent);
  root.classList.add("js");

  // --- times ---
  const two = (n) => String(n).padStart(2, "0");
  const took = (ms) => {
    if (ms <= 0) return ms ? "< 1 ms" : "0 s";
    if (ms < 999.5) return `${Math.round(ms)} ms`;
    const s = ms / 1000;
    if (s < 9.995) return `${s.toFixed(2)} s`;
    if (s < 59.95) return `${s.toFixed(1)} s`;
    const whole = Math.round(s);
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
    return `${Math.floor(whole / 86400)} d ${two(Math.floor((whole % 86400) / 3600))} h`;
  };
  const timeAt = (x) => {
    for (const [t0, t1, left, right] of data.axis) {
      if (x <= right) return t0 + ((x - left) / Math.max(right - left, 1e-9)) * (t1 - t0);
    }
    return data.axis.at(-1)[1];
  };
  const placeOf = (t) => {
    for (const [t0, t1, left, right] of data.axis) {
      if (t <= t1) return left + (Math.max(t - t0, 0) / Math.max(t1 - t0, 1e-9)) * (right - left);
    }
    return 10000;
  };

  // --- colours ---
  const theme = one("#theme");
  const themes = ["Auto", "Light", "Dark"];
  let chosen = 0;
  try { chosen = Math.max(themes.indexOf(localStorage.getItem("penstock-report")), 0); } catch { /* a file may have no storage */ }
  const dress = () => {
    root.style.colorScheme = ["", "light", "dark"][chosen];
    if (chosen) root.dataset.theme = themes[chosen].toLowerCase();
    else delete root.dataset.theme;
    theme.textContent = themes[chosen];
    theme.setAttribute("aria-label", `Colours: ${themes[chosen]}`);
  };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    chosen = (chosen + 1) % 3;
    try { localStorage.setItem("penstock-report", themes[chosen]); } catch { /* then not for the next time */ }
    dress();
  });
  dress();

  // --- copying ---
  for (const button of all(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = one("code", button.parentElement);
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }

  // --- the table ---
  const table = one("#t");
  const body = one("tbody", table);
  const rows = all("tr", body);
  const rowOf = (number) => document.getElementById(`r${number}`);
  const groups = [];
  for (const row of rows) {
    if (row.classList.contains("i") && groups.length) groups.at(-1).items.push(row);
    else groups.push({ row, items: [] });
  }
  const units = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, ms: 1e-3, s: 1, min: 60, h: 3600, d: 86400 };
  const amount = (text) => {
    if (text.startsWith("<")) return 5e-4;
    let sum = 0, found = false;
    for (const [, number, unit] of text.matchAll(/([\d.,]+)\s*([A-Za-z]*)/g)) {
      sum += parseFloat(number.replaceAll(",", "")) * (units[unit] ?? 1);
      found = true;
    }
    return found ? sum : -1;
  };
  const ranks = ["failed", "running", "retrying", "waiting", "cancelled", "skipped", "pending", "ready", "succeeded"];
  const textOf = (row, at) => (row.cells[at]?.firstChild?.textContent ?? "").trim();
  const nameOf = (row) => one("th", row)?.dataset.name ?? "";
  for (const row of rows) {
    const head = one("th", row);
    if (head) head.dataset.name = head.firstChild?.nodeType === 3 ? head.firstChild.data.trim() : "";
  }
  const words = new Intl.Collator(undefined, { numeric: true });
  const orders = {
    text: (at) => (a, b) => words.compare(at ? textOf(a, at) : nameOf(a), at ? textOf(b, at) : nameOf(b)),
    number: (at) => (a, b) => amount(textOf(a, at)) - amount(textOf(b, at)),
    status: (at) => (a, b) => ranks.indexOf(textOf(a, at)) - ranks.indexOf(textOf(b, at)),
  };
  const first = { number: "descending", text: "ascending", status: "ascending" };
  const heads = all("thead th", table);
  const sort = (head, at) => {
    const now = head.getAttribute("aria-sort");
    const kind = head.dataset.k;
    const other = first[kind] === "ascending" ? "descending" : "ascending";
    const way = now === "none" ? first[kind] : now === first[kind] ? other : "none";
    heads.forEach((each) => each.setAttribute("aria-sort", each === head ? way : "none"));
    const sign = way === "descending" ? -1 : 1;
    const compare = orders[kind](at);
    const by = (a, b) => sign * compare(a, b);
    const ordered = way === "none" ? groups : [...groups].sort((a, b) => by(a.row, b.row));
    const whole = document.createDocumentFragment();
    for (const group of ordered) {
      const items = group.items.filter((item) => !item.classList.contains("more"));
      if (way !== "none") items.sort(by);
      whole.append(group.row, ...items, ...group.items.filter((item) => item.classList.contains("more")));
    }
    body.append(whole);
  };
  heads.forEach((head, at) => {
    const button = make("button", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(head, at));
  });
  const open = (group, on) => {
    group.items.forEach((item) => item.classList.toggle("on", on));
    one(".tog", group.row)?.setAttribute("aria-expanded", String(on));
  };
  for (const group of groups) {
    if (!group.items.length) continue;
    const toggle = make("button", undefined, "tog");
    toggle.type = "button";
    toggle.setAttribute("aria-expanded", "false");
    toggle.setAttribute("aria-label", `Items of ${nameOf(group.row)}`);
    toggle.addEventListener("click", (event) => {
      event.stopPropagation();
      open(group, toggle.getAttribute("aria-expanded") !== "true");
    });
    one("th", group.row).prepend(toggle);
  }
  const filter = one(".filter");
  filter.hidden = false;
  const search = one("input", filter);
  const chips = all(".chips button", filter);
  const narrow = () => {
    const text = search.value.trim().toLowerCase();
    const wanted = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.status);
    const plain = !text && !wanted.length;
    const fits = (row) =>
      (!text || row.textContent.toLowerCase().includes(text)) &&
      (!wanted.length || wanted.includes(textOf(row, 1)));
    let found = 0;
    for (const group of groups) {
      let inside = 0;
      for (const item of group.items) {
        const fit = !plain && !item.classList.contains("more") && fits(item);
        item.classList.toggle("off", !plain && !fit);
        inside += fit;
      }
      const own = plain || fits(group.row);
      group.row.classList.toggle("off", !own && !inside);
      if (group.items.length) open(group, !plain && inside > 0);
      found += inside + (own && !plain);
    }
    one(".found", filter).textContent = plain ? "" : `${found} found`;
  };
  search.addEventListener("input", narrow);
  filter.addEventListener("submit", (event) => event.preventDefault());
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      narrow();
    });
  }

  // --- one step, everywhere ---
  const bars = new Map();
  data.tracks.forEach((track, at) => {
    let number = 0, began = 0;
    track.bars = [];
    for (let i = 0; i < track.b.length; i += 5) {
      number += track.b[i];
      began += track.b[i + 3];
      const code = track.b[i + 2], kind = code % data.kinds.length;
      const bar = { track: at, number, lane: track.b[i + 1], kind, began, lasted: track.b[i + 4], attempt: (code - kind) / data.kinds.length };
      track.bars.push(bar);
      if (!bars.has(number)) bars.set(number, []);
      bars.get(number).push(bar);
    }
  });
  const tracks = all(".rows > .row");
  const panel = make("aside", undefined, "panel");
  panel.hidden = true;
  panel.setAttribute("aria-live", "polite");
  panel.setAttribute("aria-label", "Chosen step");
  document.body.append(panel);
  let before = null;
  const close = () => {
    panel.hidden = true;
    all(".sel, .row.on").forEach((each) => each.classList.remove("sel", each.classList.contains("row") ? "on" : "sel"));
    before?.focus?.();
  };
  const pairs = (list, kind = "kv") => {
    const dl = make("dl", undefined, kind);
    for (const [name, text] of list) {
      const line = make("div");
      line.append(make("dt", name), make("dd", text));
      dl.append(line);
    }
    return dl;
  };
  const link = (text, to) => {
    const made = make("a", text);
    made.href = `#${to}`;
    return made;
  };
  const choose = (number, opener) => {
    const row = rowOf(number);
    if (!row) return;
    all("tr.sel").forEach((each) => each.classList.remove("sel"));
    tracks.forEach((each) => each.classList.remove("on"));
    row.classList.add("sel");
    const group = groups.find((each) => each.items.includes(row));
    if (group) open(group, true);
    const mine = bars.get(Number(number)) ?? [];
    const at = mine[0]?.track ?? tracks.findIndex((each) => one(`.lab[data-r="${number}"]`, each));
    tracks[at]?.classList.add("on");
    const facts = [];
    heads.forEach((head, column) => {
      const cell = row.cells[column];
      if (column && cell) {
        const text = [...cell.childNodes].map((node) => node.textContent.trim()).filter(Boolean).join(" · ");
        if (text && text !== "–") facts.push([head.textContent, text]);
      }
    });
    const shut = make("button", "Close", "close");
    shut.type = "button";
    shut.addEventListener("click", close);
    const parts = [make("h3", nameOf(row)), shut, pairs(facts)];
    const tries = data.details[number];
    if (tries) {
      parts.push(make("h4", "Attempts"), pairs(tries.map(([n, how, more]) => [`${n}`, more ? `${how} · ${more}` : how]), "kv short"));
    }
    if (mine.length) {
      const list = make("ol", undefined, "spans");
      for (const bar of mine.slice(0, 40)) {
        const line = make("li");
        line.append(make("span", `${data.kinds[bar.kind]}, from ${took(bar.began)}`), make("span", took(bar.lasted), "num"));
        list.append(line);
      }
      parts.push(make("h4", "Times"), list);
    }
    const ways = make("p");
    ways.append(link("In the table", `r${number}`));
    if (document.getElementById(`f${number}`)) ways.append(link("The failure", `f${number}`));
    if (at >= 0 && tracks[at]) {
      tracks[at].id ||= `k${at}`;
      ways.append(link("In the timeline", tracks[at].id));
    }
    parts.push(ways);
    panel.replaceChildren(...parts);
    panel.hidden = false;
    before = opener ?? null;
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden) close();
  });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row?.id && !event.target.closest("a, button") && !String(getSelection())) choose(row.id.slice(1));
  });
  for (const each of all("a[data-r]")) {
    each.addEventListener("click", (event) => {
      event.preventDefault();
      choose(each.dataset.r, each);
      if (!each.classList.contains("lab")) rowOf(each.dataset.r)?.scrollIntoView({ block: "center" });
    });
  }
  for (const box of all("#graph [data-node]")) {
    const number = data.nodes[box.dataset.node];
    if (number === undefined || number < 0) continue;
    box.setAttribute("tabindex", "0");
    box.setAttribute("role", "button");
    box.addEventListener("click", () => choose(number, box));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        choose(number, box);
      }
    });
  }

  // --- the timeline: what is under the pointer ---
  const tip = make("div", undefined, "tip");
  tip.hidden = true;
  document.body.append(tip);
  const show = (event, lines) => {
    tip.replaceChildren(make("b", lines[0]), ...lines.slice(1).map((line) => make("div", line)));
    tip.hidden = false;
    const { offsetWidth: wide, offsetHeight: high } = tip;
    const x = Math.min(Math.max(event.clientX + 14, 8), innerWidth - wide - 8);
    const y = event.clientY + 20 + high > innerHeight ? event.clientY - high - 12 : event.clientY + 20;
    tip.style.transform = `translate(${x}px, ${Math.max(y, 4)}px)`;
  };
  const cross = make("div", undefined, "cross");
  cross.hidden = true;
  cross.append(make("b"));
  const over = one(".over");
  over?.append(cross);
  const under = (event, row) => {
    const track = data.tracks[tracks.indexOf(row)];
    const box = one("svg", row)?.getBoundingClientRect();
    if (!track || !box) return null;
    const x = ((event.clientX - box.left) / box.width) * 10000;
    const lane = track.p && track.n > 1 ? Math.floor((event.clientY - box.top - (track.h - track.n * track.p) / 2) / track.p) : 0;
    const reach = (8 / box.width) * 10000;
    if (!track.p) {
      const at = timeAt(x);
      const quiet = ["queue", "wait", "pause"].map((kind) => data.names.indexOf(kind));
      const count = track.bars.filter((bar) => bar.began <= at && at < bar.began + bar.lasted && !quiet.includes(bar.kind)).length;
      return { many: count };
    }
    let best = null, near = reach;
    for (const bar of track.bars) {
      if (track.n > 1 && track.p && bar.lane !== lane) continue;
      const left = placeOf(bar.began), right = placeOf(bar.began + bar.lasted);
      const far = x < left ? left - x : x > right ? x - right : 0;
      if (far < near || (far === near && !best)) { best = bar; near = far; }
    }
    return best;
  };
  const levelAt = (x) => {
    let found = null;
    for (let i = 0; i < data.levels.length && data.levels[i] <= x; i += 3) found = i;
    return found === null ? null : [data.levels[found + 1], data.levels[found + 2]];
  };
  const line = one(".tl");
  line?.addEventListener("pointermove", (event) => {
    const row = event.target.closest(".row");
    const box = over.getBoundingClientRect();
    const inside = event.clientX >= Math.max(box.left, line.getBoundingClientRect().left + one(".axis .lab").offsetWidth) && event.clientX <= box.right;
    cross.hidden = !inside;
    if (!inside) { tip.hidden = true; return; }
    const x = ((event.clientX - box.left) / box.width) * 10000;
    cross.style.left = `${x / 100}%`;
    cross.firstChild.textContent = took(timeAt(x));
    if (row?.closest(".load")) {
      const level = levelAt(x);
      if (level) show(event, [`${level[0]} running`, `${level[1]} waiting`]);
      return;
    }
    const bar = row && under(event, row);
    if (!bar) { tip.hidden = true; return; }
    if (bar.many !== undefined) {
      show(event, [one(".lab b", row).textContent, `${bar.many} running`]);
      return;
    }
    const step = rowOf(bar.number);
    const tried = bar.attempt > 1 ? `, attempt ${bar.attempt}` : "";
    show(event, [nameOf(step), `${data.kinds[bar.kind]} ${took(bar.lasted)}${tried}`, `from ${took(bar.began)} to ${took(bar.began + bar.lasted)}`]);
  });
  line?.addEventListener("pointerleave", () => { tip.hidden = true; cross.hidden = true; });
  line?.addEventListener("click", (event) => {
    const row = event.target.closest(".rows > .row");
    const bar = row && !event.target.closest(".lab") && under(event, row);
    if (bar?.number !== undefined) choose(bar.number);
  });

  // --- zoom ---
  const patterns = all(".defs pattern");
  const straighten = () => {
    const wide = one(".rows .trk")?.clientWidth;
    if (wide) patterns.forEach((each) => each.setAttribute("patternTransform", `scale(${10000 / wide} 1)`));
  };
  const zoomed = (tools, apply) => {
    if (!tools) return;
    let level = 1;
    tools.hidden = false;
    tools.addEventListener("click", (event) => {
      const what = event.target.dataset.zoom;
      if (!what) return;
      level = what === "fit" ? 1 : Math.min(Math.max(level * (what === "in" ? 1.5 : 1 / 1.5), 0.25), 40);
      apply(Math.abs(level - 1) < 1e-6 ? 1 : level, what === "fit");
    });
  };
  zoomed(one("#time .zoom"), (level) => {
    const middle = (line.scrollLeft + line.clientWidth / 2) / line.scrollWidth;
    line.style.setProperty("--zoom", Math.max(level, 1));
    line.scrollLeft = middle * line.scrollWidth - line.clientWidth / 2;
    straighten();
  });
  const graph = one(".graph");
  const picture = graph && one("svg", graph);
  let natural = 0;
  zoomed(one("#graph .zoom"), (level, fit) => {
    natural ||= picture.getBoundingClientRect().width;
    picture.style.width = fit ? "" : `${natural * level}px`;
  });
  addEventListener("resize", straighten);
  straighten();

  // --- paper ---
  addEventListener("beforeprint", () => all("details").forEach((each) => { each.dataset.was = each.open; each.open = true; }));
  addEventListener("afterprint", () => all("details").forEach((each) => { each.open = each.dataset.was === "true"; }));
})();

({
  // Texts that leave the page, or are cut off by their own box without a way to scroll to them.
  clipped() {
    const kinds = "h1 span, h2, h3, p, dt, dd, .badge, summary, .legend li, .chips button, .num, .cmd .what, .tools button, #t thead button";
    const found = [];
    const wide = document.documentElement.clientWidth;
    for (const one of document.querySelectorAll(kinds)) {
      const box = one.getBoundingClientRect(), style = getComputedStyle(one);
      if (!box.width || !box.height || style.visibility === "hidden" || one.closest(".vh, .skip")) continue;
      const inside = one.closest(".scroll, .tl, pre, .log, nav");
      if (!inside && (box.left < -1 || box.right > wide + 1)) found.push(["outside", one.textContent.slice(0, 40)]);
      const scrolls = ["auto", "scroll"].includes(style.overflowX) || style.textOverflow === "ellipsis";
      if (one.clientWidth && one.scrollWidth > one.clientWidth + 2 && style.display !== "inline" && !scrolls)
        found.push(["clipped", one.textContent.slice(0, 40)]);
    }
    return found;
  },

  // Neighbours of one kind of which one lies on the other.
  overlaps() {
    const kinds = [
      ".axis .trk span", ".axis .flag", ".tiles > div", ".next > .cmd", ".rows > .row", ".legend li", ".legs li", ".ifs li", "section > h2",
      ".bar nav a", "#graph .tools, #graph h2", ".facts > div",
    ];
    const found = [];
    for (const kind of kinds) {
      const all = [...document.querySelectorAll(kind)].map((one) => [one.textContent.slice(0, 30), one.getBoundingClientRect()]);
      all.forEach(([text, a], i) => {
        for (const [other, b] of all.slice(i + 1)) {
          const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
          const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
          if (a.width && b.width && wide > 1 && high > 1) found.push([kind, text, other]);
        }
      });
    }
    return found;
  },

  // Texts of too little contrast with what is behind them.
  contrast() {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const brush = canvas.getContext("2d", { willReadFrequently: true });
    const seen = new Map();
    const light = (colours) => {
      const key = colours.join();
      if (!seen.has(key)) {
        brush.clearRect(0, 0, 1, 1);
        for (const colour of colours) {
          brush.fillStyle = colour;
          brush.fillRect(0, 0, 1, 1);
        }
        const [r, g, b] = [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => {
          const share = v / 255;
          return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        seen.set(key, 0.2126 * r + 0.7152 * g + 0.0722 * b);
      }
      return seen.get(key);
    };
    const under = (one) => {
      const all = [];
      for (let each = one; each; each = each.parentElement) {
        const colour = getComputedStyle(each).backgroundColor;
        if (colour !== "rgba(0, 0, 0, 0)") all.unshift(colour);
      }
      return all;
    };
    const found = [];
    for (const one of document.querySelectorAll("main *, .bar *, footer *")) {
      const says = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
      if (!says || one.closest("svg, [hidden]") || !one.getBoundingClientRect().width) continue;
      const back = under(one), a = light(back), b = light([...back, getComputedStyle(one).color]);
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5) found.push([one.tagName, one.className, one.textContent.slice(0, 30), Math.round(ratio * 100) / 100]);
    }
    return found;
  },
})

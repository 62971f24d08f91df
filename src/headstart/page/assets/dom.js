// Elements, whose text is always text: names of files and classes are never parsed as HTML.

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") for (const [key, of] of Object.entries(value)) made.style.setProperty(key, of);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const section = (id) => document.getElementById(id);

function selectBox(label, names, chosen, onChoice) {
  const options = names.map((name, i) => element("option", { value: i, selected: i === chosen }, name));
  const box = element("select", { onchange: () => onChoice(Number(box.value)) }, ...options);
  return element("label", {}, `${label} `, box);
}

// A value with its interval on a common scale from `low` to `high`, as a band with a dot.
function intervalBar(value, [from, to], [low, high]) {
  const at = (x) => `${(100 * (x - low)) / (high - low || 1)}%`;
  return element(
    "span",
    { class: "interval", "aria-hidden": "true" },
    element("span", { class: "band", style: { left: at(from), right: `calc(100% - ${at(to)})` } }),
    element("span", { class: "dot", style: { left: at(value) } }),
  );
}

function scaleOf(intervals) {
  const low = Math.min(...intervals.map(([from]) => from));
  const high = Math.max(...intervals.map(([, to]) => to));
  return [Math.floor(20 * low) / 20, Math.ceil(20 * high) / 20];
}

/* A table that is sorted by a click on the head of a column.
   columns: {title, hint, value: row -> number or text to sort by, cell: row -> text or element}.
   numeric: whether the column is aligned at the right. */
function sortableTable(caption, columns, rows, { shown = Infinity, rowClass = () => "" } = {}) {
  const body = element("tbody");
  const more = element("button", { type: "button", onclick: () => draw(Infinity) });
  let sorted = rows;
  const heads = columns.map((column, i) =>
    element(
      "th",
      { scope: "col", title: column.hint, class: column.numeric && "numeric" },
      element("button", { type: "button", onclick: () => sort(i) }, column.title),
    ),
  );
  function sort(i) {
    const descending = heads[i].getAttribute("aria-sort") !== "descending";
    const order = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en") : a - b);
    const { value } = columns[i];
    sorted = [...rows].sort((a, b) => (descending ? -1 : 1) * order(value(a), value(b)));
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[i].setAttribute("aria-sort", descending ? "descending" : "ascending");
    draw(shown);
  }
  function draw(limit) {
    body.replaceChildren(
      ...sorted.slice(0, limit).map((row) =>
        element(
          "tr",
          { class: rowClass(row) },
          ...columns.map((column, i) => element(i ? "td" : "th", i ? { class: column.numeric && "numeric" } : { scope: "row" }, column.cell(row))),
        ),
      ),
    );
    more.hidden = sorted.length <= limit;
    more.textContent = `Show all ${count(sorted.length)}`;
  }
  draw(shown);
  const table = element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads)),
    body,
  );
  return element("div", {}, element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption }, table), more);
}

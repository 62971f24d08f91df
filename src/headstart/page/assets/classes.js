// Every class with its accuracy and interval; the best and the worst ones with images.

function drawClasses() {
  const place = section("classes");
  const shown = element("div");
  place.append(shown);
  selection.onRun((run) => {
    const { n, hits, low, high } = run.perClass;
    const confused = new Map();
    for (let i = 0; i < run.cells.length; i += 3) {
      const [label, predicted, times] = run.cells.subarray(i, i + 3);
      if (label !== predicted && times > (confused.get(label)?.times ?? 0)) confused.set(label, { predicted, times });
    }
    const rows = DATA.classes
      .map((_, label) => ({ label, n: n[label], top1: hits[label] / n[label], bounds: [low[label], high[label]], other: confused.get(label) }))
      .filter((row) => row.n > 0)
      .sort((a, b) => a.top1 - b.top1 || b.n - a.n);
    const few = Math.min(3, Math.floor(rows.length / 2));
    const images = element("div", { "aria-live": "polite" });
    const open = (label) => {
      const all = valImages().filter((image) => IMAGES.labels[image] === label);
      images.replaceChildren(element("h3", {}, DATA.classes[label].name), gallery(all, (image) => caption(run, image), { outlined: true }));
      images.scrollIntoView({ block: "nearest" });
    };
    const columns = [
      { title: "class", hint: "opens the class's images", value: ({ label }) => CLASSES[label], cell: ({ label }) => element("button", { type: "button", class: "link", title: DATA.classes[label].name, onclick: () => open(label) }, CLASSES[label]) },
      {
        title: `right, ${level} interval`,
        hint: "share of the class's val images that are classified correctly, with Wilson's interval",
        value: ({ top1 }) => top1,
        cell: ({ top1, bounds, n: images }) =>
          element("span", { class: "with-bar", title: `val, n = ${images}, ${level} interval ${interval(bounds)}` }, intervalBar(top1, bounds, [0, 1]), element("span", { class: "number" }, `${percent(top1, 0)} [${bounds.map((x) => (100 * x).toFixed(0)).join(", ")}]`)),
      },
      { title: "n", hint: "val images of the class", numeric: true, value: (row) => row.n, cell: (row) => element("span", { class: "number" }, count(row.n)) },
      {
        title: "most often taken for",
        hint: "opens the images",
        value: ({ other }) => other?.times ?? 0,
        cell: ({ label, other }) => (other ? element("button", { type: "button", class: "link", onclick: () => openCell(label, other.predicted, images) }, `${CLASSES[other.predicted]} (${count(other.times)})`) : "–"),
      },
    ];
    shown.replaceChildren(
      element("p", {}, `Of ${run.name}. A class has few val images, so its interval is wide. Frames of images: solid blue if the answer is right, dashed orange if it is wrong.`),
      ...(few ? [classCards("Worst", rows.slice(0, few), run), classCards("Best", rows.slice(-few).reverse(), run)] : []),
      sortableTable("All classes on val, the worst first", columns, rows, { shown: 20 }),
      images,
    );
  });
}

function classCards(title, rows, run) {
  const cards = rows.map(({ label, n, top1 }) => {
    const images = valImages().filter((image) => IMAGES.labels[image] === label);
    return element(
      "div",
      { class: "class-card" },
      element("h4", {}, `${CLASSES[label]}: ${percent(top1, 0)} of ${count(n)}`),
      element("div", {}, element("ul", { class: "gallery small" }, ...images.slice(0, 8).map((image) => tile(image, images, caption(run, image), isRight(run, image) ? "is-right" : "is-wrong")))),
    );
  });
  return element("div", {}, element("h3", {}, title), element("div", { class: "cards" }, ...cards));
}

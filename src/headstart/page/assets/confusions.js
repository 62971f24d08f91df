// The confusion matrix of the chosen run, and the images behind a cell.

const MOST_LABELS = 30;

function drawConfusions() {
  const place = section("confusions");
  const order = DATA.classOrder;
  const rank = new Map(order.map((label, position) => [label, position]));
  const names = order.map((label) => CLASSES[label]);
  const state = { cells: [] };
  const about = element("p");
  const images = element("div", { id: "cell", "aria-live": "polite" });
  const list = element("div");
  const drawing = chart("confusion matrix; the list beside it has its largest cells", "matrix", option, (made) => {
    made.on("click", ({ value }) => openCell(order[value[1]], order[value[0]], images));
  });
  place.append(
    about,
    element("p", { class: "controls" }, zoomButtons(drawing)),
    element("div", { class: "beside" }, drawing.place, list),
    images,
  );

  function option(colors) {
    const label = { show: names.length <= MOST_LABELS, interval: 0, color: colors.ink, width: 110, overflow: "truncate" };
    const side = (name, more) => ({ type: "category", data: names, name, nameLocation: "middle", nameTextStyle: { color: colors.ink }, axisTick: { show: false }, axisLine: { lineStyle: { color: colors.line } }, ...more });
    const [right, wrong] = [true, false].map((same) => state.cells.filter(([x, y]) => (x === y) === same));
    const edge = { borderColor: colors.paper, borderWidth: names.length <= MOST_LABELS ? 1 : 0 };
    const heat = (data, id) => ({ type: "heatmap", id, data, progressive: 0, itemStyle: edge, emphasis: { itemStyle: { borderColor: colors.ink, borderWidth: 1 } } });
    const dark = darkScheme.matches;
    const shades = (i, range) => ({ type: "continuous", show: false, seriesIndex: i, dimension: 3, min: 0, max: 1, inRange: { color: range } });
    return {
      grid: { left: label.show ? 124 : 32, right: 8, top: 8, bottom: label.show ? 124 : 32 },
      xAxis: side("predicted class", { nameGap: label.show ? 108 : 12, axisLabel: { ...label, rotate: 60 } }),
      yAxis: side("true class", { inverse: true, nameGap: label.show ? 112 : 12, axisLabel: label }),
      dataZoom: ["xAxisIndex", "yAxisIndex"].map((which) => ({ type: "inside", [which]: 0, filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseMove: true })),
      // The diagonal in gray, so that what is confused stands out.
      visualMap: [shades(0, dark ? ["#24292f", "#6b7480"] : ["#f3f4f6", "#a8b0ba"]), shades(1, dark ? VIRIDIS : [...VIRIDIS].reverse())],
      tooltip: {
        confine: true,
        formatter: ({ value: [x, y, n] }) =>
          element("span", {}, x === y ? `${names[y]}: ${count(n)} of ${plural(perClassN(y), "image")} right` : `${names[y]}, taken for ${names[x]}: ${count(n)} of ${plural(perClassN(y), "image")}`),
      },
      series: [heat(right, "right"), heat(wrong, "wrong")],
    };
  }
  const perClassN = (position) => selection.run.perClass.n[order[position]];

  selection.onRun((run) => {
    state.cells = [];
    const pairs = [];
    for (let i = 0; i < run.cells.length; i += 3) {
      const [label, predicted, n] = run.cells.subarray(i, i + 3);
      // A square root, so that rare confusions are seen beside frequent ones.
      const share = Math.sqrt(n / run.perClass.n[label]);
      state.cells.push([rank.get(predicted), rank.get(label), n, share]);
      if (label !== predicted) pairs.push({ label, predicted, n });
    }
    about.textContent =
      `Each row is a true class, each column the class that ${run.name} gives. Gray: right; colored: wrong, the ${darkScheme.matches ? "brighter" : "darker"} the more of the class's images. ` +
      `Classes that are confused stand beside each other. A click on a cell shows its images.`;
    list.replaceChildren(
      sortableTable(
        "The most frequent confusions",
        [
          { title: "true class, taken for", hint: "opens the images", value: ({ label }) => CLASSES[label], cell: (pair) => element("button", { type: "button", class: "link", onclick: () => openCell(pair.label, pair.predicted, images) }, `${CLASSES[pair.label]} → ${CLASSES[pair.predicted]}`) },
          { title: "images", hint: "val images", numeric: true, value: ({ n }) => n, cell: ({ n, label }) => element("span", { class: "number" }, `${count(n)} of ${count(run.perClass.n[label])}`) },
        ],
        pairs.sort((a, b) => b.n - a.n),
        { shown: 12 },
      ),
    );
    images.replaceChildren();
    drawing.draw();
  });
}

// The images of class `label` that the chosen run takes for `predicted`, listed in `place`.
function openCell(label, predicted, place) {
  const run = selection.run;
  const images = valImages().filter((image) => IMAGES.labels[image] === label && predictedClass(run, image) === predicted);
  images.sort((i, j) => probability(run, j) - probability(run, i));
  const what = label === predicted ? `${CLASSES[label]}, right` : `${CLASSES[label]}, taken for ${CLASSES[predicted]}`;
  place.replaceChildren(
    element("h3", {}, `${what}: ${plural(images.length, "image")}${sampled ? " on this page" : ""} of ${count(run.perClass.n[label])}`),
    gallery(images, (image) => caption(run, image)),
  );
  place.scrollIntoView({ block: "nearest" });
}

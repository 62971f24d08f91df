// The map: images whose features are alike lie close to each other (t-SNE).

const GRAY = "#8a8f98";
const NEAR = 14; // px within which the mouse finds a point

// How points are colored: [name, point's image -> position of its group, names of the groups].
const COLORINGS = [
  ["class", (image) => IMAGES.labels[image], () => CLASSES],
  ["predicted class", (image) => (isVal(image) ? predictedClass(selection.run, image) : -1), () => CLASSES],
  ["right or wrong", (image) => (isVal(image) ? Number(!isRight(selection.run, image)) : -1), () => ["right", "wrong"]],
  ["confidence", (image) => (isVal(image) ? Math.min(7, Math.floor(8 * probability(selection.run, image))) : -1), () => VIRIDIS.map((_, i) => `${(i / 8).toFixed(2)} to ${((i + 1) / 8).toFixed(2)}`)],
  ["split", (image) => IMAGES.splits[image], () => SPLITS],
];

const groupStyle = (coloring, group) => {
  if (group < 0) return { color: GRAY, symbol: "circle" };
  if (COLORINGS[coloring][0] === "confidence") return { color: VIRIDIS[group], symbol: "circle" };
  if (COLORINGS[coloring][0] === "right or wrong") return { color: PALETTE[group ? 5 : 0], symbol: group ? "triangle" : "circle" };
  return { color: PALETTE[group % PALETTE.length], symbol: SHAPES[Math.floor(group / PALETTE.length) % SHAPES.length] };
};

function drawMap() {
  const place = section("map");
  if (!DATA.maps.length) {
    place.append(element("p", {}, "There are no features to map: extract.backbones in params.yaml is empty."));
    return;
  }
  const state = { map: DATA.maps[0], coloring: 0, only: -1, at: -1, groups: [] };
  const ring = element("div", { class: "ring", hidden: true });
  const card = element("div", { class: "card", hidden: true });
  const legend = element("ul", { class: "legend" });
  const selected = element("div", { "aria-live": "polite" });
  const highlight = element("select", { onchange: () => ((state.only = Number(highlight.value)), redraw()) });
  const lasso = element("button", { type: "button", "aria-pressed": "false", onclick: () => toggleLasso() }, "Lasso");
  const drawing = chart("map of the images' features; the arrow keys go from point to point", "map", option, ready);
  const frame = element(
    "div",
    { class: "map-frame", tabindex: "0", role: "application", "aria-label": "Map of the images. Arrow keys go from point to point, Enter opens the image, plus and minus zoom.", onkeydown: onKey },
    drawing.place, ring, card,
  );
  const zoom = zoomButtons(drawing);
  const backbones = DATA.maps.map(({ backbone }) => backbone);
  const about = element("p");
  place.append(
    about,
    element(
      "p",
      { class: "controls" },
      backbones.length > 1 ? selectBox("Features of", backbones, 0, (i) => ((state.map = DATA.maps[i]), redraw())) : null,
      selectBox("Color by", COLORINGS.map(([name]) => name), 0, (i) => ((state.coloring = i), (state.only = -1), redraw())),
      element("label", {}, "Only ", highlight),
      zoom, lasso,
    ),
    frame, legend, selected,
  );

  // One series per group, which ECharts draws as one path: ten thousand points stay fluent.
  function option() {
    const { map, groups } = state;
    const size = map.images.length > 3000 ? 5 : 8;
    const order = [...groups.keys()].sort((a, b) => isLit(a) - isLit(b) || a - b);
    return {
      grid: { left: 8, right: 8, top: 8, bottom: 8 },
      xAxis: { type: "value", show: false, ...range(map.x) },
      yAxis: { type: "value", show: false, ...range(map.y) },
      dataZoom: [
        { type: "inside", xAxisIndex: 0, filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseMove: true },
        { type: "inside", yAxisIndex: 0, filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseMove: true },
      ],
      brush: { xAxisIndex: 0, yAxisIndex: 0, seriesIndex: [], brushMode: "single", transformable: false, removeOnClick: true, brushStyle: { color: "rgb(0 97 155 / 0.12)", borderColor: "#00619b", borderWidth: 1.5 }, throttleType: "debounce", throttleDelay: 100 },
      toolbox: { show: false },
      series: order.map((group) => ({
        type: "scatter",
        silent: true,
        large: true,
        largeThreshold: 0,
        symbolSize: isLit(group) ? size : size - 2,
        symbol: groupStyle(state.coloring, group).symbol,
        itemStyle: isLit(group) ? { color: groupStyle(state.coloring, group).color, opacity: 0.85 } : { color: GRAY, opacity: 0.25 },
        data: groups.get(group),
      })),
    };
  }
  function range(values) {
    const [min, max] = values.reduce(([low, high], x) => [Math.min(low, x), Math.max(high, x)], [Infinity, -Infinity]);
    const margin = 0.03 * (max - min) || 1;
    return { min: min - margin, max: max + margin };
  }
  const isLit = (group) => state.only < 0 || group === state.only;

  function regroup() {
    const { map } = state;
    const groupOf = COLORINGS[state.coloring][1];
    state.groups = new Map();
    for (let i = 0; i < map.images.length; i++) {
      const group = groupOf(map.images[i]);
      if (!state.groups.has(group)) state.groups.set(group, []);
      state.groups.get(group).push([map.x[i], map.y[i]]);
    }
  }

  function redraw() {
    regroup();
    hide();
    const { map } = state;
    const names = COLORINGS[state.coloring][2]();
    const groups = [...state.groups.keys()].sort((a, b) => a - b);
    const nameOf = (group) => (group < 0 ? "no prediction" : names[group]);
    const left = map.embedded > map.images.length ? ` of ${count(map.embedded)}, as the page holds a sample,` : "";
    about.textContent = `${plural(map.images.length, "image")}${left} placed by t-SNE of ${map.backbone}'s features: neighbors look alike to this network. Distances between far groups mean nothing. Hover to see an image, drag to move, Ctrl and the wheel to zoom; the lasso lists the images that it encloses.`;
    highlight.replaceChildren(
      element("option", { value: -1 }, "all"),
      ...groups.map((group) => element("option", { value: group, selected: group === state.only }, nameOf(group))),
    );
    const few = groups.length <= PALETTE.length * SHAPES.length;
    legend.replaceChildren(
      ...(few ? groups : []).map((group) => {
        const { color, symbol } = groupStyle(state.coloring, group);
        return element("li", {}, element("span", { class: `symbol ${symbol}`, style: { color } }), nameOf(group));
      }),
      few ? "" : element("li", {}, `${count(groups.length)} groups share ${PALETTE.length} colors in ${SHAPES.length} shapes; “Only” lights up one of them.`),
    );
    drawing.draw();
  }

  function ready(made) {
    const at = (event) => nearest(event.offsetX, event.offsetY, NEAR);
    const screen = made.getZr();
    screen.on("mousemove", (event) => show(at(event)));
    screen.on("globalout", hide);
    screen.on("click", (event) => {
      const point = at(event);
      if (point >= 0 && lasso.getAttribute("aria-pressed") === "false") openDetail(state.map.images[point], imagesNear(point));
    });
    made.on("dataZoom", hide);
    made.on("brushEnd", ({ areas }) => {
      if (areas.length && areas[0].coordRange) listInside(areas[0].coordRange);
      toggleLasso(false);
    });
  }

  // The pixel [x, y] of every point: the axes are linear, so two points tell all.
  function pixels() {
    const [left, bottom] = drawing.made.convertToPixel("grid", [0, 0]);
    const [right, top] = drawing.made.convertToPixel("grid", [1, 1]);
    return (i) => [left + state.map.x[i] * (right - left), bottom + state.map.y[i] * (top - bottom)];
  }

  // The point nearest to a pixel, -1 if none is within `reach` px; `fits` may rule points out.
  function nearest(x, y, reach, fits = () => true) {
    const pixel = pixels();
    let [best, found] = [reach ** 2, -1];
    for (let i = 0; i < state.map.images.length; i++) {
      const [px, py] = pixel(i);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < best && fits(px, py)) [best, found] = [distance, i];
    }
    return found;
  }

  const imagesNear = (point) => {
    const { map } = state;
    const far = (i) => (map.x[i] - map.x[point]) ** 2 + (map.y[i] - map.y[point]) ** 2;
    return [...map.images.keys()].sort((i, j) => far(i) - far(j)).slice(0, 50).map((i) => map.images[i]);
  };

  function show(point) {
    if (point < 0) return hide();
    const [x, y] = pixels()(point);
    ring.hidden = card.hidden = false;
    ring.style.transform = `translate(${x}px, ${y}px)`;
    const { clientWidth: width, clientHeight: height } = frame;
    card.style.transform = `translate(${x > width / 2 ? x - 184 : x + 16}px, ${Math.min(y, height - 210)}px)`;
    if (point === state.at) return;
    state.at = point;
    const image = state.map.images[point];
    const thumbnail = element("span", { class: "thumbnail medium", "data-image": image });
    if (document.readyState !== "loading") fillThumbnail(thumbnail);
    card.replaceChildren(thumbnail, element("span", {}, caption(selection.run, image)));
  }
  function hide() {
    ring.hidden = card.hidden = true;
    state.at = -1;
  }

  function onKey(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Enter" && state.at >= 0) openDetail(state.map.images[state.at], imagesNear(state.at));
    else if (event.key === "+" || event.key === "-") zoom.children[event.key === "+" ? 0 : 1].click();
    else if (event.key in steps && drawing.made) {
      event.preventDefault();
      const [dx, dy] = steps[event.key];
      const [x, y] = state.at >= 0 ? pixels()(state.at) : [frame.clientWidth / 2, frame.clientHeight / 2];
      // The nearest point in that direction, up to 60 degrees to either side.
      const ahead = (px, py) => dx * (px - x) + dy * (py - y) > 0.5 * Math.hypot(px - x, py - y);
      const found = nearest(x, y, Infinity, state.at >= 0 ? ahead : undefined);
      if (found >= 0) show(found);
    }
  }

  function toggleLasso(on = lasso.getAttribute("aria-pressed") === "false") {
    lasso.setAttribute("aria-pressed", on);
    drawing.made?.dispatchAction({ type: "takeGlobalCursor", key: "brush", brushOption: { brushType: on ? "polygon" : false, brushMode: "single" } });
  }

  function listInside(polygon) {
    const inside = (x, y) =>
      polygon.reduce((odd, [x2, y2], i) => {
        const [x1, y1] = polygon[(i || polygon.length) - 1];
        return y1 > y !== y2 > y && x < x1 + ((x2 - x1) * (y - y1)) / (y2 - y1) ? !odd : odd;
      }, false);
    const { map } = state;
    const images = [...map.images.keys()].filter((i) => inside(map.x[i], map.y[i])).map((i) => map.images[i]);
    const wrong = images.filter((image) => isVal(image) && !isRight(selection.run, image)).length;
    selected.replaceChildren(
      element("h3", {}, `${plural(images.length, "image")} in the lasso, ${count(wrong)} wrong by ${selection.run.name}`),
      gallery(images, (image) => caption(selection.run, image), { outlined: true }),
    );
  }

  selection.onRun(redraw);
}

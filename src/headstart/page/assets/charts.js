// Charts by ECharts: made when they come into view, drawn again when the colors or the size change.

// Okabe and Ito's colors for the color-blind, but for yellow and black, which need a background.
const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"];
const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];
const SHAPES = ["circle", "triangle", "rect", "diamond"];
const DASHES = ["solid", "dashed", "dotted"];

const darkScheme = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  return { ink: color("ink"), quiet: color("quiet"), line: color("line"), paper: color("paper") };
}

/* An element with a chart. optionOf: the colors of the theme -> an option of ECharts.
   onReady: is given the chart once it exists. */
function chart(label, className, optionOf, onReady = () => {}) {
  const place = element("div", { class: `chart ${className}`, role: "img", "aria-label": label });
  let made = null;
  const draw = () => {
    const colors = theme();
    const base = { animation: false, textStyle: { color: colors.ink, fontFamily: "system-ui, sans-serif", fontSize: 13 } };
    made?.setOption({ ...base, ...optionOf(colors) }, { notMerge: true });
  };
  const view = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    view.disconnect();
    made = echarts.init(place);
    draw();
    onReady(made);
    new ResizeObserver(() => made.resize()).observe(place);
  }, { rootMargin: "300px" });
  view.observe(place);
  darkScheme.addEventListener("change", draw);
  return { place, draw, get made() { return made; } };
}

const axis = (colors, name, { labels = {}, ...more } = {}) => ({
  type: "value",
  name,
  nameLocation: "middle",
  nameGap: 32,
  nameTextStyle: { color: colors.ink },
  axisLabel: { color: colors.quiet, ...labels },
  axisLine: { lineStyle: { color: colors.line } },
  splitLine: { lineStyle: { color: colors.line } },
  ...more,
});

const inPercent = { labels: { formatter: (share) => percent(share, 0) } };

// Vertical bars from low to high. points: [x, low, high].
function errorBars(color, points) {
  return {
    type: "custom",
    silent: true,
    tooltip: { show: false },
    data: points,
    encode: { x: 0, y: [1, 2] },
    renderItem: (_, api) => {
      const [x, low] = api.coord([api.value(0), api.value(1)]);
      const [, high] = api.coord([api.value(0), api.value(2)]);
      const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: color, lineWidth: 1.5 } });
      return { type: "group", children: [line(x, low, x, high), line(x - 4, low, x + 4, low), line(x - 4, high, x + 4, high)] };
    },
  };
}

const curve = (name, i, points, more = {}) => ({
  type: "line",
  name,
  data: points,
  color: PALETTE[i % PALETTE.length],
  symbol: SHAPES[i % SHAPES.length],
  symbolSize: 7,
  lineStyle: { width: 2, type: DASHES[Math.floor(i / PALETTE.length) % DASHES.length] },
  ...more,
});

// A chart of curves. texts: what a tooltip says of a point, value -> text, for x and y.
function curveChart(label, { x, y, series, texts, legend = true, xMore = {}, yMore = {} }) {
  return chart(label, "curves", (colors) => ({
    grid: { left: 64, right: 16, top: legend ? 56 : 16, bottom: 48 },
    legend: { show: legend, type: "scroll", top: 0, itemWidth: 28, textStyle: { color: colors.ink, fontSize: 13 }, pageTextStyle: { color: colors.ink }, data: series.filter((one) => one.name).map((one) => one.name) },
    tooltip: {
      renderMode: "html",
      confine: true,
      formatter: ({ seriesName, value }) => element("span", {}, `${seriesName}: ${texts(value)}`),
    },
    xAxis: axis(colors, x, xMore),
    yAxis: axis(colors, y, { nameGap: 44, scale: true, ...yMore }),
    series,
  }));
}

// Buttons that zoom a chart with two dataZooms, and bring all of it back.
function zoomButtons(target) {
  const zoom = (factor) => {
    if (!target.made) return;
    const zooms = target.made.getOption().dataZoom;
    target.made.dispatchAction({
      type: "dataZoom",
      batch: zooms.map(({ start, end }, dataZoomIndex) => {
        const half = Math.min(50, (factor * (end - start)) / 2);
        const middle = Math.min(100 - half, Math.max(half, (start + end) / 2));
        return { dataZoomIndex, start: middle - half, end: middle + half };
      }),
    });
  };
  const button = (text, label, factor) =>
    element("button", { type: "button", "aria-label": label, title: label, onclick: () => zoom(factor) }, text);
  return element("span", { class: "buttons" }, button("+", "zoom in", 0.6), button("−", "zoom out", 1 / 0.6), button("All", "show all", Infinity));
}

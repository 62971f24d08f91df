// Calibration, training and crops of the chosen run, and the learning curves of all.

function drawCurves() {
  const place = section("curves");
  const ofRun = element("div", { class: "charts" });
  place.append(ofRun);
  selection.onRun((run) => ofRun.replaceChildren(...[calibration(run), ...training(run), crops(run)].filter(Boolean)));
  const learning = learningCurves();
  if (learning) place.append(learning);
}

const figure = (title, text, drawing) => element("figure", {}, element("figcaption", {}, element("h3", {}, title), element("p", {}, text)), drawing.place);

function calibration(run) {
  const { temperature, before, after, sets } = run.calibration[run.protocol];
  const series = run.reliability.flatMap(({ stage, ece, confidence, accuracy, low, high }, i) => [
    curve(`${i ? "after" : "before"}: ECE ${ece.toFixed(3)}`, i, confidence.map((x, bin) => [x, accuracy[bin], run.reliability[i].n[bin]]), { lineStyle: { width: 2, type: DASHES[1 - i] } }),
    errorBars(PALETTE[i], confidence.map((x, bin) => [x, low[bin], high[bin]])),
  ]);
  series.push({ type: "line", silent: true, data: [[0, 0], [1, 1]], symbol: "none", color: GRAY, lineStyle: { width: 1, type: "dotted" } });
  const drawing = curveChart(`reliability of ${run.name}`, {
    x: "confidence: probability of the likeliest class",
    y: "share that is right",
    series,
    texts: ([x, y, n]) => `confidence ${x.toFixed(2)}, right ${percent(y, 0)}, n = ${n}`,
    xMore: { min: 0, max: 1 },
    yMore: { min: 0, max: 1, ...inPercent },
  });
  const text =
    `On the dotted line a run is as often right as it says. A temperature of ${temperature}, fitted on tune, takes the error (ECE) on val from ${before.ece.toFixed(3)} to ${after.ece.toFixed(3)} and NLL from ${before.nll.toFixed(3)} to ${after.nll.toFixed(3)}; n = ${count(run.val.n)}, ${protocolName(run)}. ` +
    `Sets of classes meant to hold the true one in ${percent(sets.stated_coverage, 0)} of cases do so in ${percent(sets.coverage)} [${sets.coverage_interval.map((x) => (100 * x).toFixed(1)).join(", ")}], with ${sets.size.toFixed(1)} classes on average.`;
  return figure(`Can ${run.name}'s probabilities be trusted?`, text, drawing);
}

function training(run) {
  if (!run.training.length) return [];
  const points = (key) => run.training.map((epoch) => [epoch.epoch, epoch[key]]);
  const integers = { minInterval: 1, min: "dataMin", max: "dataMax" };
  const symbols = { symbol: run.training.length > 40 ? "none" : undefined };
  const both = (key) => [curve("train", 0, points(`train_${key}`), symbols), curve("tune", 1, points(`tune_${key}`), symbols)];
  return [
    figure(`Training of ${run.name}: loss`, "Cross-entropy after each epoch; train as it was during the epoch, with augmentation and dropout.", curveChart(`training loss of ${run.name}`, { x: "epoch", y: "loss", series: both("loss"), texts: ([x, y]) => `epoch ${x}, ${y.toFixed(3)}`, xMore: integers })),
    figure(`Training of ${run.name}: top-1`, "On the same images, train and tune; val takes no part.", curveChart(`training accuracy of ${run.name}`, { x: "epoch", y: "top-1", series: both("top1"), texts: ([x, y]) => `epoch ${x}, ${percent(y)}`, xMore: integers, yMore: inPercent })),
  ];
}

function crops(run) {
  if (!run.crops.length) return null;
  const kinds = ["probabilities", "logits"];
  const series = kinds.flatMap((kind, i) => {
    const rows = run.crops.filter(({ average }) => average === kind);
    return [curve(`${kind} averaged`, i, rows.map((row) => [row.crops, row.mean])), errorBars(PALETTE[i], rows.map((row) => [row.crops, row.lowest, row.highest]))];
  });
  const text = `Top-1 on val of the average over crops; bars: the range over several choices of crops. The whole image alone has ${percent(run.metrics.val.whole.top1)}, n = ${count(run.val.n)}.`;
  return figure(`What crops add to ${run.name}`, text, curveChart(`accuracy of ${run.name} by crops`, { x: "crops averaged", y: "top-1", series, texts: ([x, y]) => `${x} crops, ${percent(y)}`, xMore: { min: 1, minInterval: 1 }, yMore: inPercent }));
}

function learningCurves() {
  const runs = Object.entries(DATA.learningCurves);
  if (!runs.length) return null;
  const sizes = [...new Set(runs.flatMap(([, points]) => points.map((point) => point.images_per_class)))].sort((a, b) => a - b);
  const series = runs.flatMap(([name, points], i) => [
    curve(name, i, points.map((point) => [point.images_per_class, point.top1])),
    errorBars(PALETTE[i % PALETTE.length], points.map((point) => [point.images_per_class, point.low, point.high])),
  ]);
  const subsets = Math.max(...runs.flatMap(([, points]) => points.map((point) => point.subsets)));
  const text = `Top-1 on val, one view, of heads that learned from so many images of each class at most; the last point is all of train. Means over ${plural(subsets, "random choice")} of images; bars: ${level} intervals, n = ${count(DATA.splits.val)}.`;
  const drawing = curveChart("learning curves", {
    x: "training images of each class",
    y: "top-1",
    series,
    texts: ([x, y]) => `${x} images, ${percent(y)}`,
    xMore: { type: "log", min: sizes[0] / 1.2, max: sizes[sizes.length - 1] * 1.2, labels: { customValues: sizes, formatter: count }, axisTick: { customValues: sizes }, splitLine: { show: false } },
    yMore: inPercent,
  });
  return element("div", { class: "charts" }, figure("How many images does it take?", text, drawing));
}

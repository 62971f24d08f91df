// The top of the page, and the table of all runs.

const WORDS = {
  run: "one classifier: a network with the head or the training that its name says",
  "train, tune, val, test": "the parts of your images: learned from, chosen on, reported on, and kept aside",
  "top-1": "the share of images whose likeliest class is the right one; top-5: the right one is among the five likeliest",
  "balanced, macro-F1, AUROC": "averages over classes, so that rare classes count as much as frequent ones: of the share that is right, of F1 (precision and recall in one), and of how well the class's images are ranked above all others",
  interval: `holds the true value in about ${level} of repetitions with other val images; n is the number of images`,
  p: "of an image: how sure the run is of its answer, after temperature scaling",
  "ten crops": "the average over ten cuts of an image; one view is the whole image alone",
  "NLL, ECE": "errors of the probabilities, lower is better: negative log-likelihood; and expected calibration error, the mean gap between how sure a run is and how often it is right",
  passes: "what training cost: images that went through the run's network",
};

function drawTop() {
  const run = selection.run;
  const { n, top1, top1_interval: bounds } = run.val;
  const classes = plural(DATA.classes.length, "class").replace("classs", "classes");
  section("title").textContent = `${DATA.dataset}: ${plural(DATA.runs.length, "run")}, ${classes}`;
  document.title = `${DATA.dataset}: report of headstart`;
  section("answer").append(
    element("strong", {}, run.name),
    DATA.runs.length > 1 ? " did best on tune, the images set aside for choosing. " : " is the only run. ",
    `Of ${plural(n, "image")} that took no part in training or choosing (val), it put `,
    element("strong", { title: `top-1 on val, n = ${n}, ${protocolName(run)}` }, percent(top1)),
    ` into the right one of ${classes} (${level} interval: ${interval(bounds)}).`,
  );
  section("conclusions").append(...DATA.conclusions.map((sentence) => element("li", {}, sentence)));
  const parts = SPLITS.filter((split) => DATA.splits[split]).map((split) => `${count(DATA.splits[split])} ${split}`);
  const pictures = sampled
    ? ` Pictures: a random ${count(IMAGES.val)} of the ${count(DATA.splits.val)} val images; all numbers are those of all of them.`
    : "";
  section("scope").textContent =
    `Images: ${parts.join(", ")}. Every number on this page is of val unless it says otherwise.${pictures}`;
  const terms = Object.entries(WORDS).map(([word, meaning]) => [element("dt", {}, word), element("dd", {}, meaning)]);
  document.querySelector("#words dl").append(...terms.flat());
}

function drawRunChoice() {
  const box = section("run");
  box.append(...DATA.runs.map((run, i) => element("option", { value: i }, run.name)));
  box.addEventListener("change", () => selection.choose(DATA.runs[Number(box.value)]));
  selection.onRun((run) => (box.value = DATA.runs.indexOf(run)));
}

function drawRuns() {
  const scale = scaleOf(DATA.runs.map((run) => run.val.top1_interval));
  const metric = (name, title, hint, text) => ({
    title,
    hint,
    numeric: true,
    value: (run) => run.val[name],
    cell: (run) =>
      element(
        "span",
        { class: "number", title: `${title} on val, n = ${run.val.n}, ${protocolName(run)}, ${level} interval ${run.val[`${name}_interval`].map(text).join(" to ")}` },
        text(run.val[name]),
      ),
  });
  const onTest = DATA.runs.some((run) => run.metrics.test);
  const columns = [
    {
      title: "run",
      hint: "choose the run that the sections below show",
      value: (run) => run.name,
      cell: (run) => element("button", { type: "button", class: "link", onclick: () => selection.choose(run) }, run.name),
    },
    {
      title: `top-1, ${level} interval (axis ${percent(scale[0], 0)} to ${percent(scale[1], 0)})`,
      hint: "share of val images whose likeliest class is the right one",
      value: (run) => run.val.top1,
      cell: (run) => {
        const { n, top1, top1_interval: bounds } = run.val;
        const text = `${percent(top1)} [${bounds.map((x) => (100 * x).toFixed(1)).join(", ")}]`;
        const title = `top-1 on val, n = ${n}, ${protocolName(run)}, ${level} interval ${interval(bounds)}`;
        return element("span", { class: "with-bar", title }, intervalBar(top1, bounds, scale), element("span", { class: "number" }, text));
      },
    },
    ...(DATA.classes.length > 5 ? [metric("top5", "top-5", "share of val images whose class is among the five likeliest", percent)] : []),
    metric("balanced_accuracy", "balanced", "balanced accuracy: the mean over classes of the share that is right, so that every class counts the same", percent),
    metric("macro_f1", "macro-F1", "mean over classes of F1, the harmonic mean of precision and recall", percent),
    metric("auroc", "AUROC", "mean over classes of the area under the ROC curve of one class against the rest; 50 % is chance", percent),
    metric("nll", "NLL", "negative log-likelihood before temperature scaling; lower is better", (x) => x.toFixed(3)),
    metric("ece", "ECE", "expected calibration error before temperature scaling; lower is better", (x) => x.toFixed(3)),
    ...(onTest
      ? [
          {
            title: "top-1 on test",
            hint: "on the labeled test split",
            numeric: true,
            value: (run) => run.metrics.test?.[run.protocol].top1 ?? -1,
            cell: (run) => {
              const test = run.metrics.test;
              if (!test) return "–";
              const { top1, top1_interval: bounds } = test[run.protocol];
              return element("span", { class: "number", title: `on test, n = ${test.n}, ${level} interval ${interval(bounds)}` }, percent(top1));
            },
          },
        ]
      : []),
    {
      title: "cost, passes",
      hint: "images that went through the run's network while it was trained",
      numeric: true,
      value: (run) => run.metrics.passes,
      cell: (run) => element("span", { class: "number" }, count(run.metrics.passes)),
    },
    { title: "n", hint: "val images", numeric: true, value: (run) => run.val.n, cell: (run) => element("span", { class: "number" }, count(run.val.n)) },
  ];
  const best = [...DATA.runs].sort((a, b) => b.val[DATA.chosenBy.metric] - a.val[DATA.chosenBy.metric]);
  const about =
    DATA.runs.length > 1
      ? `In bold ${DATA.chosen}, the run that tune chose by ${DATA.chosenBy.title}. A click on a head sorts; a click on a name shows that run below.`
      : "";
  section("runs").append(
    element("p", {}, about),
    sortableTable("All active runs on val", columns, best, { rowClass: (run) => (run.name === DATA.chosen ? "chosen" : "") }),
  );
}

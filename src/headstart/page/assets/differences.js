// Two runs: the paired difference of their accuracy, and the images that only one gets right.

function drawDifferences() {
  const place = section("differences");
  if (DATA.runs.length < 2) {
    place.append(element("p", {}, "There is only one run; with a second one in params.yaml this section compares the two."));
    return;
  }
  const names = DATA.runs.map((run) => run.name);
  const byTop1 = [...DATA.runs].sort((a, b) => b.val.top1 - a.val.top1);
  const chosen = { a: names.indexOf(DATA.chosen), b: DATA.runs.indexOf(byTop1.find((run) => run.name !== DATA.chosen)) };
  const shown = element("div", { "aria-live": "polite" });
  const draw = () => shown.replaceChildren(...comparison(DATA.runs[chosen.a], DATA.runs[chosen.b]));
  const box = (label, key) => selectBox(label, names, chosen[key], (i) => ((chosen[key] = i), draw()));
  place.append(element("p", { class: "controls", id: "pair" }, box("Compare", "a"), box("with", "b")), shown);
  draw();
}

function comparison(a, b) {
  if (a === b) return [element("p", {}, "Choose two different runs.")];
  const pair = DATA.pairs.find(({ better, worse }) => [better, worse].includes(a.name) && [better, worse].includes(b.name));
  const points = (x) => (100 * x).toFixed(1).replace("-", "−");
  const sure = pair.low > 0;
  const verdict = sure ? " is better than " : " is ahead of ";
  const doubt = sure ? "" : " This is no evidence of a difference: the interval includes zero.";
  const sentence = element(
    "p",
    { title: `val, n = ${a.val.n}, the same images for both; McNemar's exact test, not corrected for several comparisons` },
    element("strong", {}, pair.better),
    verdict,
    element("strong", {}, pair.worse),
    ` by ${points(pair.value)} points of top-1 (paired ${level} interval ${points(pair.low)} to ${points(pair.high)}, p = ${Number(pair.p_value.toPrecision(2))}, n = ${count(a.val.n)}).${doubt}`,
  );
  const only = (x, y, total) => {
    const images = valImages().filter((image) => isRight(x, image) && !isRight(y, image));
    images.sort((i, j) => probability(y, j) - probability(y, i));
    const which = images.length < total ? `, ${count(images.length)} of them on this page` : "";
    const text = (image) => `${CLASSES[IMAGES.labels[image]]}; ${y.name} takes it for ${CLASSES[predictedClass(y, image)]}, p\u00a0=\u00a0${probability(y, image).toFixed(2)}`;
    return [
      element("h3", {}, `Only ${x.name} is right: ${plural(total, "image")}${which}`),
      images.length ? gallery(images, text, { step: 12 }) : element("p", { class: "quiet" }, "None."),
    ];
  };
  const total = (x) => (x.name === pair.better ? pair.only_better : pair.only_worse);
  return [sentence, ...only(a, b, total(a)), ...only(b, a, total(b))];
}

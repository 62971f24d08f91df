// One image: large, the likeliest classes of every run, and the most similar training images.

function openDetail(image, images = [image]) {
  const dialog = section("detail");
  const place = images.indexOf(image);
  const go = (step) => {
    const next = images[place + step];
    if (next !== undefined) openDetail(next, images);
  };
  const button = (text, label, onclick, disabled = false) =>
    element("button", { type: "button", "aria-label": label, onclick, disabled }, text);
  const name = DATA.classes[IMAGES.labels[image]].name;
  const split = SPLITS[IMAGES.splits[image]];
  dialog.replaceChildren(
    element(
      "div",
      { class: "detail-head" },
      button("←", "previous image", () => go(-1), place <= 0),
      element("span", { class: "quiet" }, `${count(place + 1)} of ${count(images.length)}`),
      button("→", "next image", () => go(1), place + 1 >= images.length),
      element("span", { class: "spring" }),
      button("Close", "close", () => dialog.close()),
    ),
    element(
      "div",
      { class: "detail-top" },
      thumbnailOf(image, "large"),
      element("div", { class: "about" }, element("h2", {}, name), element("p", { class: "file" }, IMAGES.ids[image]), element("p", { class: "quiet" }, `an image of the ${split} split`)),
      ...lookedAtBoth(selection.run, image),
    ),
    ...(isVal(image) ? [predictionsTable(image), ...DATA.nearest.map((nearest) => nearestImages(nearest, image))] : []),
  );
  dialog.onkeydown = ({ key }) => {
    if (key === "ArrowLeft") go(-1);
    if (key === "ArrowRight") go(1);
  };
  if (!dialog.open) dialog.showModal();
  dialog.querySelectorAll(".thumbnail").forEach(fillThumbnail);
  dialog.scrollTop = 0;
}

function predictionsTable(image) {
  const places = Array.from({ length: DATA.runs[0].top.count }, (_, place) => place);
  const rows = DATA.runs.map((run) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, run.name, " ", mark(isRight(run, image))),
      ...places.map((place) => {
        const predicted = run.classes[image * run.top.count + place];
        const p = probability(run, image, place);
        return element(
          "td",
          { class: predicted === IMAGES.labels[image] ? "candidate true" : "candidate", style: { "background-size": `${100 * p}% 100%` }, title: DATA.classes[predicted].name },
          `${CLASSES[predicted]} `,
          element("span", { class: "number" }, percent(p)),
        );
      }),
    ),
  );
  const heads = ["run", "likeliest", "second", "third", "fourth", "fifth"].slice(0, places.length + 1);
  return element(
    "div",
    { class: "wide" },
    element(
      "table",
      {},
      element("caption", {}, "What each run takes it for: its likeliest classes, with probabilities after temperature scaling"),
      element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, ...rows),
    ),
  );
}

function nearestImages(nearest, image) {
  const range = Array.from({ length: nearest.count }, (_, place) => image * nearest.count + place);
  const held = range.filter((i) => nearest.images[i] > 0);
  const images = held.map((i) => nearest.images[i] - 1);
  const similarity = new Map(held.map((i, place) => [images[place], (2 * nearest.similarity[i]) / PARTS - 1]));
  const text = (other) => `${CLASSES[IMAGES.labels[other]]}, cosine ${similarity.get(other).toFixed(2)}`;
  const state = (other) => (IMAGES.labels[other] === IMAGES.labels[image] ? "is-right" : "is-wrong");
  const missing = held.length < nearest.count ? ` (${held.length} of ${nearest.count}; the page has no room for the others)` : "";
  return element(
    "div",
    {},
    element("h3", {}, `The training images that ${nearest.backbone} finds most similar${missing}`),
    element("ul", { class: "gallery" }, ...images.map((other) => tile(other, images, text(other), state(other)))),
  );
}

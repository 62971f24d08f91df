// Thumbnails, cut from the sheets that stand at the end of the page, and lists of them.

const SHEET_URLS = [];

function sheetUrl(number) {
  if (!SHEET_URLS[number]) {
    const holder = document.getElementById(`sheet-${number}`);
    const bytes = decodeBase64(holder.textContent);
    SHEET_URLS[number] = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    holder.remove();
  }
  return SHEET_URLS[number];
}

function fillThumbnail(thumbnail) {
  const image = Number(thumbnail.dataset.image);
  const number = DATA.sheets.findLastIndex((sheet) => sheet.first <= image);
  const { first, columns, count: held } = DATA.sheets[number];
  const [column, line] = [(image - first) % columns, Math.floor((image - first) / columns)];
  const lines = Math.ceil(held / columns);
  const share = (place, places) => (places > 1 ? `${(100 * place) / (places - 1)}%` : "0");
  thumbnail.style.backgroundImage = `url(${sheetUrl(number)})`;
  thumbnail.style.backgroundSize = `${100 * columns}% ${100 * lines}%`;
  thumbnail.style.backgroundPosition = `${share(column, columns)} ${share(line, lines)}`;
}

const thumbnailsInView = new IntersectionObserver(
  (entries) => {
    if (document.readyState === "loading") return;
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      thumbnailsInView.unobserve(target);
      fillThumbnail(target);
    }
  },
  { rootMargin: "200px" },
);

// Decodes the sheets one by one while nothing else is to be done, so that no hover waits for it.
function prepareSheets(number = 0) {
  if (number === DATA.sheets.length) return;
  sheetUrl(number);
  requestIdleCallback(() => prepareSheets(number + 1));
}

// Thumbnails that were in view while the browser still read the sheets.
document.addEventListener("DOMContentLoaded", () => {
  if (DATA.sheets.length && "requestIdleCallback" in window) requestIdleCallback(() => prepareSheets());
  for (const thumbnail of document.querySelectorAll(".thumbnail")) {
    thumbnailsInView.unobserve(thumbnail);
    thumbnailsInView.observe(thumbnail);
  }
});

function thumbnailOf(image, size = "") {
  const thumbnail = element("span", { class: `thumbnail ${size}`, "data-image": image });
  thumbnailsInView.observe(thumbnail);
  return thumbnail;
}

const mark = (right) =>
  element("span", { class: right ? "right" : "wrong" }, right ? "✓ right" : "✗ wrong");

/* "true, taken for predicted, p" of a mistake, and the class of a right answer. */
function caption(run, image) {
  const label = CLASSES[IMAGES.labels[image]];
  if (!isVal(image)) return `${label} (${SPLITS[IMAGES.splits[image]]})`;
  const p = `p\u00a0=\u00a0${probability(run, image).toFixed(2)}`;
  return isRight(run, image) ? `${label}, ${p}` : `${label}, taken for ${CLASSES[predictedClass(run, image)]}, ${p}`;
}

function tile(image, images, text, state, beside = null) {
  const names = [DATA.classes[IMAGES.labels[image]].name, IMAGES.ids[image]];
  return element(
    "li",
    {},
    element(
      "button",
      { type: "button", class: `tile ${state}`, title: names.join("\n"), onclick: () => openDetail(image, images) },
      beside ? element("span", { class: "pair" }, thumbnailOf(image), beside) : thumbnailOf(image),
      element("span", { class: "caption" }, text),
    ),
  );
}

// A list of images that grows by `step` at a time. captionOf, beside: an image and its place in the
// list -> its caption, and what stands at its right.
function gallery(images, captionOf, { step = 24, outlined = false, beside = null } = {}) {
  const list = element("ul", { class: beside ? "gallery pairs" : "gallery" });
  const more = element("button", { type: "button", onclick: () => grow() });
  function grow() {
    const shown = list.children.length;
    const state = (image) => (outlined && isVal(image) ? (isRight(selection.run, image) ? "is-right" : "is-wrong") : "");
    list.append(...images.slice(shown, shown + step).map((image, i) => tile(image, images, captionOf(image, shown + i), state(image), beside?.(image, shown + i))));
    const left = images.length - list.children.length;
    more.hidden = left <= 0;
    more.textContent = `Show ${count(Math.min(step, left))} more of ${count(left)}`;
  }
  grow();
  return element("div", {}, list, more);
}

// The page's data as typed arrays and names, and the run that the sections show.

const DATA = JSON.parse(document.getElementById("data").textContent);

function decodeBase64(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function unpack({ dtype, base64 }) {
  const bytes = decodeBase64(base64);
  const types = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };
  return new types[dtype](bytes.buffer);
}

const IMAGES = {
  ids: DATA.images.ids,
  labels: unpack(DATA.images.labels),
  splits: unpack(DATA.images.splits),
  val: DATA.images.val, // the first ones are of val, and have predictions
};
const SPLITS = Object.keys(DATA.splits);
const PARTS = 10000; // whole numbers stand for so many parts of one

for (const run of DATA.runs) {
  run.classes = unpack(run.top.classes);
  run.parts = unpack(run.top.parts);
  run.cells = unpack(run.perClass.cells); // true class, predicted class, count; and so on
  run.protocol = "ten_crop" in run.metrics.val ? "ten_crop" : "whole";
  run.val = { n: run.metrics.val.n, ...run.metrics.val[run.protocol] };
}
for (const map of DATA.maps) map.images = unpack(map.images);
for (const nearest of DATA.nearest) {
  nearest.images = unpack(nearest.images);
  nearest.similarity = unpack(nearest.similarity);
}

// Names such as "plunger, plumber's helper" list synonyms; the first one is shown if it is unique.
const CLASSES = (() => {
  const first = DATA.classes.map(({ name }) => name.split(",")[0].trim());
  const counts = new Map();
  for (const name of first) counts.set(name, (counts.get(name) ?? 0) + 1);
  return first.map((name, i) => {
    if (name && counts.get(name) === 1) return name;
    const same = DATA.classes.some((other, j) => j !== i && other.name === DATA.classes[i].name);
    return same ? `${DATA.classes[i].name} (${DATA.classes[i].id})` : DATA.classes[i].name;
  });
})();

const predictedClass = (run, image) => run.classes[image * run.top.count];
const probability = (run, image, place = 0) => run.parts[image * run.top.count + place] / PARTS;
const isRight = (run, image) => predictedClass(run, image) === IMAGES.labels[image];
const isVal = (image) => image < IMAGES.val;
const valImages = () => Array.from({ length: IMAGES.val }, (_, image) => image);

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const interval = ([low, high]) => `${(100 * low).toFixed(1)} to ${percent(high)}`;
const level = `${+(100 * DATA.confidence).toFixed(2)} %`;
const count = (n) => n.toLocaleString("en");
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
const sampled = DATA.splits.val > IMAGES.val;
const protocolName = (run) => (run.protocol === "ten_crop" ? "ten crops" : "one view");

// The sections that show one run are drawn again when another is chosen.
const selection = {
  run: DATA.runs.find((run) => run.name === DATA.chosen),
  listeners: [],
  onRun(draw) {
    this.listeners.push(draw);
    draw(this.run);
  },
  choose(run) {
    this.run = run;
    for (const draw of this.listeners) draw(run);
  },
};

// Where a run looked: class activation maps over the images that it gets wrong.

for (const run of DATA.runs) {
  const { attribution } = run;
  if (!attribution || attribution.unavailable) continue;
  attribution.maps = unpack(attribution.maps);
  attribution.places = new Map(Array.from(unpack(attribution.images), (image, i) => [image, i]));
}

// The image under its map for the class that the run predicts (kind 0) or for the true one (1).
function lookedAt(run, image, kind, size = "") {
  const place = run.attribution?.places?.get(image);
  if (place === undefined) return null;
  const { height, width, maps, crop } = run.attribution;
  const canvas = element("canvas", { width, height, class: "heat", style: { inset: `${50 * (1 - crop)}%`, width: `${100 * crop}%`, height: `${100 * crop}%` } });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const start = (2 * place + kind) * width * height;
  for (let i = 0; i < width * height; i++) {
    const value = maps[start + i];
    const color = parseInt(VIRIDIS[Math.min(7, value >> 5)].slice(1), 16);
    pixels.data.set([color >> 16, (color >> 8) & 255, color & 255, 190], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
  return element("span", { class: `looked ${size}` }, thumbnailOf(image, size), canvas);
}

function lookedAtText(run) {
  if (!run.attribution) return "";
  if (run.attribution.unavailable) return ` Where it looked is not available for ${run.name}, as ${run.attribution.unavailable}.`;
  return " At the right, where it looked: the brighter a place, the more it spoke for the class that was given.";
}

// Both maps of a mistake, for the view of one image.
function lookedAtBoth(run, image) {
  if (!isVal(image) || isRight(run, image) || !run.attribution?.places) return [];
  const kinds = [predictedClass(run, image), IMAGES.labels[image]];
  return kinds.flatMap((label, kind) => {
    const shown = lookedAt(run, image, kind, "medium");
    return shown ? [element("figure", {}, shown, element("figcaption", { class: "quiet" }, `what spoke for ${CLASSES[label]} (${run.name})`))] : [];
  });
}

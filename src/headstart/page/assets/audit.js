// What the audit found wrong with the data: problem by problem, with the images.

function drawAudit() {
  const place = section("audit");
  const { sentences, backbones } = DATA.audit;
  const about = "Nothing of this has been left out or changed. The table results/audit/…-findings.tsv lists all of it; prepare.exclude leaves images out.";
  place.append(element("p", {}, about), ...sentences.map((sentence) => element("p", {}, sentence)));
  const shown = element("div");
  const own = backbones.findIndex(({ backbone }) => DATA.chosen.startsWith(`${backbone}-`));
  const draw = (i) => shown.replaceChildren(...backbones[i].problems.map(drawProblem));
  if (backbones.length > 1) {
    const names = backbones.map(({ backbone }) => backbone);
    place.append(element("p", { class: "controls" }, selectBox("with the features of", names, Math.max(own, 0), draw)));
  }
  place.append(shown);
  if (backbones.length) draw(Math.max(own, 0));
}

function drawProblem({ noun, count: found, ofClasses, images: packedImages, labels: packedLabels, scores }) {
  const [images, labels] = [unpack(packedImages), unpack(packedLabels)];
  const findings = scores.map((score, i) => ({
    score,
    image: images[2 * i] - 1,
    beside: images[2 * i + 1] - 1,
    label: labels[2 * i] - 1,
    other: labels[2 * i + 1] - 1,
  }));
  const shown = ofClasses ? findings : findings.filter(({ image }) => image >= 0);
  const left = found - shown.length;
  return element(
    "details",
    { open: !ofClasses && shown.length > 0 },
    element("summary", {}, `${count(found)} ${noun}${left ? `, ${count(left)} of them not on this page` : ""}`),
    ofClasses ? element("ul", {}, ...shown.map((finding) => element("li", {}, classFinding(finding)))) : findingsGallery(shown),
  );
}

const classFinding = ({ label, other, score }) => `${CLASSES[label]}${other >= 0 ? ` and ${CLASSES[other]}` : ""} (score ${score.toFixed(2)})`;

function findingsGallery(findings) {
  const pairs = findings.some(({ beside }) => beside >= 0);
  const splitOf = (image) => SPLITS[IMAGES.splits[image]];
  const captionOf = (image, i) => {
    const { beside, label, other, score } = findings[i];
    const own = `${CLASSES[label]} (${splitOf(image)})`;
    if (beside >= 0) return `${own}, and ${CLASSES[other]} (${splitOf(beside)})`;
    return `${own}${other >= 0 ? `, perhaps ${CLASSES[other]}` : ""}, score ${score.toFixed(2)}`;
  };
  const beside = (image, i) => (findings[i].beside >= 0 ? thumbnailOf(findings[i].beside) : element("span"));
  const list = findings.map(({ image }) => image);
  return gallery(list, captionOf, { step: 12, beside: pairs ? beside : null });
}

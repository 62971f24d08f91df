// The mistakes of the chosen run, those that it was most sure of first.

function drawMistakes() {
  const shown = element("div");
  section("mistakes").append(shown);
  selection.onRun((run) => {
    const images = valImages().filter((image) => !isRight(run, image));
    images.sort((i, j) => probability(run, j) - probability(run, i));
    const about = images.length
      ? `${run.name} is wrong about ${count(images.length)} of the ${count(IMAGES.val)} val images here. Each caption: the true class, what it was taken for, and how sure the run was. Some may be mistakes of the labels.${lookedAtText(run)}`
      : `${run.name} makes no mistake on the ${plural(IMAGES.val, "val image")} here.`;
    shown.replaceChildren(element("p", {}, about), gallery(images, (image) => caption(run, image), { beside: run.attribution?.places ? (image) => lookedAt(run, image, 0) : null }));
  });
}

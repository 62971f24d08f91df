// Images by a part of their file's name or of their class's name.

const MOST_FOUND = 600;

function drawSearch() {
  const input = section("search");
  const place = section("found");
  const texts = IMAGES.ids.map((id, image) => `${id}\n${DATA.classes[IMAGES.labels[image]].name}`.toLowerCase());
  function find() {
    const wanted = input.value.trim().toLowerCase();
    place.hidden = !wanted;
    if (!wanted) return place.replaceChildren();
    const images = [];
    for (let image = 0; image < texts.length && images.length < MOST_FOUND; image++) {
      if (texts[image].includes(wanted)) images.push(image);
    }
    const total = images.length < MOST_FOUND ? plural(images.length, "image") : `The first ${count(MOST_FOUND)} images`;
    place.replaceChildren(
      element("h2", {}, `${total} with “${input.value.trim()}” in the name or class`),
      gallery(images, (image) => caption(selection.run, image), { step: 12, outlined: true }),
    );
    place.scrollIntoView({ block: "nearest" });
  }
  input.addEventListener("input", find);
  input.form.addEventListener("submit", (event) => event.preventDefault());
}

(() => {
  "use strict";
  const { specs, themes } = JSON.parse(document.getElementById("charts-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();
  const refuse = () => Promise.reject(new Error("this page loads nothing"));
  const loader = { load: refuse, sanitize: refuse, http: refuse, file: refuse };

  async function draw(figure) {
    const place = figure.querySelector(".live");
    const still = figure.querySelector(".still");
    if (figure.closest("details:not([open])")) return;
    const before = views.get(figure);
    views.set(figure, null);
    place.hidden = false;
    try {
      const made = await vegaEmbed(place, structuredClone(specs[figure.dataset.chart]), {
        actions: false, ast: true, defaultStyle: false, loader, renderer: "svg",
        config: themes[dark.matches ? "dark" : "light"],
        tooltip: { disableDefaultStyle: true },
      });
      if (before) before.finalize();
      place.querySelector("svg").setAttribute("aria-hidden", "true");
      views.set(figure, made);
      figure.classList.add("drawn");
    } catch (error) {
      place.hidden = true;
      console.error(error);
    }
  }

  const figures = [...document.querySelectorAll("figure.chart")];
  const within = (box) => figures.filter((figure) => box.contains(figure));
  const folds = [...document.querySelectorAll("details")];
  figures.forEach(draw);
  folds.forEach((fold) => fold.addEventListener("toggle", () => {
    if (fold.open) within(fold).filter((figure) => !views.has(figure)).forEach(draw);
  }));
  dark.addEventListener("change", () => [...views.keys()].forEach(draw));

  const show = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", show);
  show();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = folds.filter((fold) => !fold.open);
    closed.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((fold) => { fold.open = false; }));
})();

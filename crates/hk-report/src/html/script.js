// The page reads without this. It adds a filter to the list of findings, and buttons that open and close what is folded.
(() => {
  const contents = document.querySelector("nav.contents");
  const articles = [...document.querySelectorAll("article.finding")];
  if (!contents || articles.length < 2) return;

  const tools = document.createElement("form");
  tools.className = "tools";
  tools.setAttribute("role", "search");
  tools.addEventListener("submit", (event) => event.preventDefault());

  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "Filter by kind, function, file, thread";
  field.setAttribute("aria-label", "Filter the findings");

  const shown = document.createElement("output");
  shown.setAttribute("aria-live", "polite");

  const rows = [...contents.querySelectorAll("li")];
  const texts = articles.map((article) => article.textContent.toLowerCase());
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    articles.forEach((article, at) => {
      const fits = words.every((word) => texts[at].includes(word));
      article.hidden = !fits;
      rows[at].hidden = !fits;
      count += fits;
    });
    shown.textContent = words.length ? `${count} of ${articles.length}` : "";
  });

  const unfold = document.createElement("button");
  unfold.type = "button";
  unfold.textContent = "Unfold all";
  unfold.addEventListener("click", () => {
    const open = unfold.textContent === "Unfold all";
    document.querySelectorAll("article details").forEach((part) => { part.open = open; });
    unfold.textContent = open ? "Fold all" : "Unfold all";
  });

  tools.append(field, shown, unfold);
  contents.prepend(tools);
})();

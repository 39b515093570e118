// Runs at the end of a report's page: what is wider than the window, which drawings leave their boxes.
(() => {
  const errors = [];
  addEventListener("error", (event) => errors.push(String(event.message)));

  const width = (when) => {
    const page = document.documentElement;
    if (page.scrollWidth > innerWidth) errors.push(`${when}: the page is ${page.scrollWidth} wide, the window ${innerWidth}`);
    for (const part of document.querySelectorAll("main *:not(svg *)")) {
      const scrolls = part.closest(".scroll");
      if (!scrolls && part.getBoundingClientRect().right > innerWidth + 0.5) {
        errors.push(`${when}: ${part.tagName}.${part.className} ends at ${part.getBoundingClientRect().right}`);
      }
    }
  };

  const inside = (inner, outer) =>
    inner.left >= outer.left - 1 && inner.right <= outer.right + 1 && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;

  const drawings = () => {
    for (const svg of document.querySelectorAll("figure svg")) {
      const box = svg.getBoundingClientRect();
      const finding = svg.closest("article");
      if (box.width < 200 || box.height < 80) errors.push(`${finding.id}: a drawing is ${box.width} x ${box.height}`);
      if (!inside(box, finding.getBoundingClientRect())) errors.push(`${finding.id}: a drawing leaves its finding`);
      for (const part of svg.querySelectorAll("text, rect, path, circle")) {
        if (!inside(part.getBoundingClientRect(), box)) errors.push(`${finding.id}: '${part.textContent || part.outerHTML}' leaves its drawing`);
      }
      const texts = [...svg.querySelectorAll("text:not(.mark-sign)")].map((text) => [text.textContent, text.getBoundingClientRect()]);
      texts.forEach(([one, a], at) => texts.slice(at + 1).forEach(([other, b]) => {
        const apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 2 || b.bottom <= a.top + 2;
        if (!apart) errors.push(`${finding.id}: '${one}' lies over '${other}'`);
      }));
    }
  };

  const check = () => {
    width("folded");
    drawings();
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
    width("unfolded");
    const ids = [...document.querySelectorAll("[id]")].map((part) => part.id);
    if (new Set(ids).size !== ids.length) errors.push("an id is there twice");
    for (const link of document.querySelectorAll("nav a")) {
      if (!document.getElementById(decodeURIComponent(link.hash.slice(1)))) errors.push(`${link.hash} leads nowhere`);
    }
    const count = (what) => document.querySelectorAll(what).length;
    parent.postMessage(JSON.stringify({
      width: innerWidth,
      errors,
      findings: count("article.finding"),
      timelines: count("article.finding .timeline svg"),
      pages: count("article.finding .page svg"),
    }), "*");
  };
  if (document.readyState === "complete") check(); else addEventListener("load", check);
})();

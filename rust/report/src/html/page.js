// What the page can do beyond being read: sort, search, filter, select a task wherever it is shown, light or dark. All text
// is in the page already.
"use strict";

const make = (tag, properties, children = []) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const count = n => n.toLocaleString("en");

// The table shows the rows that fit, in the order asked for. Of very many only the first are in the document, and more
// come as they are scrolled to: so thousands sort and filter at once. The others stand behind the table as text, which is
// read when there is nothing else to do, or when they are wanted.
const BATCH = 400;
const body = document.querySelector("#tasks tbody");
const declared = [...body.rows];
const rowOf = new Map(declared.map(row => [row.id, row]));
const unread = document.querySelector("#rest")?.textContent.split("\n<tr ").slice(1) ?? [];
const total = declared.length + unread.length;
const readTo = to => {
  const some = unread.splice(0, Math.max(0, to - declared.length));
  if (!some.length) return;
  const rows = make("tbody", { innerHTML: `<tr ${some.join("\n<tr ")}` }).rows;
  for (const row of rows) {
    declared.push(row);
    rowOf.set(row.id, row);
  }
};
const readAll = () => readTo(total);
const readSome = () => {
  readTo(declared.length + 200);
  if (unread.length) later(readSome);
};
const later = globalThis.requestIdleCallback ?? (work => setTimeout(work, 50));
const rowFor = id => {
  if (!rowOf.has(id) && /^t\d+$/.test(id)) readAll();
  return rowOf.get(id);
};
const search = document.querySelector("#search");
const chosen = new Set();
let picked = null; // Tasks that a part of a picture stands for, where only those are to be shown.
let ordered = declared;
let fitting = declared;

const textOf = row => (row.searched ??= row.textContent.toLowerCase());
const fits = words => row =>
  (!chosen.size || chosen.has(row.className)) && (!picked || picked.has(row.id)) && words.every(word => textOf(row).includes(word));
const fittingCount = () => (fitting === declared ? total : fitting.length);
const addRows = (to = total) => {
  if (fitting === declared) readTo(to);
  body.append(...fitting.slice(body.rows.length, to));
};
const tell = () => {
  const n = fittingCount();
  document.querySelector("#shown").textContent = n < total ? `${count(n)} of ${count(total)} tasks` : `${count(total)} tasks`;
  document.querySelector("#none").hidden = n > 0;
};
const show = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const isFiltered = words.length || chosen.size || picked;
  if (isFiltered) readAll();
  fitting = isFiltered ? ordered.filter(fits(words)) : ordered;
  body.replaceChildren(...fitting.slice(0, BATCH));
  tell();
};
const atEnd = new IntersectionObserver(
  (looks) => {
    // The newest look counts, and the end is looked at anew: it may be in view still.
    if (!looks.at(-1).isIntersecting || body.rows.length >= fittingCount()) return;
    addRows(body.rows.length + BATCH);
    atEnd.unobserve(looks[0].target);
    atEnd.observe(looks[0].target);
  },
  { rootMargin: "2000px" },
);
atEnd.observe(document.querySelector("footer"));
addEventListener("beforeprint", () => addRows());
search.addEventListener("input", show);
document.querySelector(".tools").hidden = false;
if (search.value) show();
else tell();
later(readSome);

// Each head sorts: one way, the other way, as declared. Numbers start with the greatest; what has none stays at the end.
const { compare } = new Intl.Collator("en", { numeric: true });
const numberIn = column => ({ cells: { [column]: cell } }) => parseFloat(cell.dataset.v ?? cell.textContent);
const textIn = column => ({ cells: { [column]: cell } }) => (cell.querySelector("summary") ?? cell).textContent;
const sortBy = (valueOf, byValue) => {
  readAll();
  const keyed = declared.map(row => [valueOf(row), row]);
  ordered = keyed.sort(([a], [b]) => byValue(a, b)).map(([, row]) => row);
  show();
};
const heads = [...document.querySelectorAll("#tasks th")];
heads.forEach((head, column) => {
  const isNumber = head.className === "n";
  const orders = isNumber ? ["descending", "ascending"] : ["ascending", "descending"];
  const button = make("button", { type: "button" }, [...head.childNodes]);
  button.addEventListener("click", () => {
    const order = orders[orders.indexOf(head.getAttribute("aria-sort")) + 1];
    const sign = order === "ascending" ? 1 : -1;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    if (order) head.setAttribute("aria-sort", order);
    if (!order) {
      ordered = declared;
      show();
    }
    else if (isNumber) sortBy(numberIn(column), (a, b) => isNaN(a) - isNaN(b) || sign * (a - b) || 0);
    else sortBy(textIn(column), (a, b) => sign * compare(a, b));
  });
  head.append(button);
});

// Each count above filters by its state; several together show what has any of them.
for (const item of document.querySelectorAll("#counts li")) {
  const button = make("button", { type: "button", title: "Show only these in the table" }, [...item.childNodes]);
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const on = !chosen.delete(item.dataset.status);
    if (on) chosen.add(item.dataset.status);
    button.setAttribute("aria-pressed", on);
    show();
  });
  item.append(button);
}

// A task is selected in graph, timeline and table at once. A part of a picture that stands for several has them named.
const links = [...document.querySelectorAll(".graph a, .chart a, .names a")];
const tasksOf = link =>
  (link.dataset.tasks?.split(" ") ?? [link.hash ?? link.getAttribute("href")]).flatMap(range => {
    const [first, last = first] = range.replace("#t", "").split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => `t${first + i}`);
  });
let shownAt; // Where each task is shown beside the table; nobody needs it before something is selected.
const placesOf = id => {
  if (!shownAt) {
    shownAt = new Map();
    for (const link of links) {
      for (const task of tasksOf(link)) shownAt.set(task, [...(shownAt.get(task) ?? []), link]);
    }
  }
  return shownAt.get(id) ?? [];
};
// So far only what scrolls by itself is moved: the page stays where the reader is.
const reveal = link => {
  const frame = link.closest(".graph");
  if (!frame) return;
  const [inner, outer] = [link.getBoundingClientRect(), frame.getBoundingClientRect()];
  const past = (start, end, from, to) => (start < from ? start - from - 16 : end > to ? end - to + 16 : 0);
  frame.scrollLeft += past(inner.left, inner.right, outer.left, outer.right);
  frame.scrollTop += past(inner.top, inner.bottom, outer.top, outer.bottom);
};
// Of very many tasks the wait of the one that is selected is drawn: since when it could have started.
const showWait = link => {
  if (!link.dataset.ready) return;
  const [bar, line] = [link.querySelector("rect"), document.createElementNS(link.namespaceURI, "line")];
  const y = bar.getAttribute("y") - 1.5; // above the bars before it
  const places = { class: "wait now", x1: `${link.dataset.ready}%`, x2: bar.getAttribute("x"), y1: y, y2: y };
  Object.entries(places).forEach(([name, value]) => line.setAttribute(name, value));
  link.ownerSVGElement.append(line);
};
const strip = make("p", { id: "selection", hidden: true });
strip.setAttribute("role", "status");
document.querySelector("footer").before(strip);
const select = id => {
  document.querySelectorAll("[aria-current]").forEach(it => it.removeAttribute("aria-current"));
  document.querySelectorAll(".chart .wait.now").forEach(it => it.remove());
  declared.forEach(row => row.removeAttribute("aria-current"));
  const row = rowFor(id);
  strip.hidden = !row;
  if (!row) return;
  const places = placesOf(id);
  [row, ...places].forEach(it => it.setAttribute("aria-current", "true"));
  places.forEach(reveal);
  places.forEach(showWait);
  const jump = (label, go) => {
    const button = make("button", { type: "button", textContent: label });
    button.addEventListener("click", go);
    return button;
  };
  const buttons = [
    ["Graph", places.find(link => link.closest(".graph"))],
    ["Timeline", places.find(link => link.closest(".chart"))],
  ].filter(([, place]) => place);
  strip.replaceChildren(
    make("b", { textContent: row.querySelector("summary").textContent }),
    make("span", { textContent: row.cells[2].textContent || row.cells[1].textContent }),
    ...buttons.map(([label, place]) => jump(label, () => place.scrollIntoView({ block: "center" }))),
    jump("Table", () => unfold(row)),
  );
};
const pickedButton = make("button", { type: "button", hidden: true, title: "Show all tasks again" });
const pick = (tasks, name) => {
  picked = tasks && new Set(tasks);
  pickedButton.hidden = !picked;
  pickedButton.textContent = `${name} ✕`;
  show();
  if (picked) document.querySelector("#tasks").scrollIntoView();
};
pickedButton.addEventListener("click", () => pick(null));
document.querySelector("#shown").before(pickedButton);
for (const picture of document.querySelectorAll(".graph, .chart")) {
  const nodes = [...picture.querySelectorAll("a")];
  // One of them is reached by the key Tab, the others from there by arrows.
  const reach = node => nodes.forEach(it => it.setAttribute("tabindex", it === node ? 0 : -1));
  reach(nodes[0]);
  const take = node => {
    if (!node.dataset.tasks) return select(tasksOf(node)[0]);
    const label = node.querySelector(".label") ?? node.querySelector("title");
    pick(tasksOf(node), label.textContent);
  };
  picture.addEventListener("click", event => {
    const node = event.target.closest("a");
    if (!node) return;
    event.preventDefault();
    reach(node);
    take(node);
  });
  picture.addEventListener("keydown", event => {
    const node = event.target.closest("a");
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!node || !way) return;
    event.preventDefault();
    // The nearest one that way; what is aside counts double.
    const middle = it => {
      const { left, top, width, height } = it.getBoundingClientRect();
      return [left + width / 2, top + height / 2];
    };
    const [x, y] = middle(node);
    let nearest = [Infinity];
    for (const other of nodes) {
      const [dx, dy] = [middle(other)[0] - x, middle(other)[1] - y];
      const ahead = dx * way[0] + dy * way[1];
      const far = ahead + 2 * Math.abs(dx * way[1] + dy * way[0]);
      if (ahead > 1 && far < nearest[0]) nearest = [far, other];
    }
    if (!nearest[1]) return;
    reach(nearest[1]);
    nearest[1].focus({ preventScroll: false });
    if (!nearest[1].dataset.tasks) take(nearest[1]);
  });
}
body.addEventListener("click", event => select(event.target.closest("tr").id));
addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  select(null);
  if (picked) pick(null);
});

// A link to a task selects and unfolds it, and brings it back where it was filtered out or not yet scrolled to.
const unfoldTarget = () => {
  const row = rowFor(location.hash.slice(1));
  if (!row) return;
  select(row.id);
  unfold(row);
};
const unfold = row => {
  if (!fitting.includes(row)) {
    fitting = [row, ...fitting];
    body.prepend(row);
  }
  addRows(fitting.indexOf(row) + BATCH);
  row.querySelector("details").open = true;
  row.scrollIntoView();
};
addEventListener("hashchange", unfoldTarget);
unfoldTarget();

// Light or dark: as the system has it, until somebody chooses.
const theme = make("button", { type: "button", id: "theme" });
const system = matchMedia("(prefers-color-scheme: dark)");
let isDark = system.matches;
let isChosen = false;
const label = () => (theme.textContent = isDark ? "Light" : "Dark");
system.addEventListener("change", () => {
  if (!isChosen) isDark = system.matches;
  label();
});
theme.addEventListener("click", () => {
  isDark = !isDark;
  isChosen = true;
  document.documentElement.style.colorScheme = isDark ? "dark" : "light";
  label();
});
label();
document.querySelector("header").append(theme);

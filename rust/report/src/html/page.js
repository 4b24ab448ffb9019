// What the page can do beyond being read: sort, search, filter by state, light or dark. All text is in the page already.
"use strict";

const make = (tag, properties, children = []) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const count = n => n.toLocaleString("en");

// The table shows the rows that fit, in the order asked for. Of very many only the first are in the document, and more
// come as they are scrolled to: so thousands sort and filter at once.
const BATCH = 400;
const body = document.querySelector("#tasks tbody");
const declared = [...body.rows];
const search = document.querySelector("#search");
const chosen = new Set();
let ordered = declared;
let fitting = declared;

const textOf = row => (row.searched ??= row.textContent.toLowerCase());
const fits = words => row =>
  (!chosen.size || chosen.has(row.className)) && words.every(word => textOf(row).includes(word));
const addRows = to => body.append(...fitting.slice(body.rows.length, to));
const show = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  fitting = words.length || chosen.size ? ordered.filter(fits(words)) : ordered;
  body.replaceChildren(...fitting.slice(0, BATCH));
  document.querySelector("#shown").textContent =
    fitting.length < declared.length
      ? `${count(fitting.length)} of ${count(declared.length)} tasks`
      : `${count(declared.length)} tasks`;
  document.querySelector("#none").hidden = fitting.length > 0;
};
const atEnd = new IntersectionObserver(
  (looks) => {
    // The newest look counts, and the end is looked at anew: it may be in view still.
    if (!looks.at(-1).isIntersecting || body.rows.length >= fitting.length) return;
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
show();

// Each head sorts: one way, the other way, as declared. Numbers start with the greatest; what has none stays at the end.
const { compare } = new Intl.Collator("en", { numeric: true });
const numberIn = column => ({ cells: { [column]: cell } }) => parseFloat(cell.dataset.v ?? cell.textContent);
const textIn = column => ({ cells: { [column]: cell } }) => (cell.querySelector("summary") ?? cell).textContent;
const sortBy = (valueOf, byValue) => {
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
    if (!order) sortBy(() => 0, () => 0);
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

// A link to a task unfolds it, and brings it back where it was filtered out or not yet scrolled to.
const unfoldTarget = () => {
  const row = declared.find(row => `#${row.id}` === location.hash);
  if (!row) return;
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

// The widget of a run: where it stands, its picture, and buttons. It only asks the kernel, which decides, and loads nothing.
//
// Names, prompts and messages are put in as text. The picture is markup of the kernel's making, in which every name is escaped.

const ASKED = "asked; the kernel answers as soon as its cell is done";

/** An element with text in it, and what else is set on it. */
function made(tag, text = "", set = {}) {
  const element = Object.assign(document.createElement(tag), set);
  element.textContent = text;
  return element;
}

/** Light or dark, by the colour in which the page around it writes: frames of notebooks hide everything else. */
function tellTheme(element) {
  const [red, green, blue] = (getComputedStyle(element).color.match(/[\d.]+/g) ?? []).map(Number);
  // Without a place on a page yet, it has no colour.
  if (blue !== undefined) {
    element.dataset.theme = red * 0.3 + green * 0.6 + blue * 0.1 > 128 ? "dark" : "light";
  }
}

/** The row of a task that waits for an answer, or that may be ended. */
function row(task, ask) {
  const element = made("li");
  const words = `${task.sign} ${task.name} ${task.status}`;
  const send = (kind, more = {}) => ask({ ask: kind, task: task.place, ...more }, element);
  element.append(made("span", task.prompt === null ? words : `${words}: ${task.prompt}`));
  const button = (text, onclick) => {
    const it = made("button", text, { type: "button", onclick });
    it.setAttribute("aria-label", `${text} ${task.name}`);
    element.append(it);
  };
  if (task.prompt === null) {
    button("Cancel", () => send("cancel"));
    return element;
  }
  const wants = task.wants_value ? "Value: JSON or text" : "Comment";
  const input = made("input", "", { type: "text", placeholder: wants });
  input.setAttribute("aria-label", `${wants}, for ${task.name}`);
  // The notebook would take keys for its own.
  for (const kind of ["keydown", "keypress", "keyup"]) {
    input.addEventListener(kind, (event) => event.stopPropagation());
  }
  element.append(input);
  if (task.wants_value) {
    button("Send", () => send("signal", { value: input.value }));
  } else {
    button("Approve", () => send("approve", { comment: input.value }));
  }
  button("Reject", () => send("reject", { comment: task.wants_value ? "" : input.value }));
  return element;
}

function render({ model, el }) {
  const root = made("div", "", { className: "dirigent-widget" });
  const line = made("p");
  const words = made("span");
  line.setAttribute("role", "status");
  const run = made("button", "", { type: "button" });
  const tasks = made("ul");
  // Pages of notebooks have strong opinions on lists.
  tasks.style.padding = "0";
  const notice = made("p", "", { className: "dirigent-notice" });
  notice.setAttribute("role", "status");
  const picture = made("div", "", { className: "dirigent-picture" });
  line.append(words, " ", run);
  root.append(line, notice, tasks, picture);
  el.append(root);

  const ask = (message, around) => {
    for (const button of around.querySelectorAll("button")) button.disabled = true;
    notice.textContent = ASKED;
    model.send(message);
  };
  run.onclick = () => ask({ ask: run.dataset.ask }, line);

  /** Rows by what they show: one that is still true stays as it is, with what is being typed into it. */
  const rows = new Map();
  let told = -1;
  const stands = () => {
    const now = JSON.parse(model.get("stands") || "{}");
    words.textContent = now.line ?? "";
    notice.textContent = now.notice ?? "";
    run.hidden = !now.ask;
    run.textContent = now.ask === "retry" ? "Run again what failed" : "Cancel the run";
    run.dataset.ask = now.ask ?? "";
    if (now.answers !== told) {
      // The kernel has answered: what it refused may be asked again.
      told = now.answers;
      for (const button of root.querySelectorAll("button")) button.disabled = false;
    }
    const wanted = new Map((now.tasks ?? []).map((task) => [JSON.stringify(task), task]));
    for (const [key, element] of rows) {
      if (!wanted.has(key)) {
        element.remove();
        rows.delete(key);
      }
    }
    [...wanted].forEach(([key, task], place) => {
      if (!rows.has(key)) rows.set(key, row(task, ask));
      // What is moved loses the focus.
      const there = tasks.children[place] ?? null;
      if (there !== rows.get(key)) tasks.insertBefore(rows.get(key), there);
    });
    tasks.hidden = rows.size === 0;
  };
  const draw = () => {
    const open = [...picture.querySelectorAll("details")].map((details) => details.open);
    picture.innerHTML = model.get("picture");
    picture.querySelectorAll("details").forEach((details, place) => {
      details.open = open[place] ?? false;
    });
    requestAnimationFrame(() => tellTheme(root));
  };
  model.on("change:stands", stands);
  model.on("change:picture", draw);
  stands();
  draw();
  return () => {
    model.off("change:stands", stands);
    model.off("change:picture", draw);
  };
}

export default { render };

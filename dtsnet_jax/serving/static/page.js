import { Limits } from "./limits.js";

const FRAME = 3; // pixels around and between the two halves of a picture
const AT_ONCE = 4; // photographs that are sent side by side
const MOST = 200; // parts in the list
const EVERY = 2000; // milliseconds between two looks for new parts
const get = (id) => document.getElementById(id);
const limits = new Limits(showChange);
const parts = new Map(); // by number
let newest = 0, chosen = null;

function say(text) {
  get("message").textContent = text;
}

/** Asks the server; what it refuses is said in its own sentence. */
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer");
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok && content.error) {
    const error = new Error(content.error);
    error.retryAfter = Number(response.headers.get("Retry-After"));
    throw error;
  }
  return content;
}

function send(path, content) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "PUT", headers, body: JSON.stringify(content) });
}

// Photographs that are dropped or chosen

async function upload(files) {
  const waiting = [...files], total = waiting.length;
  let done = 0, failed = "";
  const work = async () => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      try {
        await uploadOne(file);
      } catch (error) {
        failed = `${file.name}: ${error.message}`;
      }
      say(failed || `${++done} of ${total} sent`);
    }
  };
  say(`sending ${total}`);
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  await look();
}

async function uploadOne(file) {
  const body = new FormData();
  body.append("files", file);
  const path = `/predict?detector=${encodeURIComponent(get("detector").value)}`;
  for (;;) {
    const response = await fetch(path, { method: "POST", body });
    const content = await response.json().catch(() => ({}));
    if (response.status === 503) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await new Promise((resume) => setTimeout(resume, 1000 * seconds));
    } else if (Array.isArray(content)) {
      await look();
      choose(content[0].part);
      return;
    } else throw new Error(content.error ?? `status ${response.status}`);
  }
}

// The list

async function look() {
  const found = await ask(`/parts?after=${newest}`);
  for (const part of found.reverse()) {
    parts.set(part.part, part);
    newest = part.part;
  }
  for (const number of [...parts.keys()].slice(0, -MOST)) parts.delete(number);
  if (found.length) {
    showParts();
    if (chosen === null) choose(newest);
  }
}

function showParts() {
  const all = [...parts.values()].reverse();
  const wanted = document.querySelector("#filter input:checked").value;
  for (const input of document.querySelectorAll("#filter input")) {
    const count = all.filter((part) => !input.value || part.outcome === input.value).length;
    input.parentElement.querySelector(".count").textContent = count;
  }
  const focused = document.activeElement?.dataset?.part;
  const shown = all.filter((part) => !wanted || part.outcome === wanted);
  get("parts").replaceChildren(...shown.map(entry));
  if (focused) document.querySelector(`[data-part="${focused}"]`)?.focus();
  const last = all.find((part) => part.detector === get("detector").value && !part.error);
  get("drift").hidden = !last?.drift;
}

function entry(part) {
  const item = document.createElement("li"), button = document.createElement("button");
  button.type = "button";
  button.dataset.part = part.part;
  button.setAttribute("aria-current", part.part === chosen);
  const cells = [part.outcome, name(part), part.score === null ? "" : part.score.toPrecision(4)];
  for (const text of cells) {
    const cell = document.createElement("span");
    cell.textContent = text;
    button.append(cell);
  }
  button.firstChild.className = `badge ${part.outcome}`;
  if (part.label) button.firstChild.textContent += " ✎";
  button.title = part.file;
  button.addEventListener("click", () => choose(part.part));
  item.append(button);
  return item;
}

function name(part) {
  return part.file.split(/[\\/]/).pop();
}

function moveInList(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...get("parts").querySelectorAll("button")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (!next) return;
  next.focus();
  choose(Number(next.dataset.part));
}

// The part that is shown large

function choose(number) {
  chosen = number;
  const part = parts.get(number);
  if (!part) return;
  for (const button of get("parts").querySelectorAll("button")) {
    button.setAttribute("aria-current", Number(button.dataset.part) === number);
  }
  get("nothing").hidden = true;
  get("chosen").hidden = false;
  get("name").textContent = name(part);
  get("outcome").textContent = part.outcome === "scored" ? "" : part.outcome;
  get("outcome").className = `badge ${part.outcome}`;
  get("figures").textContent = part.error ? "" : figures(part);
  get("error").hidden = !part.error;
  get("error").textContent = part.error ?? "";
  get("labels").hidden = Boolean(part.error);
  for (const button of document.querySelectorAll("#labels button")) {
    button.setAttribute("aria-pressed", button.dataset.label === part.label);
  }
  limits.markScore(part.detector === get("detector").value ? part.score : null);
  get("picture").hidden = true;
  if (part.pictured) showPicture(part);
}

function figures(part) {
  const told = [`score ${part.score.toPrecision(4)}`];
  if (part.p_value !== null) told.push(`p-value ${part.p_value.toPrecision(2)}`);
  told.push(new Date(part.at).toLocaleString());
  if (part.clipped) told.push("values beyond the bit depth of training");
  return told.join(" · ");
}

/** The picture holds photograph and heat map side by side; each half is shown over the other. */
function showPicture(part) {
  const image = get("photograph"), heat = get("heatmap");
  image.onload = () => {
    if (chosen !== part.part) return;
    const width = (image.naturalWidth - 3 * FRAME) / 2, height = image.naturalHeight - 2 * FRAME;
    get("view").style.aspectRatio = `${width} / ${height}`;
    for (const [half, left] of [[image, FRAME], [heat, 2 * FRAME + width]]) {
      half.style.width = `${(100 * image.naturalWidth) / width}%`;
      half.style.left = `${(-100 * left) / width}%`;
      half.style.top = `${(-100 * FRAME) / height}%`;
    }
    get("picture").hidden = false;
  };
  image.alt = name(part);
  heat.alt = `heat map of ${name(part)}`;
  image.src = heat.src = `/parts/${part.part}/picture`;
}

async function correct(button) {
  const pressed = button.getAttribute("aria-pressed") === "true";
  const part = await send(`/parts/${chosen}/label`, { label: pressed ? "" : button.dataset.label });
  parts.set(part.part, part);
  say(pressed ? "taken back" : "noted in corrections.csv");
  showParts();
  choose(part.part);
}

// The limits

async function showDetector() {
  const detector = await ask(`/detectors/${encodeURIComponent(get("detector").value)}`);
  showLimits(detector);
  choose(chosen);
  showParts();
}

function showLimits(detector) {
  limits.show(detector);
  get("limit-buttons").hidden = detector.reject_score === null;
  describe(detector.description);
  get("has-review").checked = detector.review > 0;
  get("save").disabled = get("undo").disabled = true;
}

function describe(lines) {
  get("description").replaceChildren(...lines.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

function showChange() {
  get("save").disabled = get("undo").disabled = !limits.isChanged;
  get("has-review").checked = limits.rates.review > 0;
  describe(limits.isChanged ? ["not saved yet: parts are still decided upon by the old limits"] : limits.detector.description);
}

async function saveLimits() {
  const path = `/detectors/${encodeURIComponent(limits.detector.name)}/limits`;
  const { reject, review } = limits.rates;
  showLimits(await send(path, { false_alarms: reject, review }));
  say("saved; from now on parts are decided upon by these limits");
}

/** Says what goes wrong in what an event began. */
function guarded(action) {
  return (event) => Promise.resolve(action(event)).catch((error) => say(error.message));
}

const drop = get("drop");
for (const type of ["dragover", "dragleave", "drop"]) {
  addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", type === "dragover");
  });
}
addEventListener("drop", guarded((event) => upload(event.dataTransfer.files)));
get("files").addEventListener("change", guarded((event) => upload(event.target.files)));
get("detector").addEventListener("change", guarded(showDetector));
get("filter").addEventListener("change", showParts);
get("parts").addEventListener("keydown", moveInList);
get("opacity").addEventListener("input", (event) => {
  get("heat").style.opacity = event.target.value / 100;
});
for (const button of document.querySelectorAll("#labels button")) {
  button.addEventListener("click", guarded(() => correct(button)));
}
get("has-review").addEventListener("change", (event) => limits.setReview(event.target.checked));
get("save").addEventListener("click", guarded(saveLimits));
get("undo").addEventListener("click", () => showLimits(limits.detector));

await guarded(showDetector)();
await guarded(look)();
setInterval(guarded(look), EVERY);

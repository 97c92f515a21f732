import { Limits } from "./limits.js";

const FRAME = 3; // pixels around and between the two halves of a picture
const AT_ONCE = 4; // photographs that are sent side by side
const MOST = 200; // parts in the list
const EVERY = 2000; // milliseconds between two looks for new parts
const get = (id) => document.getElementById(id);
const limits = new Limits(showChange);
const parts = new Map(); // by number
const items = new Map(); // of the list, by the number of their part
const UNREACHABLE = "the server does not answer";
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
    throw new Error(UNREACHABLE);
  }
  const content = await response.json().catch(() => null);
  if (response.ok || Array.isArray(content)) return content; // of /predict: what is wrong with each
  const error = new Error(content?.error ?? `status ${response.status}`);
  error.retryAfter = Number(response.headers.get("Retry-After"));
  throw error;
}

function send(path, content) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "PUT", headers, body: JSON.stringify(content) });
}

function detectorPath() {
  return `/detectors/${encodeURIComponent(get("detector").value)}`;
}

// Photographs that are dropped or chosen

async function upload(files) {
  const waiting = [...files], total = waiting.length, before = chosen;
  const path = `/predict?detector=${encodeURIComponent(get("detector").value)}`;
  let done = 0, failed = 0, last = "";
  const work = async () => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      try {
        await uploadOne(path, file);
        done++;
      } catch (error) {
        failed++;
        last = `${file.name}: ${error.message}`;
      }
      say(`${done} of ${total} sent` + (failed ? `, ${failed} failed, the last: ${last}` : ""));
    }
  };
  say(`sending ${total}`);
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  await look();
  if (chosen === before && newest) choose(newest); // unless another one was chosen meanwhile
}

async function uploadOne(path, file) {
  const body = new FormData();
  body.append("files", file);
  for (;;) {
    try {
      return await ask(path, { method: "POST", body });
    } catch (error) {
      if (!error.retryAfter) throw error;
      await new Promise((resume) => setTimeout(resume, 1000 * error.retryAfter));
    }
  }
}

// The list

async function look() {
  const found = await ask(`/parts?after=${newest}`);
  if (get("message").textContent === UNREACHABLE) say("");
  for (const part of found.reverse()) {
    if (parts.has(part.part)) continue; // another look was quicker
    parts.set(part.part, part);
    items.set(part.part, newItem(part.part));
    get("parts").prepend(items.get(part.part));
    newest = Math.max(newest, part.part);
  }
  for (const number of [...parts.keys()].slice(0, -MOST)) {
    items.get(number).remove();
    parts.delete(number);
    items.delete(number);
  }
  if (!found.length) return;
  showParts();
  if (chosen === null) choose(newest);
}

function showParts() {
  const wanted = document.querySelector("#filter input:checked").value;
  const all = [...parts.values()];
  for (const input of document.querySelectorAll("#filter input")) {
    const count = all.filter((part) => !input.value || part.outcome === input.value).length;
    input.parentElement.querySelector(".count").textContent = count;
  }
  for (const part of all) {
    const item = items.get(part.part);
    item.hidden = Boolean(wanted) && part.outcome !== wanted;
    fill(item.firstChild, part);
  }
  const last = all.findLast((part) => part.detector === get("detector").value && !part.error);
  get("drift").hidden = !last?.drift;
}

function newItem(number) {
  const item = document.createElement("li"), button = document.createElement("button");
  button.type = "button";
  button.dataset.part = number;
  for (let cell = 0; cell < 3; cell++) button.append(document.createElement("span"));
  button.addEventListener("click", () => choose(number));
  item.append(button);
  return item;
}

function fill(button, part) {
  const [outcome, file, score] = button.children;
  outcome.className = `badge ${part.outcome}`;
  outcome.textContent = part.outcome + (part.label ? " ✎" : "");
  file.textContent = name(part);
  score.textContent = part.score === null ? "" : part.score.toPrecision(4);
  button.title = part.file;
  button.setAttribute("aria-current", part.part === chosen);
}

function name(part) {
  return part.file.split(/[\\/]/).pop();
}

function moveInList(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...get("parts").querySelectorAll("li:not([hidden]) button")];
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
  for (const [other, item] of items) {
    item.firstChild.setAttribute("aria-current", other === number);
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
  showLabel(part);
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
  image.onerror = () => {
    if (chosen === part.part) say("the picture is no longer kept");
  };
  image.alt = name(part);
  heat.alt = `heat map of ${name(part)}`;
  image.src = heat.src = `/parts/${part.part}/picture`;
}

async function correct(button) {
  const pressed = button.getAttribute("aria-pressed") === "true", number = chosen;
  const label = pressed ? "" : button.dataset.label;
  const part = await send(`/parts/${number}/label`, { label });
  parts.set(number, part);
  say(pressed ? "taken back" : "noted in corrections.csv");
  showParts();
  if (chosen === number) showLabel(part);
}

function showLabel(part) {
  for (const button of document.querySelectorAll("#labels button")) {
    button.setAttribute("aria-pressed", button.dataset.label === part.label);
  }
}

// The limits

/** Shows a detector's limits, unless another detector was chosen while they came. */
async function showDetector() {
  get("limits").hidden = true;
  const detector = await ask(detectorPath());
  if (detector.name !== get("detector").value) return;
  showLimits(detector);
  showParts();
  const part = parts.get(chosen);
  limits.markScore(part?.detector === detector.name ? part.score : null);
}

function showLimits(detector) {
  get("limits").hidden = false;
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
  const { reject, review } = limits.rates;
  const detector = await send(`${detectorPath()}/limits`, { false_alarms: reject, review });
  if (detector.name === get("detector").value) showLimits(detector);
  say(`saved; what is sent here to ${detector.name} is decided upon by these limits from now on`);
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
get("files").addEventListener("change", guarded((event) => {
  const files = [...event.target.files];
  event.target.value = ""; // so that the same ones can be chosen again
  return upload(files);
}));
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

// The histogram of good photographs' scores, with limits that are dragged or moved by arrow keys.

const WIDTH = 600, HEIGHT = 220, TOP = 34, BOTTOM = 24, BINS = 30;
const svg = document.getElementById("histogram");

function element(name, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

function percent(rate) {
  return `${+(100 * rate).toPrecision(3)} %`;
}

export class Limits {
  /** @param changed is called when a limit was moved. */
  constructor(changed) {
    this.changed = changed;
    this.detector = null;
    this.score = null; // of the part that is shown
  }

  /** Shows a detector as the server describes it. */
  show(detector) {
    this.detector = detector;
    this.rates = { reject: detector.false_alarms, review: detector.review };
    this.scores = { reject: detector.reject_score, review: detector.review_score };
    this.draw();
  }

  get isChanged() {
    const { false_alarms, review } = this.detector;
    return this.rates.reject !== false_alarms || this.rates.review !== review;
  }

  markScore(score) {
    this.score = score;
    if (this.detector) this.draw();
  }

  /** Turns the review of parts on or off. */
  setReview(on) {
    const wanted = Math.min(5 * this.rates.reject, 0.9);
    const choice = this.detector.choices.find(({ rate }) => rate >= wanted);
    if (on && choice) this.move("review", choice);
    else {
      this.rates.review = 0;
      this.scores.review = this.scores.reject;
      this.draw();
      this.changed();
    }
  }

  /** Moves a limit to one of the choices; the other one makes room. */
  move(which, { rate, score }) {
    this.rates[which] = rate;
    this.scores[which] = score;
    if (this.rates.review && this.rates.review < this.rates.reject) {
      const other = which === "reject" ? "review" : "reject";
      this.rates[other] = rate;
      this.scores[other] = score;
    }
    if (!this.rates.review) this.scores.review = this.scores.reject;
    this.draw();
    this.changed();
  }

  draw() {
    const { calibration_scores: good, choices } = this.detector;
    svg.replaceChildren();
    if (!good.length || this.scores.reject === null) return;
    const ends = [...good, this.scores.reject, this.scores.review, this.score ?? good[0]];
    const low = Math.min(...ends), high = Math.max(...ends, ...choices.map((c) => c.score));
    const span = high - low || 1;
    this.place = (score) => 12 + ((WIDTH - 24) * (score - low)) / span;
    this.at = (x) => low + ((x - 12) * span) / (WIDTH - 24);
    const floor = HEIGHT - BOTTOM;
    const counts = new Array(BINS).fill(0);
    for (const score of good) counts[Math.min(BINS - 1, Math.floor((BINS * (score - low)) / span))]++;
    const most = Math.max(...counts), width = (WIDTH - 24) / BINS;
    counts.forEach((count, i) => {
      const height = (count / most) * (floor - TOP);
      const box = { x: 12 + i * width, y: floor - height, width: width - 1, height };
      svg.append(element("rect", { class: "bar", ...box }));
    });
    svg.append(element("line", { class: "axis", x1: 12, x2: WIDTH - 12, y1: floor, y2: floor }));
    const x = this.score === null ? WIDTH : this.place(this.score);
    const side = x > WIDTH / 2 ? { x: 12, "text-anchor": "start" } : { x: WIDTH - 12, "text-anchor": "end" };
    svg.append(element("text", { ...side, y: HEIGHT - 6 }, `scores of ${good.length} good photographs`));
    if (this.score !== null) {
      const points = `${x - 7},${floor + 13} ${x + 7},${floor + 13} ${x},${floor}`;
      svg.append(element("polygon", { class: "now", points }));
    }
    if (this.rates.review) this.drawLimit("review", "review", floor);
    this.drawLimit("reject", "NG", floor);
  }

  drawLimit(which, label, floor) {
    const x = this.place(this.scores[which]), rate = this.rates[which];
    const line = element("g", {
      class: `limit ${label}`, tabindex: 0, role: "slider", "data-limit": which,
      "aria-label": `limit of ${label}`, "aria-valuemin": 0.1, "aria-valuemax": 90,
      "aria-valuenow": 100 * rate, "aria-valuetext": `${percent(rate)} false alarms`,
    });
    line.append(element("rect", { x: x - 10, y: 0, width: 20, height: floor, "fill-opacity": 0, stroke: "none" }));
    line.append(element("line", { x1: x, x2: x, y1: TOP - 12, y2: floor, "stroke-width": 2 }));
    line.append(element("circle", { cx: x, cy: TOP - 12, r: 5 }));
    const left = which === "review" ? x > 110 : x > WIDTH - 90; // of its line, not over the other one
    const anchor = left ? "end" : "start", y = which === "reject" ? 11 : 26;
    const text = element("text", { x: x + (left ? -9 : 9), y, "text-anchor": anchor }, `${label} ${percent(rate)}`);
    line.append(text);
    line.addEventListener("pointerdown", (event) => this.drag(which, event));
    line.addEventListener("keydown", (event) => this.press(which, event));
    svg.append(line);
  }

  drag(which, event) {
    event.preventDefault();
    const move = (moved) => {
      const box = svg.getBoundingClientRect();
      const score = this.at(((moved.clientX - box.left) * WIDTH) / box.width);
      const far = (choice) => Math.abs(choice.score - score);
      this.move(which, this.detector.choices.reduce((a, b) => (far(b) < far(a) ? b : a)));
    };
    const end = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      this.focus(which);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }

  press(which, event) {
    const step = { ArrowRight: -1, ArrowUp: -1, ArrowLeft: 1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const { choices } = this.detector, rate = this.rates[which];
    const beyond = choices.filter((c) => (step > 0 ? c.rate > rate : c.rate < rate));
    if (beyond.length) this.move(which, step > 0 ? beyond[0] : beyond[beyond.length - 1]);
    this.focus(which);
  }

  focus(which) {
    svg.querySelector(`[data-limit="${which}"]`)?.focus();
  }
}

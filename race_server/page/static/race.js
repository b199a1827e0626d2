// The live page of a race: what the newest message says, on the screen.

import { Histogram, Rolling } from "./charts.js";
import { Link } from "./link.js";
import { Orders } from "./orders.js";
import {
  PHASES, addLines, byId, fill, made, phaseText, put, tellDriver, tellLaps, tellLatency,
  tellNow, tellState, tellTeam,
} from "./panels.js";

const CHART_MS = 100;
const LOOK_MS = 250;
const REFUSALS = {
  403: "The token of this page is not the right one (any more). Open the address that donkey-rl "
    + "race has printed.",
  421: "This server is known by another name: open the address that donkey-rl race has printed.",
  429: "Too many wrong tokens came from here. Wait for a minute.",
};

let message = null;
let arrived = 0;
let linkState = "connecting";
let refusal = 0;
let historyS = 30;
let freshS = 2;
let edges = [];
let samples = [];
let charted = "";
let lastDrawn = 0;

const race = {
  car: () => chosen()?.status.car ?? "",
  isBraked: () => Boolean(chosen()?.braked),
  key: () => link.key,
  canOrder: () => isLive() && Boolean(chosen()) && ageS() <= freshS,
  // What can only slow cars down reaches silent ones too.
  canSlow: () => isLive() && Boolean(chosen()),
  choose: (index) => { const car = message?.cars[index]; if (car) choose(car.status.car); },
  changed: () => tellOrders(),
};

const link = new Link(take, (state, code = 0) => { linkState = state; refusal = code; look(); });
const orders = new Orders(race);
const least = (low, high) => (_, min, max) => [
  Math.min(low, min ?? low), Math.max(high, max === null || max === undefined ? high : max * 1.05),
];
const charts = [
  new Rolling("speed-chart", ["speed"], least(0, 1)),
  new Rolling("command-chart", ["steering", "throttle", "brake"], () => [-1.05, 1.05]),
  new Rolling("latency-chart", ["round_trip_ms", "frame_to_command_ms"], least(0, 20)),
];
const histogram = new Histogram("histogram");

function chosen() {
  if (!message) return null;
  const cars = message.cars;
  return cars.find((each) => each.status.car === (link.car || message.car)) || cars[0] || null;
}

function isLive() {
  return linkState === "open" && Boolean(message);
}

// How long the chosen car has not reported (s).
function ageS() {
  const car = chosen();
  return car ? message.now - car.at + (performance.now() - arrived) / 1000 : Infinity;
}

// How old the picture and the speed of the chosen car are (s).
function seenS() {
  const frame = chosen()?.status.frame_age_s ?? null;
  return frame === null ? ageS() : frame + ageS();
}

function choose(name) {
  if (!message?.cars.some((each) => each.status.car === name)) return;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  link.watch(name);
  tell();
}

// What comes

function take(told) {
  if (told.key) {
    historyS = told.history_s;
    freshS = told.fresh_s;
    edges = told.edges_ms;
    byId("log").replaceChildren();
  }
  message = told;
  arrived = performance.now();
  addLines(told.log);
  keepSample(told);
  tell();
}

function keepSample(told) {
  if (told.history) {
    const names = ["at", "speed", "steering", "throttle", "brake", "round_trip_ms",
      "frame_to_command_ms"];
    const sent = told.history.map((row) => Object.fromEntries(
      names.map((name, index) => [name, row[index]]),
    ));
    // A server that was started again knows less of the past than this page.
    const first = sent.length ? sent[0].at : -Infinity;
    const kept = charted === told.car ? samples.filter((each) => each.at < first) : [];
    samples = [...kept, ...sent];
    charted = told.car;
    return;
  }
  const car = told.cars.find((each) => each.status.car === told.car);
  if (!car || told.car !== charted) return;
  if (samples.length && samples[samples.length - 1].at >= car.at) return;
  const { status } = car;
  const { latency } = status;
  samples.push({
    at: car.at, speed: status.speed, steering: status.steering, throttle: status.throttle,
    brake: status.brake, round_trip_ms: latency.round_trip_ms,
    frame_to_command_ms: latency.frame_to_command_ms ? latency.frame_to_command_ms[0] : null,
  });
  while (samples.length && told.now - samples[0].at > historyS) samples.shift();
}

// What is shown

function tell() {
  const car = chosen();
  tellTabs();
  if (car) {
    const { status } = car;
    put("phase", phaseText(status));
    byId("phase").dataset.phase = status.phase;
    put("reason", status.reason);
    byId("out").hidden = !status.disqualified;
    tellNow(status, seenS() <= freshS);
    tellLaps(status);
    tellTeam(message.cars, choose);
    tellState(status);
    tellDriver(status);
    tellLatency(status);
    tellWarnings();
    document.title = `${PHASES[status.phase]?.[0] ?? ""} ${status.car} - donkey-rl race`;
  }
  look();
  draw();
}

function tellTabs() {
  const cars = message.cars.map(({ status }) => [status.car, status.phase]);
  const now = chosen()?.status.car;
  byId("stop-all").hidden = cars.length < 2;
  fill("cars", [cars, now], () => cars.map(([name, phase]) => {
    const tab = made("button", `${PHASES[phase]?.[0] ?? ""} ${name}`);
    tab.type = "button";
    tab.role = "tab";
    tab.dataset.car = name;
    tab.title = PHASES[phase]?.[1] ?? phase;
    tab.ariaSelected = String(name === now);
    tab.addEventListener("click", () => choose(name));
    return tab;
  }));
}

function tellWarnings() {
  const all = message.cars.flatMap(({ status }) => status.warnings.map((text) => (
    message.cars.length > 1 ? `${status.car}: ${text}` : text
  )));
  fill("warnings", all, () => all.map((text) => made("li", `\u26a0 ${text}`)));
}

function draw() {
  const now = performance.now();
  if (document.hidden || now - lastDrawn < CHART_MS) return;
  lastDrawn = now;
  const car = chosen();
  if (!car) return;
  const at = message.now + (now - arrived) / 1000;
  for (const chart of charts) chart.show(samples, at);
  histogram.show(car.status.latency.histogram, edges, car.status.latency.trained_ms);
}

// How the link is, and what may be ordered

function banner() {
  if (linkState === "refused") return REFUSALS[refusal] || "This page is not let in.";
  if (linkState === "connecting") return "Connecting to the race server ...";
  if (linkState !== "open") {
    return "No connection to the race server, so no orders from here. Trying again ...";
  }
  if (!message) return "";
  if (!message.cars.length) return "No car has reported yet.";
  if (ageS() > freshS) {
    return `${race.car()} does not report any more: what you see is old, and only STOP and BRAKE go to it.`;
  }
  return "";
}

function look() {
  const text = banner();
  byId("banner").hidden = !text;
  put("banner-text", text);
  byId("again").hidden = linkState !== "refused";
  const isOld = Boolean(message) && (!isLive() || ageS() > freshS);
  document.body.dataset.state = !isLive() ? "down" : isOld ? "old" : "live";
  put("link", { live: "\u25cf live", old: "\u25d1 silent", down: "\u25cb no connection" }[
    document.body.dataset.state]);
  const isBlind = isOld || seenS() > freshS;
  document.body.dataset.picture = isBlind ? "old" : "new";
  byId("blind").hidden = !isBlind;
  if (isBlind && Number.isFinite(seenS())) put("blind", `${seenS().toFixed(0)} s old`);
  tellOrders();
}

function tellOrders() {
  const can = race.canOrder();
  const status = chosen()?.status;
  byId("go").disabled = !can || status.go;
  byId("stop").disabled = !race.canSlow();
  byId("brake").disabled = race.isBraked() ? !can : !race.canSlow();
  byId("stop-all").disabled = !isLive();
  byId("change-driver").disabled = !can || status.drivers.length < 2;
  const isBraked = race.isBraked();
  byId("brake").setAttribute("aria-pressed", String(isBraked));
  put("brake-text", isBraked ? "LET GO" : "BRAKE");
  const { trouble } = orders;
  byId("why").classList.toggle("trouble", Boolean(trouble) || !can);
  put("why", trouble || why(status, can, isBraked));
}

function why(status, can, isBraked) {
  if (!race.canSlow()) return "Buttons are off: there is no connection.";
  if (!can) return "There is no fresh news of the car: it can be stopped and braked only.";
  if (isBraked) return "The brake is held. Tap LET GO to drive on.";
  if (status.go) return "GO is given. BRAKE: hold, or tap to keep it on.";
  return "Waits for GO. BRAKE: hold, or tap to keep it on.";
}

byId("again").addEventListener("click", () => { linkState = "connecting"; look(); link.connect(); });
byId("cars").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.code];
  if (!step || !message) return;
  const names = message.cars.map((each) => each.status.car);
  choose(names[(names.indexOf(race.car()) + step + names.length) % names.length]);
  byId("cars").querySelector("[aria-selected=true]")?.focus();
});
addEventListener("hashchange", () => choose(decodeURIComponent(location.hash.slice(1))));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of [...charts, histogram]) chart.chart.redraw();
});
setInterval(() => { link.check(); look(); draw(); }, LOOK_MS);

// The token is in a cookie by now, and should not be read over a shoulder.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);
link.car = decodeURIComponent(location.hash.slice(1));
link.connect();

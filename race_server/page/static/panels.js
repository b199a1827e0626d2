// The panels beside the camera: what is told in words and tables. Everything goes in as text,
// never as markup: names and reasons come from elsewhere.

export const byId = (id) => document.getElementById(id);

export function put(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

export function made(tag, text, kind = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

// Replaces an element's children where they are to be others.
export function fill(id, key, make) {
  const element = byId(id);
  const shown = JSON.stringify(key);
  if (element.dataset.shown === shown) return;
  element.dataset.shown = shown;
  element.replaceChildren(...make());
}

const known = (value) => value !== null && value !== undefined;
export const seconds = (value) => (known(value) ? `${value.toFixed(2)} s` : "-");
export const milliseconds = (value) => (known(value) ? `${value.toFixed(0)} ms` : "-");
const fine = (value) => `${value.toFixed(value < 10 ? 1 : 0)}`;
const signed = (value) => (
  known(value) ? `${value <= -0.005 ? "\u2212" : ""}${Math.abs(value).toFixed(2)}` : "-"
);
const gap = (time, best) => {
  if (!known(time) || !known(best)) return "-";
  return time - best < 0.0005 ? "\u2605 best" : `+${(time - best).toFixed(2)} s`;
};

export const PHASES = {
  connecting: ["\u21bb", "connecting"], waiting: ["\u2026", "waiting for a car"],
  ready: ["\u25c6", "ready, waits for GO"], driving: ["\u25b6", "driving"],
  recovering: ["\u21ba", "getting free"], stopping: ["\u25a0", "braking"],
  out: ["\u2715", "out of the race"],
};

export function phaseText(status) {
  const [sign, text] = PHASES[status.phase] || ["", status.phase];
  return `${sign} ${text}`;
}

function meter(id, value, isCentred) {
  const style = byId(id).style;
  const share = Math.min(1, Math.abs(value || 0));
  style.left = isCentred ? `${50 + 50 * Math.min(0, Math.max(-1, value || 0))}%` : "0";
  style.width = `${(isCentred ? 50 : 100) * share}%`;
}

// The speed is known by frames alone.
export function tellNow(status, isSeen) {
  put("speed", isSeen && known(status.speed) ? status.speed.toFixed(1) : "-");
  put("lap-time", seconds(status.lap_time_s));
  put("best", seconds(status.best_lap_s));
  put("round-trip", milliseconds(status.latency.round_trip_ms));
  for (const name of ["steering", "throttle"]) {
    put(name, signed(status[name]));
    meter(`${name}-bar`, status[name], true);
  }
  put("brake-now", signed(status.brake));
  meter("brake-bar", status.brake, false);
}

export function tellLaps(status) {
  const { laps_s: laps, best_lap_s: best } = status;
  fill("lap-rows", [laps, best], () => laps.map((time, index) => {
    const row = document.createElement("tr");
    const behind = gap(time, best);
    row.append(made("td", String(index + 1)), made("td", seconds(time)),
      made("td", behind, behind.startsWith("+") ? "" : "best"));
    return row;
  }).reverse());
  byId("no-laps").hidden = laps.length > 0;
}

// The team's cars, the fastest first; the gap is to the team's best lap.
export function tellTeam(cars, choose) {
  byId("team").hidden = cars.length < 2;
  const rows = cars.map(({ status }) => [
    status.car, status.laps_s.length, status.best_lap_s, status.disqualified,
  ]).sort((a, b) => (a[2] ?? Infinity) - (b[2] ?? Infinity));
  const best = rows.length ? rows[0][2] : null;
  fill("team-rows", rows, () => rows.map(([car, laps, time, isOut]) => {
    const row = document.createElement("tr");
    const name = made("td", "");
    const button = made("button", isOut ? `${car} \u2717 out` : car, "plain");
    button.type = "button";
    button.addEventListener("click", () => choose(car));
    name.append(button);
    const behind = gap(time, best);
    row.append(name, made("td", String(laps)), made("td", seconds(time)),
      made("td", behind, behind.startsWith("+") ? "" : "best"));
    return row;
  }));
}

export function tellLatency(status) {
  const { latency } = status;
  const [low, high] = latency.trained_ms;
  const range = low === high ? fine(high) : `${fine(low)} to ${fine(high)}`;
  const trained = high ? `Trained for ${range} ms.` : "Trained without latency.";
  const padding = latency.padding_ms > 0.5
    ? ` Commands are held back for ${milliseconds(latency.padding_ms)}.` : "";
  put("latency-text", trained + padding);
}

export function tellState(status) {
  const percentiles = latencyText(status.latency.frame_to_command_ms);
  const { record } = status;
  const faults = Object.entries(status.faults).map(([name, count]) => `${name}: ${count}`);
  const entries = [
    ["Host", status.host, ""],
    ["Frames", status.frames.toLocaleString("en"), ""],
    ["Connection lost", `${status.disconnects} times`, status.disconnects ? "bad" : ""],
    ["Frame to command", percentiles, ""],
    ["Faults", faults.join(", ") || "none", faults.length ? "bad" : ""],
    ["Record", recordText(record), record.problem ? "bad" : ""],
    ["In", record.folder || "-", ""],
  ];
  fill("state", entries, () => entries.flatMap(([name, text, kind]) => [
    made("dt", name), made("dd", kind ? `\u26a0 ${text}` : text, kind),
  ]));
}

function latencyText(percentiles) {
  if (!percentiles) return "-";
  const [half, most, nearly] = percentiles.map(fine);
  return `${half} ms (95 %: ${most}, 99 %: ${nearly})`;
}

function recordText(record) {
  if (record.problem) return `${record.problem}; ${record.waiting} lines wait`;
  if (!record.folder) return "none";
  return `${record.lines.toLocaleString("en")} lines, ${record.waiting} not on the disk yet`;
}

export function tellDriver(status) {
  put("driver-now", status.driver || "nobody");
  put("driver-next", status.next_driver ? `\u2192 ${status.next_driver} at the next stop` : "");
  // Offered first is somebody else; then it stays what was chosen.
  const other = status.drivers.find((name) => name !== status.driver);
  fill("drivers", [status.car, status.drivers], () => status.drivers.map((name) => {
    const option = made("option", name);
    option.value = name;
    option.selected = name === other;
    return option;
  }));
}

const LEVELS = { info: "", warning: "\u26a0 ", error: "\u2716 " };
const LINES_SHOWN = 200;

export function addLines(lines) {
  const list = byId("log");
  for (const [at, car, level, text] of lines) {
    const item = made("li", "", level);
    item.append(made("time", new Date(1000 * at).toLocaleTimeString("en-GB")),
      ` ${LEVELS[level] || ""}${car ? `${car}: ` : ""}${text}`);
    list.prepend(item);
  }
  while (list.childElementCount > LINES_SHOWN) list.lastElementChild.remove();
}

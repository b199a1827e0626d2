"use strict";

// Steering wheel, pedals and screen of one car. Commands go out with every frame that was shown
// and with every tick, frames come in; what is not shown yet when a newer one comes is dropped.

const TICK_MS = 40;
const STEER_PER_S = 3.2;
const CENTRE_PER_S = 5.5;
const THROTTLE_PER_S = 3.0;
const DEAD_ZONE = 0.08;
const PAD_REACH = 0.8;
const KEYS = {
  ArrowLeft: "left", KeyA: "left", ArrowRight: "right", KeyD: "right",
  ArrowUp: "forward", KeyW: "forward", ArrowDown: "back", KeyS: "back", Space: "brake",
};
const WISHES = { KeyR: "reset", KeyP: "pause", Enter: "record", NumpadEnter: "record" };

const byId = (id) => document.getElementById(id);
const held = new Set();
const touch = { steering: null, drive: null };
const wheel = { steering: 0, throttle: 0, brake: 0 };
let limit = 0.3;
let link = null;
let state = null;
let seen = 0;
let waiting = null;
let drawing = false;
let retryMs = 300;
let lastTick = performance.now();
let padButtons = {};

// The link

function connect() {
  const protocol = location.protocol === "https:" ? "wss:" : "ws:";
  link = new WebSocket(`${protocol}//${location.host}/drive${location.search}`);
  link.binaryType = "arraybuffer";
  link.onmessage = (event) => { waiting = event.data; show(); };
  link.onopen = () => { retryMs = 300; seen = 0; };
  link.onclose = () => {
    if (state && state.ended) return;
    notice("No connection to donkey-rl record. Trying again ...");
    setTimeout(connect, retryMs);
    retryMs = Math.min(2000, retryMs * 1.6);
  };
}

function send(message) {
  if (link && link.readyState === WebSocket.OPEN) link.send(JSON.stringify(message));
}

function wish(what) {
  send({ do: what });
}

// The screen

async function show() {
  if (drawing || waiting === null) return;
  drawing = true;
  const content = waiting;
  waiting = null;
  const length = new DataView(content).getUint32(0);
  const text = new TextDecoder().decode(new Uint8Array(content, 4, length));
  state = JSON.parse(text);
  try {
    const picture = new Blob([new Uint8Array(content, 4 + length)], { type: "image/jpeg" });
    const bitmap = await createImageBitmap(picture);
    const canvas = byId("camera");
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
  } catch (error) {
    console.warn("A picture could not be shown.", error);
  }
  seen = state.n;
  tell();
  tick();
  drawing = false;
  show();
}

function seconds(value) {
  return value === null ? "-" : `${value.toFixed(2)} s`;
}

function put(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function tell() {
  put("speed", state.speed.toFixed(1));
  put("lap", String(state.lap));
  put("lap-time", seconds(state.lap_s));
  put("best", seconds(state.best_s));
  put("cte", state.cte.toFixed(1));
  const laps = state.recorded_laps === 1 ? "1 lap" : `${state.recorded_laps} laps`;
  byId("recording").hidden = !state.recording;
  put("recording", `REC ${state.recorded_s.toFixed(0)} s, ${laps}`);
  byId("spoiled").hidden = !state.spoiled.length;
  put("spoiled", `Lap spoiled: ${state.spoiled.join(", ")}`);
  byId("record").setAttribute("aria-pressed", String(state.recording));
  byId("pause").setAttribute("aria-pressed", String(state.paused));
  for (const id of ["record", "reset"]) byId(id).disabled = !state.driving;
  byId("pause").disabled = !state.driving || !state.can_pause;
  bar("steering-bar", state.steering);
  bar("throttle-bar", state.throttle);
  const answered = state.latency_ms === null ? "-" : `${state.latency_ms.toFixed(0)} ms`;
  put("link", `${state.track}, frame to command ${answered}`);
  tellLaps();
  if (state.ended) notice(`Recording has ended: ${state.ended}. ${laps} in ${state.folder}`);
  else if (!state.driving) {
    notice(state.free ? "Nobody drives." : "Somebody else drives; you are looking on.");
  } else if (state.paused) notice("Paused. P goes on.");
  else notice("");
  byId("take").hidden = state.driving || !state.free || Boolean(state.ended);
  byId("notice").style.background = state.driving || state.ended ? "" : "none";
}

function tellLaps() {
  const list = byId("laps");
  const shown = JSON.stringify(state.laps);
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(...[...state.laps].reverse().map((lap) => {
    const item = document.createElement("li");
    const parts = [
      [`${lap.number}`, ""], [seconds(lap.time_s), ""],
      [lap.how, lap.clean ? "" : "bad"], [lap.recorded ? "" : "not recorded", "kept"],
    ];
    for (const [text, kind] of parts) {
      const part = document.createElement("span");
      part.textContent = text;
      if (kind) part.className = kind;
      item.append(part);
    }
    return item;
  }));
}

function bar(id, value) {
  const style = byId(id).style;
  style.left = `${50 + 50 * Math.min(value, 0)}%`;
  style.width = `${50 * Math.abs(value)}%`;
}

function notice(text) {
  byId("notice").hidden = !text;
  put("notice-text", text);
}

// The wheel

function towards(value, target, step) {
  return value < target ? Math.min(target, value + step) : Math.max(target, value - step);
}

function byKeys(elapsed) {
  const turn = (held.has("right") ? 1 : 0) - (held.has("left") ? 1 : 0);
  const push = (held.has("forward") ? 1 : 0) - (held.has("back") ? 1 : 0);
  const back = turn === 0 || turn * wheel.steering < 0;
  wheel.steering = towards(wheel.steering, turn, (back ? CENTRE_PER_S : STEER_PER_S) * elapsed);
  const target = push * limit;
  // A pedal that is let go is let go at once.
  wheel.throttle = push === 0 ? 0 : towards(wheel.throttle, target, THROTTLE_PER_S * elapsed);
  wheel.brake = held.has("brake") ? 1 : 0;
}

function byTouch() {
  if (touch.steering === null && touch.drive === null) return false;
  wheel.steering = touch.steering === null ? 0 : touch.steering;
  const drive = touch.drive === null ? 0 : touch.drive;
  wheel.throttle = Math.max(0, drive) * limit;
  wheel.brake = Math.max(0, -drive);
  return true;
}

function byGamepad() {
  const pad = [...(navigator.getGamepads ? navigator.getGamepads() : [])]
    .find((each) => each && each.connected && each.buttons.length > 7);
  if (!pad) return false;
  for (const [button, what] of [[0, "record"], [1, "reset"], [9, "pause"]]) {
    const pressed = Boolean(pad.buttons[button] && pad.buttons[button].pressed);
    if (pressed && !padButtons[button]) wish(what);
    padButtons[button] = pressed;
  }
  const stick = pad.axes[0] || 0;
  const turned = Math.max(0, Math.abs(stick) - DEAD_ZONE) / (1 - DEAD_ZONE);
  const push = pad.buttons[7].value;
  const brake = pad.buttons[6].value;
  const used = turned > 0 || push > 0.02 || brake > 0.02;
  if (!used && held.size) return false;
  wheel.steering = Math.sign(stick) * Math.min(1, turned);
  wheel.throttle = (push > 0.02 ? push : 0) * limit;
  wheel.brake = brake > 0.02 ? brake : 0;
  return true;
}

function tick() {
  const now = performance.now();
  const elapsed = Math.min(0.1, (now - lastTick) / 1000);
  lastTick = now;
  if (!byTouch() && !byGamepad()) byKeys(elapsed);
  // A page that nobody sees says nothing: the car brakes.
  if (document.hidden) return;
  if (state && state.driving) send({ do: "drive", ...wheel, seen });
  else send({ do: "look", seen });
}

function letGo() {
  held.clear();
  touch.steering = touch.drive = null;
  wheel.steering = wheel.throttle = wheel.brake = 0;
}

function setLimit(share) {
  limit = share;
  byId("limit").value = String(Math.round(100 * share));
  put("limit-text", `${Math.round(100 * share)} %`);
  try { localStorage.setItem("donkey-rl.limit", String(share)); } catch { /* a private window */ }
}

function storedLimit() {
  try {
    const stored = Number(localStorage.getItem("donkey-rl.limit"));
    return stored >= 0.1 && stored <= 1 ? stored : 0.3;
  } catch {
    return 0.3;
  }
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const what = KEYS[event.code];
  if (what) held.add(what);
  else if (WISHES[event.code]) { if (!event.repeat) wish(WISHES[event.code]); }
  else if (/^Digit\d$/.test(event.code)) setLimit((Number(event.code[5]) || 10) / 10);
  else return;
  // Arrows would scroll, and Space and Enter press the button that has the focus.
  event.preventDefault();
  tick();
});
addEventListener("keyup", (event) => {
  if (KEYS[event.code]) { held.delete(KEYS[event.code]); tick(); event.preventDefault(); }
});
addEventListener("blur", () => { letGo(); tick(); });
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return;
  letGo();
  if (state && state.driving) send({ do: "drive", steering: 0, throttle: 0, brake: 1, seen });
});

for (const what of ["record", "pause", "reset", "take"]) {
  byId(what).addEventListener("click", (event) => { wish(what); event.currentTarget.blur(); });
}
byId("limit").addEventListener("input", (event) => setLimit(Number(event.target.value) / 100));
byId("limit").addEventListener("change", (event) => event.target.blur());

function pad(id, place) {
  const area = byId(id);
  const knob = area.querySelector("i");
  const move = (event) => {
    const box = area.getBoundingClientRect();
    const across = (event.clientX - box.left - box.width / 2) / (PAD_REACH * box.width / 2);
    const down = (event.clientY - box.top - box.height / 2) / (PAD_REACH * box.height / 2);
    place(Math.max(-1, Math.min(1, across)), Math.max(-1, Math.min(1, down)), knob.style);
    tick();
  };
  area.addEventListener("pointerdown", (event) => {
    area.setPointerCapture(event.pointerId);
    move(event);
  });
  area.addEventListener("pointermove", (event) => {
    if (area.hasPointerCapture(event.pointerId)) move(event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    area.addEventListener(end, () => { place(null, null, knob.style); tick(); });
  }
}
pad("steer-pad", (across, down, knob) => {
  touch.steering = across;
  knob.left = `${50 + 40 * (across || 0)}%`;
});
pad("drive-pad", (across, down, knob) => {
  touch.drive = down === null ? null : -down;
  knob.top = `${50 + 40 * (down || 0)}%`;
});

setLimit(storedLimit());
setInterval(tick, TICK_MS);
connect();

// Orders to the cars: buttons and keys. Each is a request of its own, so that none waits for
// another; only those of the brake keep their order.

const HOLD_MS = 400;
const DEADLINE_MS = 3000;
const TOLD_MS = 6000;
const byId = (id) => document.getElementById(id);

export class Orders {
  // `race` tells which car is chosen, how it is doing, and whether orders can be given.
  constructor(race) {
    this.race = race;
    this.brakes = Promise.resolve();
    this.pressed = null;
    this.told = { text: "", until: 0 };
    byId("go").addEventListener("click", () => this.give({ do: "go" }));
    byId("stop").addEventListener("click", () => this.give({ do: "stop" }));
    byId("stop-all").addEventListener("click", () => this.give({ do: "stop", car: null }));
    byId("change").addEventListener("submit", (event) => {
      event.preventDefault();
      this.give({ do: "driver", name: byId("drivers").value });
    });
    const brake = byId("brake");
    brake.addEventListener("pointerdown", (event) => {
      if (brake.disabled || event.button) return;
      brake.setPointerCapture(event.pointerId);
      this.press();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      brake.addEventListener(end, () => this.release());
    }
    // Enter, or what a screen reader does: a tap without a pointer.
    brake.addEventListener("click", (event) => {
      if (event.detail === 0) { this.press(); this.release(); }
    });
    brake.addEventListener("contextmenu", (event) => event.preventDefault());
    addEventListener("pointerdown", () => { this.byTab = false; }, { capture: true });
    addEventListener("keydown", (event) => this.down(event));
    addEventListener("keyup", (event) => {
      if (!isBrake(event) || !this.pressed) return;
      this.release();
      event.preventDefault();
    });
    addEventListener("blur", () => this.release());
  }

  // Held, the brake lasts as long as it is held; tapped, until it is tapped again.
  press() {
    if (this.pressed || !this.race.canSlow()) return;
    this.pressed = { at: performance.now(), car: this.race.car(), ends: this.race.isBraked() };
    if (!this.pressed.ends) this.giveBrake(this.pressed.car, true);
  }

  release() {
    const { pressed } = this;
    if (!pressed) return;
    this.pressed = null;
    if (pressed.ends || performance.now() - pressed.at > HOLD_MS) {
      this.giveBrake(pressed.car, false);
    }
  }

  giveBrake(car, on) {
    this.brakes = this.brakes.then(() => this.give({ do: "brake", on, car }));
  }

  async give(order) {
    const wanted = { car: this.race.car(), ...order };
    const slows = wanted.do === "stop" || (wanted.do === "brake" && wanted.on);
    if (!(slows ? this.race.canSlow() : this.race.canOrder())) {
      if (wanted.do === "brake") this.say("The brake stays on: LET GO once the car reports again.");
      return;
    }
    try {
      const answer = await fetch("order", {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Race-Key": this.race.key() },
        body: JSON.stringify(wanted),
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      if (!answer.ok) this.say(`${named(wanted)} was refused: ${await answer.text()}`);
      else this.say("");
    } catch {
      this.say(`${named(wanted)} did not get through. Try again.`);
    }
  }

  say(text) {
    this.told = { text, until: performance.now() + TOLD_MS };
    this.race.changed();
  }

  get trouble() {
    return performance.now() < this.told.until ? this.told.text : "";
  }

  // A button that was reached by the Tab key is pressed by Space; a click focuses one as well, and
  // `:focus-visible` holds for it as soon as a key is pressed.
  pressesButton(target) {
    const chosen = target instanceof Element && target.closest("button");
    return this.byTab && chosen && chosen.id !== "brake";
  }

  down(event) {
    if (event.code === "Tab") this.byTab = true;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof Element && event.target.closest("select")) return;
    const brakes = isBrake(event) && !(event.code === "Space" && this.pressesButton(event.target));
    // A Space that is held would scroll the page.
    if (event.repeat) return brakes ? event.preventDefault() : undefined;
    if (brakes) {
      this.press();
    } else if (event.code === "KeyG" && event.shiftKey) this.give({ do: "go" });
    else if (event.code === "KeyS" && event.shiftKey) this.give({ do: "stop", car: null });
    else if (event.code === "KeyS" || event.code === "Escape") this.give({ do: "stop" });
    else if (/^Digit[1-9]$/.test(event.code)) this.race.choose(Number(event.code[5]) - 1);
    else return;
    event.preventDefault();
  }
}

function isBrake(event) {
  return event.code === "KeyB" || event.code === "Space";
}

function named(order) {
  const what = { go: "GO", stop: "STOP", brake: "BRAKE", driver: "The change of driver" };
  return what[order.do];
}

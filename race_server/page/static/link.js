// The WebSocket to the page's server: newest states in, what was shown out; it connects again by
// itself, and says why where it cannot.

const RETRY_MS = [300, 2000];
const SILENT_MS = 3000;

export class Link {
  // `show(message, picture)` gets each message, `tell(state)` is called when the state changes:
  // "connecting", "open", "lost", or "refused" with the status code of the refusal.
  constructor(show, tell) {
    this.car = "";
    this.key = "";
    this.heard = -Infinity;
    this.show = show;
    this.tell = tell;
    this.seen = 0;
    this.waiting = null;
    this.isShowing = false;
    this.retryMs = RETRY_MS[0];
    this.socket = null;
  }

  connect() {
    const protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${protocol}//${location.host}/watch`);
    this.socket = socket;
    this.seen = 0;
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => { this.heard = performance.now(); this.take(event.data); };
    socket.onopen = () => { this.retryMs = RETRY_MS[0]; this.tell("open"); };
    socket.onclose = () => { if (this.socket === socket) this.lost(); };
  }

  // A link on which nothing comes any more is as good as none.
  check() {
    const open = this.socket && this.socket.readyState === WebSocket.OPEN;
    if (!open || performance.now() - this.heard < SILENT_MS) return;
    const socket = this.socket;
    this.socket = null;
    socket.close();
    this.lost();
  }

  // A plain request asks first whether there is somebody, and whether this page is let in: a
  // browser does not tell why a WebSocket was refused, and each wrong token counts.
  async lost() {
    this.waiting = null;
    this.tell("lost");
    let next = () => this.lost();
    try {
      const answer = await fetch("health", { signal: AbortSignal.timeout(2000) });
      if ([403, 421, 429].includes(answer.status)) {
        this.tell("refused", answer.status);
        return;
      }
      next = () => this.connect();
    } catch { /* nobody answers */ }
    setTimeout(next, this.retryMs);
    this.retryMs = Math.min(RETRY_MS[1], this.retryMs * 1.6);
  }

  watch(car) {
    this.car = car;
    this.answer();
  }

  answer() {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify({ seen: this.seen, car: this.car }));
  }

  // Messages that carry what no later one repeats are all read; only their pictures may be passed
  // over.
  take(content) {
    const length = new DataView(content).getUint32(0);
    const text = new TextDecoder().decode(new Uint8Array(content, 4, length));
    const message = JSON.parse(text);
    if (message.key) {
      this.key = message.key;
      // The server does not know yet whom this page looks at.
      if (this.car) this.answer();
    }
    const bytes = new Uint8Array(content, 4 + length);
    this.waiting = { message, bytes };
    this.show(message);
    this.draw();
  }

  async draw() {
    if (this.isShowing || !this.waiting) return;
    this.isShowing = true;
    const { message, bytes } = this.waiting;
    this.waiting = null;
    try {
      if (bytes.length) await this.picture(message, bytes);
    } catch (error) {
      console.warn("A picture could not be shown.", error);
    }
    this.seen = message.n;
    this.answer();
    this.isShowing = false;
    this.draw();
  }

  async picture(message, bytes) {
    const bitmap = await createImageBitmap(new Blob([bytes]));
    const canvas = document.getElementById("camera");
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    canvas.dataset.car = message.car;
    canvas.dataset.shown = String(Number(canvas.dataset.shown || 0) + 1);
    bitmap.close();
  }
}

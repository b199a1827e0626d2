// The charts, drawn by uPlot: half a minute back, and the histogram of latencies.

const SPLITS = [-30, -20, -10, 0];
const HEIGHT = 96;
const HISTOGRAM_HEIGHT = 130;

const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const axis = (more) => ({
  stroke: () => colour("--soft"), font: "11px system-ui, sans-serif",
  grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, ...more,
});

// Lines differ in their dashes as well as in their colours.
const LINES = [
  { stroke: () => colour("--one"), width: 2 },
  { stroke: () => colour("--two"), width: 2, dash: [8, 4] },
  { stroke: () => colour("--three"), width: 2, dash: [2, 3] },
];

function sized(chart, element, height) {
  new ResizeObserver(() => {
    const width = element.clientWidth;
    if (width && width !== chart.width) chart.setSize({ width, height });
  }).observe(element);
}

export class Rolling {
  // Names are those of the samples' fields; `range` gives the scale for the values in sight.
  constructor(id, fields, range) {
    this.fields = fields;
    const element = document.getElementById(id);
    this.chart = new uPlot({
      width: element.clientWidth || 300, height: HEIGHT, legend: { show: false },
      cursor: { show: false }, padding: [6, 10, 0, 0],
      scales: { x: { time: false, range: () => [-30, 0] }, y: { range } },
      axes: [
        axis({ splits: () => SPLITS, values: (_, all) => all.map((v) => `${v} s`), size: 22 }),
        axis({ size: 38, space: 28 }),
      ],
      series: [{}, ...fields.map((_, index) => ({ ...LINES[index], points: { show: false } }))],
    }, [[], ...fields.map(() => [])], element);
    sized(this.chart, element, HEIGHT);
  }

  show(samples, now) {
    const at = samples.map((sample) => sample.at - now);
    this.chart.setData([at, ...this.fields.map((name) => samples.map((each) => each[name]))]);
  }
}

export class Histogram {
  constructor(id) {
    this.edges = [];
    this.trained = [0, 0];
    const element = document.getElementById(id);
    this.chart = new uPlot({
      width: element.clientWidth || 300, height: HISTOGRAM_HEIGHT, legend: { show: false },
      cursor: { show: false }, padding: [16, 10, 0, 0],
      scales: {
        x: { time: false, range: () => [-0.5, Math.max(1, this.edges.length) + 0.5] },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] },
      },
      axes: [
        axis({
          size: 22, grid: { show: false },
          splits: () => this.edges.map((_, index) => index + 0.5).filter((_, i) => i % 2 === 1),
          values: (_, all) => all.map((place) => `${this.edges[place - 0.5]}`),
        }),
        axis({ size: 38, space: 28, values: (_, all) => all.map((v) => `${v} %`) }),
      ],
      series: [{}, {
        stroke: () => colour("--one"), fill: () => colour("--one"), width: 0,
        paths: uPlot.paths.bars({ size: [0.86] }), points: { show: false },
      }],
      hooks: { drawClear: [(chart) => this.mark(chart)] },
    }, [[], []], element);
    sized(this.chart, element, HISTOGRAM_HEIGHT);
  }

  show(counts, edges, trained) {
    this.edges = edges;
    this.trained = trained;
    const all = counts.reduce((sum, each) => sum + each, 0) || 1;
    this.chart.setData([counts.map((_, index) => index), counts.map((n) => (100 * n) / all)]);
  }

  // Where a latency stands among bars that are all as wide as each other.
  place(milliseconds) {
    const bin = this.edges.findIndex((edge) => milliseconds <= edge);
    if (bin < 0) return this.edges.length;
    const low = bin ? this.edges[bin - 1] : 0;
    return bin - 0.5 + (milliseconds - low) / (this.edges[bin] - low);
  }

  mark(chart) {
    const [low, high] = this.trained;
    if (!high || !this.edges.length) return;
    const { ctx, bbox } = chart;
    const ratio = devicePixelRatio || 1;
    const left = chart.valToPos(this.place(low), "x", true);
    const width = Math.max(3 * ratio, chart.valToPos(this.place(high), "x", true) - left);
    ctx.save();
    ctx.fillStyle = colour("--mark");
    ctx.fillRect(left, bbox.top, width, bbox.height);
    ctx.strokeStyle = ctx.fillStyle = colour("--ink");
    ctx.setLineDash([4 * ratio, 3 * ratio]);
    ctx.strokeRect(left, bbox.top - 1, width, bbox.height + 1);
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    const middle = Math.min(Math.max(left + width / 2, bbox.left + 24 * ratio),
      bbox.left + bbox.width - 24 * ratio);
    ctx.fillText("trained", middle, bbox.top - 5 * ratio);
    ctx.restore();
  }
}

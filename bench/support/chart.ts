// Results as an SVG picture: a section for each group, bars on a logarithmic scale from the least to
// the most of it, one colour a tool; series over the number of files as lines. Shorter is better
// everywhere. Drawn by hand: it is text.
import { byWork, formatNumber, type Result, toolsOf } from './results.ts';
import { median } from './statistics.ts';

/** Of Okabe and Ito, told apart by colour-blind people too. */
const colours: Readonly<Record<string, string>> = {
  replica: '#0072b2',
  'replica, running': '#56b4e9',
  rsync: '#8a8f98',
  'rsync -az': '#8a8f98',
  Unison: '#e69f00',
  Syncthing: '#009e73',
};
const otherColour = '#cc79a7';

const width = 960;
const margin = 32;
const labelWidth = 250;
const barHeight = 13;
const barGap = 2;
const workGap = 10;
/** For the figure behind the longest bar. */
const figureWidth = 130;
const ink = '#1f2933';
const faint = '#6b7682';
const grid = '#e3e7eb';

interface Drawing {
  readonly height: number;
  readonly parts: readonly string[];
}

/** `title` and a line of small print above everything. */
export function drawChart(
  head: { readonly title: string; readonly note: string },
  results: readonly Result[],
): string {
  const tools = toolsOf(results);
  const groups = [...new Set(results.map(result => result.group))];
  let y = margin + 8;
  const parts = [
    text(margin, y + 8, head.title, { size: 20, weight: 600 }),
    text(margin, y + 30, head.note, { size: 12, colour: faint }),
    ...legend(tools, y + 56),
  ];
  y += 84;
  const place = (drawing: Drawing, x: number): void => {
    parts.push(`<g transform="translate(${x} ${y})">`, ...drawing.parts, '</g>');
  };
  const isSeries = (group: string): boolean =>
    results.some(result => result.group === group && result.files !== undefined);
  const of = (group: string): Result[] => results.filter(result => result.group === group);
  for (const group of groups.filter(group => !isSeries(group))) {
    const drawing = drawBars(group, of(group));
    place(drawing, 0);
    y += drawing.height;
  }
  // Two beside each other.
  const panels = groups.filter(isSeries).map(group => drawLines(group, of(group)));
  for (let i = 0; i < panels.length; i += 2) {
    const row = panels.slice(i, i + 2);
    for (const [column, panel] of row.entries()) place(panel, column * (width / 2));
    y += Math.max(...row.map(panel => panel.height));
  }
  const height = y + margin / 2;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function legend(tools: readonly string[], y: number): string[] {
  let x = margin;
  return tools.flatMap(tool => {
    const at = x;
    x += 40 + tool.length * 8;
    return [
      `<rect x="${at}" y="${y - 10}" width="12" height="12" rx="2" fill="${colourOf(tool)}"/>`,
      text(at + 18, y, tool, { size: 13 }),
    ];
  });
}

/** Ends of the scale: powers of ten around everything that is drawn. */
function bounds(values: readonly number[]): readonly [number, number] {
  const positive = values.filter(value => value > 0);
  if (positive.length === 0) return [0, 1];
  const low = Math.floor(Math.log10(Math.min(...positive)) - 0.05);
  const high = Math.ceil(Math.log10(Math.max(...positive)) + 0.001);
  return [low, Math.max(high, low + 1)];
}

function drawBars(group: string, results: readonly Result[]): Drawing {
  const [low, high] = bounds(results.flatMap(({ runs }) => runs));
  const left = margin + labelWidth;
  const scale = (value: number): number => {
    const share = (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low);
    return left + share * (width - left - margin - figureWidth);
  };
  const parts: string[] = [];
  let y = 52;
  const works = [...byWork(results).values()];
  for (const found of works) {
    const [{ work = '' } = {}] = found;
    const middle = y + (found.length * (barHeight + barGap)) / 2 + 4;
    parts.push(text(left - 14, middle, work, { size: 12.5, anchor: 'end' }));
    for (const { tool, runs } of found) {
      parts.push(...drawBar({ tool, runs, y, left, scale }));
      y += barHeight + barGap;
    }
    y += workGap;
  }
  const ticks = decades(low, high).flatMap(value => {
    const x = scale(value);
    return [
      `<line x1="${x}" y1="44" x2="${x}" y2="${y - workGap + 4}" stroke="${grid}"/>`,
      text(x, 39, formatTick(value), { size: 11, colour: faint, anchor: 'middle' }),
    ];
  });
  const title = text(margin, 18, titleOf(group, results), { size: 15, weight: 600 });
  return { height: y + 22, parts: [title, ...ticks, ...parts] };
}

/** The median, its figure, and a thin line from the least to the most. */
function drawBar(bar: {
  readonly tool: string;
  readonly runs: readonly number[];
  readonly y: number;
  readonly left: number;
  readonly scale: (value: number) => number;
}): string[] {
  const { tool, runs, y, left, scale } = bar;
  const value = median(runs);
  const end = scale(value);
  const [least, most] = [scale(Math.min(...runs)), scale(Math.max(...runs))];
  const middle = y + barHeight / 2;
  const length = Math.max(end - left, 1.5);
  const parts = [
    `<rect x="${left}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="2" fill="${colourOf(tool)}"/>`,
  ];
  if (most - least > 1) {
    parts.push(
      `<path d="M${least.toFixed(1)} ${middle}H${most.toFixed(1)}M${most.toFixed(1)} ${middle - 3}v6M${least.toFixed(1)} ${middle - 3}v6" stroke="${ink}" stroke-opacity="0.55" fill="none"/>`,
    );
  }
  const figure = tool === 'replica' ? { size: 11, weight: 600 } : { size: 11 };
  parts.push(text(Math.max(end, most) + 6, middle + 4, formatNumber(value), figure));
  return parts;
}

const panel = { left: margin + 40, top: 40, width: width / 2 - margin - 130, height: 180 };
/** Between two figures above each other. */
const figureHeight = 12;

function drawLines(group: string, results: readonly Result[]): Drawing {
  const [low, high] = bounds(results.map(({ runs }) => median(runs)));
  const sizes = [...new Set(results.map(({ files = 1 }) => files))].sort((a, b) => a - b);
  const [few, many] = [Math.log10(sizes[0] ?? 1), Math.log10(sizes.at(-1) ?? 10)];
  const x = (files: number): number =>
    panel.left + ((Math.log10(files) - few) / (many - few || 1)) * panel.width;
  const y = (value: number): number => {
    const share = (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low);
    return panel.top + (1 - share) * panel.height;
  };
  const parts = [text(margin, 18, titleOf(group, results), { size: 14, weight: 600 })];
  for (const value of decades(low, high)) {
    const at = y(value);
    parts.push(
      `<line x1="${panel.left}" y1="${at}" x2="${panel.left + panel.width}" y2="${at}" stroke="${grid}"/>`,
      text(panel.left - 6, at + 4, formatTick(value), { size: 11, colour: faint, anchor: 'end' }),
    );
  }
  const bottom = panel.top + panel.height;
  for (const files of sizes) {
    const label = `${formatTick(files)}${files === sizes.at(-1) ? ' files' : ''}`;
    parts.push(text(x(files), bottom + 17, label, { size: 11, colour: faint, anchor: 'middle' }));
  }
  const ends: { readonly at: number; readonly value: number; readonly tool: string }[] = [];
  for (const tool of toolsOf(results)) {
    const points = results
      .filter(result => result.tool === tool)
      .sort((a, b) => (a.files ?? 0) - (b.files ?? 0))
      .map(({ files = 1, runs }) => [x(files).toFixed(1), y(median(runs)).toFixed(1)] as const);
    const colour = colourOf(tool);
    const path = points.map(point => point.join(' ')).join('L');
    parts.push(`<path d="M${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const [px, py] of points) {
      parts.push(`<circle cx="${px}" cy="${py}" r="3.5" fill="${colour}"/>`);
    }
    const last = results.find(one => one.tool === tool && one.files === sizes.at(-1));
    if (last !== undefined) {
      const value = median(last.runs);
      ends.push({ at: y(value), value, tool });
    }
  }
  let above = Number.NEGATIVE_INFINITY;
  for (const { at, value, tool } of ends.sort((a, b) => a.at - b.at)) {
    above = Math.max(at, above + figureHeight);
    const style = { size: 11, weight: tool === 'replica' ? 600 : 400, colour: colourOf(tool) };
    parts.push(text(panel.left + panel.width + 9, above + 4, formatNumber(value), style));
  }
  return { height: bottom + 44, parts };
}

const unitNames = { s: 'seconds', ms: 'milliseconds' } as const;

function titleOf(group: string, results: readonly Result[]): string {
  const unit = results[0]?.unit ?? 's';
  return `${group}, ${unit === 's' || unit === 'ms' ? unitNames[unit] : unit}`;
}

function decades(low: number, high: number): number[] {
  return Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
}

function formatTick(value: number): string {
  if (value < 1) return String(Number(value.toPrecision(1)));
  return value >= 1_000_000
    ? `${value / 1_000_000}M`
    : value >= 1000
      ? `${value / 1000}k`
      : String(value);
}

function colourOf(tool: string): string {
  return colours[tool] ?? otherColour;
}

function text(
  x: number,
  y: number,
  content: string,
  style: {
    readonly size: number;
    readonly weight?: number;
    readonly colour?: string;
    readonly anchor?: 'middle' | 'end';
  },
): string {
  const { size, weight = 400, colour = ink, anchor = 'start' } = style;
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="${size}" font-weight="${weight}" fill="${colour}" text-anchor="${anchor}">${escaped}</text>`;
}

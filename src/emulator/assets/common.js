// What both pages need. Data of spans enters the document only as text, attribute values of our own making, and sizes.

/** An element with properties and children; strings become text. */
export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The JSON at `path`; throws an Error with the server's own message, and `status`. */
export async function fetchJson(path) {
  let response;
  try {
    response = await fetch(path, { headers: { accept: "application/json" } });
  } catch {
    throw new Error("The embedded Cloud Trace does not answer. Is it still running?");
  }
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.error), { status: response.status });
  return body;
}

export function duration(ms) {
  if (ms < 0) return `-${duration(-ms)}`;
  if (ms < 0.001) return `${Math.round(ms * 1e6)} ns`;
  if (ms < 1) return `${significant(ms * 1e3)} µs`;
  if (ms < 1e3) return `${significant(ms)} ms`;
  if (ms < 60e3) return `${significant(ms / 1e3)} s`;
  const seconds = Math.round(ms / 1e3);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function significant(number) {
  return String(Number(number.toPrecision(3)));
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${significant(number)} ${units[unit]}`;
}

const COLORS = 9;

/** The color number of a service: by its name, so that it is the same on every page. */
export function serviceColor(service) {
  return hash(service) % COLORS;
}

/** The same for a few services that stand together, which get distinct ones while they last. */
export function serviceColors(services) {
  const colors = new Map();
  const taken = new Set();
  for (const service of services) {
    let color = serviceColor(service);
    while (taken.has(color) && taken.size < COLORS) color = (color + 1) % COLORS;
    taken.add(color);
    colors.set(service, color);
  }
  return colors;
}

function hash(text) {
  let value = 2166136261;
  for (const char of text) value = Math.imul(value ^ char.codePointAt(0), 16777619) >>> 0;
  return value;
}

export function serviceDot(color) {
  const dot = element("span", { className: "dot" });
  dot.dataset.color = color;
  return dot;
}

/** Why a trace was kept, as a badge and a sentence. */
export function reason(trace) {
  const badge = element("span", { className: "policy", textContent: trace.policy ?? "no policy named" });
  if (trace.adjusted_count === null) return [badge];
  const stands = element("span", { className: "stands", textContent: standsFor(trace.adjusted_count) });
  return [badge, " ", stands];
}

function standsFor(adjusted) {
  if (adjusted === 1) return "always kept";
  return `1 of ${Number(adjusted.toFixed(2)).toLocaleString("en")} like it`;
}

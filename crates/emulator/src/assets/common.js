// Helpers for both pages. Data of spans enters the document only as text, as attribute values made here, and as sizes.

/** Returns an element with properties and children. Strings become text. */
export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Returns the JSON at `path`. Throws an Error with the server's own message, `status` and `fate`. */
export async function fetchJson(path) {
  let response;
  try {
    response = await fetch(path, { headers: { accept: "application/json" } });
  } catch {
    throw new Error("The embedded Cloud Trace does not answer. Is it still running?");
  }
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.error), { status: response.status, fate: body.fate });
  return body;
}

export function duration(ms) {
  if (ms < 0) return `-${duration(-ms)}`;
  if (ms === 0) return "0";
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

// Number of colors in the style sheet. Further colors differ only by their hue.
const COLORS = 8;
const GOLDEN_ANGLE = 137.508;

/** Colors `node` by the number that the server gave a service; `undefined` means no service. */
export function paint(node, color) {
  if (color === undefined) node.dataset.color = "none";
  else if (color < COLORS) node.dataset.color = color;
  else {
    node.dataset.color = "more";
    node.style.setProperty("--hue", (color * GOLDEN_ANGLE) % 360);
  }
  return node;
}

export function serviceDot(color) {
  return paint(element("span", { className: "dot" }), color);
}

/** Returns the reason why a trace was kept, as a badge and a sentence. */
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

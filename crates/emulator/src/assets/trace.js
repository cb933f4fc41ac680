// One trace as a waterfall. `#{span id}` in the URL opens a span.

import { count, duration, element, fetchJson, paint, reason, serviceDot } from "./common.js";

const RETRY_MS = 3000;
// Rows shown at first. A browser lays out a few thousand rows without delay.
const ROWS_MAX = 2000;
const DEPTH_SHOWN = 16;
const NO_SERVICE = "no service name";
const byId = (id) => document.getElementById(id);
const traceId = location.pathname.split("/").pop();

async function load() {
  byId("trace-id").textContent = traceId;
  const path = `/api/traces/${encodeURIComponent(traceId)}`;
  byId("json").href = path;
  try {
    show(await fetchJson(path));
  } catch (error) {
    notice(sentence(error.message), ...FATES.get(error.fate ?? "") ?? []);
    if (error.status !== 400) setTimeout(load, RETRY_MS);
  }
}

// Text added to the message on a trace that is not stored, by the trace's fate.
const FATES = new Map([
  ["pending", [" It appears here by itself if it is kept."]],
  ["kept", [" It appears here by itself."]],
  ["sampled_out", [" ", element("a", { href: "/#keep-all", textContent: "How to keep all traces" })]],
]);

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
}

function notice(...parts) {
  byId("notice").hidden = parts.length === 0;
  byId("notice").replaceChildren(...parts);
}

function show(trace) {
  notice();
  document.title = `${trace.root_name || "Trace"} · Spansieve`;
  byId("name").textContent = trace.root_name || "(no name)";
  byId("facts").replaceChildren(...facts(trace));
  const services = [...new Set(trace.spans.map(serviceOf))].sort();
  const colors = trace.service_colors;
  byId("legend").replaceChildren(...services.map((service) => element("li", {}, serviceDot(colors[service]), service)));
  byId("ticks").replaceChildren(...ticks(trace.duration_ms));
  byId("trace").hidden = false;
  const open = location.hash.slice(1);
  const openIndex = trace.spans.findIndex((span) => span.span_id === open);
  showRows(trace, colors, Math.max(ROWS_MAX, openIndex + 1));
  if (openIndex >= 0) {
    byId(`span-${openIndex}`).click();
    byId(`span-${openIndex}`).scrollIntoView();
  }
}

function facts(trace) {
  const started = element("time", { dateTime: trace.start, textContent: new Date(trace.start).toLocaleString() });
  const errors = trace.error_count
    ? element("span", { className: "error", textContent: count(trace.error_count, "error") })
    : "none";
  return [
    fact("Kept by", ...reason(trace)),
    fact("Duration", duration(trace.duration_ms)),
    fact("Spans", trace.span_count.toLocaleString("en")),
    fact("Errors", errors),
    fact("Started", started),
  ];
}

function fact(name, ...value) {
  return element("div", {}, element("dt", { textContent: name }), element("dd", {}, ...value));
}

function ticks(ms) {
  return [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const tick = element("span", { textContent: duration(ms * part) });
    tick.style.left = `${part * 100}%`;
    return tick;
  });
}

function serviceOf(span) {
  return span.service ?? NO_SERVICE;
}

function showRows(trace, colors, rowsMax) {
  const body = byId("waterfall").tBodies[0];
  const from = body.rows.length ? Number(body.dataset.shown) : 0;
  const spans = trace.spans.slice(from, rowsMax);
  body.append(...spans.map((span, index) => spanRow(trace, span, from + index, colors)));
  body.dataset.shown = from + spans.length;
  const hidden = trace.spans.length - from - spans.length;
  byId("more").hidden = hidden <= 0;
  const button = byId("more").firstElementChild;
  button.textContent = `Show the other ${count(hidden, "span")}`;
  button.onclick = () => showRows(trace, colors, Infinity);
}

function spanRow(trace, span, index, colors) {
  const color = colors[serviceOf(span)];
  const button = element(
    "button",
    { type: "button", id: `span-${index}`, className: "span" },
    serviceDot(color),
    element("span", { className: "span-name", textContent: span.name || "(no name)" }),
    span.error ? element("span", { className: "error", textContent: "error" }) : null,
  );
  button.setAttribute("aria-expanded", "false");
  const notes = [element("span", { className: "span-service", textContent: serviceOf(span) })];
  if (!span.parent_stored) notes.push(element("span", { className: "orphan", textContent: `parent ${span.parent_span_id} not stored` }));
  const name = element("th", { scope: "row" }, button, element("div", { className: "notes" }, ...notes));
  name.style.setProperty("--depth", Math.min(span.depth, DEPTH_SHOWN));
  const row = element("tr", { className: span.error ? "failed" : "" }, name, element("td", {}, bar(trace, span, color)));
  const toggle = () => toggleDetails(trace, span, row, button);
  button.addEventListener("click", toggle);
  row.cells[1].addEventListener("click", toggle);
  return row;
}

/** Returns the share of the trace's time that has passed at `ns`, in percent. */
function position(trace, ns) {
  const start = BigInt(trace.start_ns);
  const total = Number(BigInt(trace.end_ns) - start);
  return total === 0 ? 0 : (Number(BigInt(ns) - start) / total) * 100;
}

function bar(trace, span, color) {
  const left = position(trace, span.start_ns);
  const right = trace.start_ns === trace.end_ns ? 100 : position(trace, span.end_ns);
  const block = paint(element("span", { className: "bar" }), color);
  block.style.left = `${left}%`;
  block.style.width = `${right - left}%`;
  const label = element("span", { className: "bar-label", textContent: duration(span.duration_ms) });
  // The label stands on the side of the bar with more space, or inside a bar that fills the line.
  if (right < 80) label.style.left = `${right}%`;
  else if (left > 20) label.style.right = `${100 - left}%`;
  else {
    label.classList.add("inside");
    label.style.left = `${left}%`;
  }
  const marks = span.events.filter((event) => event.time_ns !== null).map((event) => mark(trace, event));
  return element("div", { className: "lane" }, block, ...marks, label);
}

function mark(trace, event) {
  const node = element("span", { className: "mark", title: event.name });
  node.style.left = `${Math.min(100, Math.max(0, position(trace, event.time_ns)))}%`;
  return node;
}

function toggleDetails(trace, span, row, button) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  history.replaceState(null, "", open ? location.pathname : `#${span.span_id}`);
  if (open) row.nextElementSibling.remove();
  else row.after(element("tr", { className: "details" }, element("td", { colSpan: 2 }, ...details(trace, span))));
}

function details(trace, span) {
  const offset = Number(BigInt(span.start_ns) - BigInt(trace.start_ns)) / 1e6;
  const own = [
    ["span id", span.span_id],
    ["parent span id", span.parent_span_id ?? "none"],
    ["kind", span.kind],
    ["status", statusText(span.status)],
    ["start, end", `${duration(offset)} to ${duration(offset + span.duration_ms)} after the trace began`],
    ["project", span.project],
  ];
  return [
    section("Span", pairs(own)),
    section("Attributes", attributes(span)),
    ...list("Events", span.events, span.dropped_event_count, (event) => eventItem(trace, event)),
    ...list("Links", span.links, span.dropped_link_count, linkItem),
  ];
}

/** Returns, for example, `UNKNOWN (2): payment failed`. Codes are gRPC's; OpenTelemetry's errors are all UNKNOWN. */
function statusText(status) {
  if (!status) return "not set";
  const code = status.name ? `${status.name} (${status.code})` : `code ${status.code}`;
  return status.message ? `${code}: ${status.message}` : code;
}

function section(title, ...content) {
  return element("section", {}, element("h3", { textContent: title }), ...content);
}

function list(title, items, dropped, item) {
  if (!items.length && !dropped) return [];
  const rest = dropped ? element("p", { className: "quiet", textContent: `${dropped} more were dropped by the sender` }) : null;
  return [section(title, element("ol", { className: "items" }, ...items.map(item)), rest)];
}

function eventItem(trace, event) {
  const at = event.time_ns === null ? "no time" : duration(Number(BigInt(event.time_ns) - BigInt(trace.start_ns)) / 1e6);
  return element("li", {}, element("strong", { textContent: event.name || "(no name)" }), ` at ${at}`, attributes(event));
}

function linkItem(link) {
  const target = element("a", { href: `/traces/${link.trace_id}#${link.span_id}`, className: "id", textContent: link.trace_id });
  return element("li", {}, target, ` span ${link.span_id}`, attributes(link));
}

function attributes({ attributes: map, truncated_byte_counts: cut, dropped_attribute_count: dropped }) {
  const cuts = new Map(Object.entries(cut ?? {}));
  const text = (key, value) => (cuts.has(key) ? `${value}… (${cuts.get(key)} bytes cut)` : String(value));
  const rest = dropped
    ? element("p", { className: "quiet", textContent: `${count(dropped, "attribute")} dropped by the sender` })
    : null;
  return element("div", {}, pairs(Object.entries(map).map(([key, value]) => [key, text(key, value)])), rest);
}

function pairs(entries) {
  const rows = entries.map(([key, value]) =>
    element("div", {}, element("dt", { textContent: key }), element("dd", { textContent: value })),
  );
  return element("dl", { className: "pairs" }, ...rows);
}

// A link to another span of this trace changes only the URL's fragment, which does not load the page again.
addEventListener("hashchange", () => location.reload());
load();

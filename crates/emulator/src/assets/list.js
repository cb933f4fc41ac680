// The list of kept traces. The URL holds the filters, so that every view can be linked.

import { bytes, count, duration, element, fetchJson, reason, serviceDot } from "./common.js";

const REFRESH_MS = 3000;
const SERVICES_SHOWN = 5;
const byId = (id) => document.getElementById(id);
const menus = ["policy", "service", "limit"];

let timer;
let keepAllShown = false;
let latest = 0;

async function refresh() {
  clearTimeout(timer);
  const request = ++latest;
  try {
    const [status, traces] = await Promise.all([fetchJson("/api/status"), fetchJson(`/api/traces${location.search}`)]);
    // A late answer to a request with older filters must not be shown.
    if (request !== latest) return;
    showStatus(status);
    showTraffic(status);
    showTraces(status, traces);
    const refused = status.last_refusal && `${count(status.refused_calls, "write")} refused. Last reason: ${status.last_refusal}`;
    notice(refused);
  } catch (error) {
    if (request !== latest) return;
    notice(error.message);
  }
  if (byId("live").checked && !document.hidden) timer = setTimeout(refresh, REFRESH_MS);
}

function notice(text) {
  const node = byId("notice");
  node.hidden = !text;
  setText(node, text ?? "");
}

function showStatus(status) {
  const parts = [
    count(status.traces, "trace"),
    count(status.spans, "span"),
    `${bytes(status.bytes)} of ${bytes(status.max_bytes)}`,
  ];
  if (status.evicted_traces) parts.push(`${count(status.evicted_traces, "older trace")} evicted`);
  byId("status").textContent = parts.join(" · ");
  fillMenu(byId("policy"), status.policies);
  fillMenu(byId("service"), status.services);
}

/** Shows the spans that the daemon received, and their outcome. A daemon in another process cannot be asked. */
function showTraffic({ daemon, traces }) {
  byId("traffic").hidden = byId("keep-all").hidden = !daemon?.received_spans;
  if (!daemon?.received_spans) return;
  const parts = [
    `Received ${count(daemon.received_spans, "span")}`,
    `sampled out ${count(daemon.sampled_out_traces, "trace")} (${count(daemon.sampled_out_spans, "span")})`,
    `kept ${count(daemon.kept_traces, "trace")}`,
    `pending ${count(daemon.pending_traces, "trace")}`,
  ];
  setText(byId("traffic"), parts.join(" · "));
  setText(byId("none-kept-why"), whyNoneKept(daemon));
  // Opened only once: the user may close it again.
  if (traces === 0 && daemon.sampled_out_traces > 0 && !keepAllShown) {
    byId("keep-all").open = keepAllShown = true;
  }
}

function whyNoneKept({ pending_traces: pending, sampled_out_traces: out, kept_traces: kept }) {
  const sentences = [];
  if (out) sentences.push(`${count(out, "trace")} came and ${out === 1 ? "was" : "were"} sampled out: no policy kept ${out === 1 ? "it" : "them"}.`);
  if (pending) sentences.push(`${count(pending, "trace")} ${pending === 1 ? "is" : "are"} pending: the daemon decides decision_wait after the first span of a trace.`);
  if (kept) sentences.push(`${count(kept, "kept trace")} ${kept === 1 ? "is" : "are"} on the way here, or had to make room.`);
  return sentences.join(" ");
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Updates a menu. Only changed entries are touched, so that an open menu stays open. */
function fillMenu(menu, countsByName) {
  const counts = new Map(Object.entries(countsByName));
  const names = [...counts.keys()];
  const chosen = filters().get(menu.id) ?? "";
  if (chosen && !names.includes(chosen)) names.push(chosen);
  const options = new Map([...menu.options].slice(1).map((option) => [option.value, option]));
  for (const [name, option] of options) if (!names.includes(name)) option.remove();
  for (const name of names) {
    const option = options.get(name) ?? menu.appendChild(element("option", { value: name }));
    const label = `${name} (${(counts.get(name) ?? 0).toLocaleString("en")})`;
    if (option.textContent !== label) option.textContent = label;
  }
  if (menu.value !== chosen) menu.value = chosen;
}

/** Updates the rows. A row with the same content stays the same element: no flicker, no lost focus. */
function showTraces(status, traces) {
  const body = byId("traces").tBodies[0];
  const present = new Map([...body.rows].map((row) => [row.dataset.trace, row]));
  const rows = traces.map((trace) => {
    const text = JSON.stringify(trace);
    const row = present.get(trace.trace_id);
    return row?.dataset.text === text ? row : traceRow(trace, text);
  });
  rows.forEach((row, index) => {
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  showAges();
  byId("traces").hidden = traces.length === 0;
  const received = status.daemon?.received_spans > 0;
  byId("empty").hidden = status.traces > 0 || received;
  byId("write-here").hidden = status.daemon !== null;
  byId("none-kept").hidden = status.traces > 0 || !received;
  byId("no-match").hidden = traces.length > 0 || status.traces === 0;
}

function traceRow(trace, text) {
  const errors = trace.error_count
    ? element("span", { className: "error", textContent: count(trace.error_count, "error") })
    : null;
  const link = element("a", { href: `/traces/${trace.trace_id}`, textContent: trace.root_name || "(no name)" });
  const started = element("time", { dateTime: trace.start, title: new Date(trace.start).toLocaleString() });
  const row = element(
    "tr",
    {},
    element("th", { scope: "row" }, link, " ", errors, element("span", { className: "id", textContent: trace.trace_id })),
    cell("Kept by", "", ...reason(trace)),
    cell("Services", "", ...serviceList(trace)),
    cell("Spans", "number", trace.span_count.toLocaleString("en")),
    cell("Duration", "number", duration(trace.duration_ms)),
    cell("Started", "number", started),
  );
  Object.assign(row.dataset, { trace: trace.trace_id, text });
  return row;
}

function cell(label, className, ...children) {
  const node = element("td", { className }, element("div", {}, ...children));
  node.dataset.label = label;
  return node;
}

function serviceList(trace) {
  const shown = trace.services.slice(0, SERVICES_SHOWN);
  const list = shown.map((service) => element("span", { className: "service" }, serviceDot(trace.service_colors[service]), service));
  const hidden = trace.services.length - shown.length;
  if (hidden > 0) list.push(element("span", { className: "service", textContent: `and ${hidden} more` }));
  return list;
}

function showAges() {
  for (const time of document.querySelectorAll("#traces time")) {
    const text = age(Date.now() - Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

function age(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 0) return "in the future";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

function filters() {
  return new URLSearchParams(location.search);
}

/** Returns the URL of this page with one filter changed. Defaults are left out. */
function urlWith(key, value) {
  const query = filters();
  query.delete(key);
  if (value && value !== "newest" && !(key === "limit" && value === "50")) query.set(key, value);
  return query.size ? `/?${query}` : "/";
}

function showFilters() {
  const query = filters();
  for (const tab of document.querySelectorAll("[data-filter]")) {
    const current = (query.get("filter") || "newest") === tab.dataset.filter;
    tab.ariaCurrent = current ? "page" : null;
    tab.href = urlWith("filter", tab.dataset.filter);
  }
  byId("limit").value = query.get("limit") || "50";
}

function go(url) {
  history.pushState(null, "", url);
  showFilters();
  refresh();
}

for (const id of menus) byId(id).addEventListener("change", (event) => go(urlWith(id, event.target.value)));
for (const tab of document.querySelectorAll("[data-filter]")) {
  tab.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(tab.href);
  });
}
for (const node of document.querySelectorAll("[data-origin]")) node.textContent = location.origin;
byId("live").addEventListener("change", refresh);
addEventListener("popstate", () => {
  showFilters();
  refresh();
});
document.addEventListener("visibilitychange", refresh);
if (location.hash === "#keep-all") byId("keep-all").open = true;
showFilters();
refresh();

// Sends one span of the browser's own and lets the services continue its trace. `run` bundles it with esbuild.
// Spansieve takes it because spansieve.yaml names the origin of the page (otlp.cors).
import { context, propagation, SpanStatusCode, trace } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

const exporter = new OTLPTraceExporter({ url: `${window.OTLP_URL}/v1/traces` });
const provider = new TracerProvider({
  resource: resourceFromAttributes({ "service.name": "page" }),
  spanProcessors: [new SimpleSpanProcessor({ exporter })],
});
propagation.setGlobalPropagator(new W3CTraceContextPropagator());

const url = `/work?fail=${new URLSearchParams(location.search).get("fail") ?? ""}`;
const span = provider.getTracer("page").startSpan(`GET ${url}`);
const headers = {};
propagation.inject(trace.setSpan(context.active(), span), headers);
const response = await fetch(url, { headers });
const text = await response.text();
if (!response.ok) span.setStatus({ code: SpanStatusCode.ERROR, message: text });
span.end();
await provider.forceFlush();
document.getElementById("result").textContent = `${response.status} trace=${span.spanContext().traceId} ${text}`;

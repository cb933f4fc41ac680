// The smallest instrumented service in Node.js: node --require @opentelemetry/auto-instrumentations-node/register app.js
// It also serves a page whose script sends spans of its own (page.js).
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

const { PORT, NEXT_URL, OTEL_SERVICE_NAME: name, PAGE_FOLDER = __dirname, HOST = "127.0.0.1" } = process.env;
const FILES = { "/": ["page.html", "text/html"], "/page.bundle.js": ["page.bundle.js", "text/javascript"] };

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const answer = (status, text, type = "text/plain") => response.writeHead(status, { "content-type": type }).end(text);
  const file = FILES[url.pathname];
  if (file) {
    fs.readFile(path.join(PAGE_FOLDER, file[0]), (error, text) => (error ? answer(404, `${file[0]} is missing\n`) : answer(200, text, file[1])));
  } else if (url.searchParams.get("fail") === name) {
    answer(500, `${name} fails as asked\n`);
  } else {
    http.get(`${NEXT_URL}/work${url.search}`, (next) => {
      let text = "";
      next.on("data", (part) => (text += part));
      next.on("end", () => answer(next.statusCode, `${name}, ${text}`));
    }).on("error", (error) => answer(502, `${name} reaches nothing: ${error.message}\n`));
  }
});
server.listen(PORT, HOST);
// The SDK answers SIGTERM by sending its last spans, so that Node.js does not end by itself any more.
process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});

// The web server of a page with converse.js, as an operator would set it up.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("node_modules/converse.js/dist", import.meta.url));
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml" };

const page = (settings) => `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>converse.js</title>
<link rel="stylesheet" href="/dist/converse.min.css"></head>
<body class="converse-fullscreen"><script type="module">
import "/dist/converse.min.js";
converse.initialize(${JSON.stringify(settings)});
</script></body></html>`;

// serve gives the page's URL, and a function that ends it.
export async function serve(settings) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://page");
    if (pathname === "/") return response.setHeader("Content-Type", "text/html").end(page(settings));
    try {
      const file = path.join(dist, path.normalize(pathname).replace(/^\/dist/, "")); // it looks for some beside the page
      if (!file.startsWith(dist + path.sep)) throw new Error("outside");
      const content = await readFile(file);
      response.setHeader("Content-Type", types[path.extname(file)] ?? "application/octet-stream").end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return [`http://127.0.0.1:${server.address().port}/`, () => (server.close(), server.closeAllConnections())];
}

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Response } from 'express';
import type { PlainRoute } from '../app.ts';
import type { ApiDeps } from '../deps.ts';

const swaggerDir = path.dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
const openApiFile = fileURLToPath(new URL('../../contracts/generated/openapi.yaml', import.meta.url));

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GPUaaS API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/init.js"></script>
</body>
</html>
`;

const init = `window.ui = SwaggerUIBundle({
  url: '/docs/openapi.yaml',
  dom_id: '#swagger-ui',
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
`;

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

function answer(response: Response, type: string, body: string | Buffer): void {
  response.setHeader('Content-Security-Policy', policy);
  response.setHeader('Content-Type', type);
  response.end(body);
}

/** The reader of the OpenAPI document, with nothing from outside, and the process's metrics. */
export function documentRoutes(deps: Pick<ApiDeps, 'metrics'>): PlainRoute[] {
  const file = (name: string, type: string, from: string): PlainRoute => ({
    path: `/docs/${name}`,
    handle: async (_request, response) => answer(response, type, await readFile(from)),
  });
  const text = (at: string, type: string, body: string): PlainRoute => ({
    path: at,
    handle: (_request, response) => Promise.resolve(answer(response, type, body)),
  });
  return [
    text('/docs', 'text/html; charset=utf-8', page),
    text('/docs/init.js', 'text/javascript; charset=utf-8', init),
    file('openapi.yaml', 'application/yaml; charset=utf-8', openApiFile),
    file('swagger-ui.css', 'text/css; charset=utf-8', path.join(swaggerDir, 'swagger-ui.css')),
    file(
      'swagger-ui-bundle.js',
      'text/javascript; charset=utf-8',
      path.join(swaggerDir, 'swagger-ui-bundle.js'),
    ),
    file('favicon-32x32.png', 'image/png', path.join(swaggerDir, 'favicon-32x32.png')),
    {
      path: '/metrics',
      handle: async (_request, response) => {
        const { contentType, text: metrics } = await deps.metrics.render();
        answer(response, contentType, metrics);
      },
    },
  ];
}

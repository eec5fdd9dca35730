// A counter of events, on Node's own HTTP server. It knows nothing of the platform: the hooks are plain requests.
// Behind the adapter it is started by `fc-hooks -- node server.js`; see ../README.md.
'use strict';

const http = require('node:http');

let events = 0;
let agent = new http.Agent({ keepAlive: true });
let thaws = 0;

const routes = {
  'POST /warm-up': () => [200, 'warm'], // FC_HOOKS_INITIALIZE
  'POST /reconnect': (request) => {
    // FC_HOOKS_ON_THAW: connections from before the freeze are dead.
    agent.destroy();
    agent = new http.Agent({ keepAlive: true });
    thaws += 1;
    return [200, `after ${request.headers['x-fc-hooks-gap-ms']} ms`];
  },
  'POST /flush': () => [200, `${events} events`], // FC_HOOKS_PRE_STOP
  'POST /events': (request, body) => {
    // FC_HOOKS_EVENT_PATH
    events += 1;
    return body === 'bad' ? [422, 'no event'] : [200, body.toUpperCase()];
  },
  'GET /': () => [200, JSON.stringify({ events, thaws })],
};

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const route = routes[`${request.method} ${request.url}`];
    const [status, body] = route ? route(request, Buffer.concat(chunks).toString()) : [404, 'not here'];
    response.writeHead(status).end(body);
  });
});

process.on('SIGTERM', () => server.close(() => process.exit(0)));
// The adapter says by PORT where to listen.
server.listen(Number(process.env.PORT ?? 8000), '127.0.0.1');

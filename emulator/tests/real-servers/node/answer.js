// A function: hooks, events that are echoed, and `GET /`. The servers beside it only bring requests to it.
const HOOKS = { '/initialize': 'POST', '/pre-freeze': 'GET', '/pre-stop': 'GET' };

module.exports = function answer(method, url, headers, event) {
  const path = url.split('?')[0];
  // A client of an HTTP trigger must not reach the hooks.
  const inside = headers['x-fc-control-path'] !== '/http-invoke';
  if (inside && HOOKS[path] === method) return { status: 200, body: 'ok' };
  if (inside && method === 'POST' && path === '/invoke') return { status: 200, body: event };
  if (method === 'GET' && path === '/') return { status: 200, body: 'hello' };
  return { status: 404, body: 'no such path' };
};

// What docs/servers-after-a-freeze.md recommends.
module.exports.fix = function fix(server) {
  if (!process.env.FIXED) return;
  server.keepAliveTimeout = 900000;
  server.headersTimeout = 0;
  server.requestTimeout = 0;
};

module.exports.port = +(process.env.FC_CUSTOM_LISTEN_PORT || 9000);

// Peer: Bun.serve.
const HEADERS = { 'x-fc-status': '200', 'content-type': 'text/plain; charset=utf-8' };

Bun.serve({
  port: Number(process.env.FC_SERVER_PORT ?? 9000),
  hostname: '0.0.0.0',
  idleTimeout: 0, // none: 10 s by default, which the platform's contract forbids (C-CONN-1)
  async fetch(request) {
    await request.arrayBuffer();
    return new Response('ready', { headers: HEADERS });
  },
});

// Peer: Node's http.
const { createServer } = require('http');

const HEADERS = { 'x-fc-status': '200', 'content-type': 'text/plain; charset=utf-8', 'content-length': '5' };

// `ECHO=whole` answers with the request's body, after all of it has come.
const echo = (request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces);
    response.sendDate = false;
    response.writeHead(200, {
      'x-fc-status': '200', 'content-type': 'application/octet-stream', 'content-length': body.length,
    });
    response.end(body);
  });
};

const ready = (request, response) => {
  request.resume();
  request.on('end', () => {
    response.sendDate = false;
    response.writeHead(200, HEADERS);
    response.end('ready');
  });
};

const server = createServer(process.env.ECHO ? echo : ready);
server.keepAliveTimeout = 900_000; // 5 s by default, which the platform's contract forbids (C-CONN-1)
server.headersTimeout = 0;
server.requestTimeout = 0;
server.listen(Number(process.env.FC_SERVER_PORT ?? 9000), '0.0.0.0');

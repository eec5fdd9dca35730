const cluster = require('cluster');
const http = require('http');
const answer = require('./answer');

if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork();
  process.on('SIGTERM', () => process.exit(0));
} else {
  const server = http.createServer((req, res) => {
    const parts = [];
    req.on('data', (part) => parts.push(part)).on('end', () => {
      const { status, body } = answer(req.method, req.url, req.headers, Buffer.concat(parts));
      res.writeHead(status, { 'x-fc-status': status < 400 ? '200' : '404' }).end(body);
    });
  });
  answer.fix(server);
  server.listen(answer.port, '0.0.0.0');
}

const express = require('express');
const answer = require('./answer');

const app = express();
app.use(express.raw({ type: () => true, limit: '64mb' }));
app.use((req, res) => {
  const event = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0);
  const { status, body } = answer(req.method, req.url, req.headers, event);
  res.set('x-fc-status', status < 400 ? '200' : '404').status(status).send(body);
});
answer.fix(app.listen(answer.port, '0.0.0.0'));
process.on('SIGTERM', () => process.exit(0));

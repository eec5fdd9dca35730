const fastify = require('fastify');
const answer = require('./answer');

const options = { bodyLimit: 64 * 1024 * 1024 };
// What docs/servers-after-a-freeze.md recommends.
if (process.env.FIXED) Object.assign(options, { keepAliveTimeout: 900000, http: { headersTimeout: 0 } });
const app = fastify(options);
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => done(null, body));
app.all('/*', (request, reply) => {
  const { status, body } = answer(request.method, request.url, request.headers, request.body || Buffer.alloc(0));
  reply.header('x-fc-status', status < 400 ? '200' : '404').code(status).send(body);
});
app.listen({ port: answer.port, host: '0.0.0.0' });
process.on('SIGTERM', () => process.exit(0));

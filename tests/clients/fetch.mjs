// Node's fetch, which is undici: calls one after the other, side by side, with a body that is streamed.
const base = process.argv[2];
const expect = (is, wanted) => { if (is !== wanted) throw new Error(`${is} is not ${wanted}`); };
const echo = async (body, options = {}) => {
  const reply = await fetch(`${base}/echo`, { method: 'POST', body, ...options });
  expect(reply.status, 200);
  expect(reply.headers.get('x-fc-status'), '200');
  return reply.text();
};
for (let call = 0; call < 20; call += 1) expect(await echo(`call ${call}`), `call ${call}`);
const many = Array.from({ length: 50 }, (_, call) => `beside ${call}`);
(await Promise.all(many.map((text) => echo(text)))).forEach((text, call) => expect(text, many[call]));
const large = 'y'.repeat(3000000);
expect(await echo(large), large);
const parts = ['one', 'two', 'three'];
const stream = new ReadableStream({ pull: (to) => (parts.length ? to.enqueue(Buffer.from(parts.shift())) : to.close()) });
expect(await echo(stream, { duplex: 'half' }), 'onetwothree');
expect((await fetch(base, { method: 'HEAD' })).headers.get('x-method'), 'HEAD');
console.log('all calls are right');

// The program behind the adapter: it echoes bodies and WebSocket messages, and has a page that tries a WebSocket. It
// prints the verdict that a page sends to /verdict.
const crypto = require('crypto');
const http = require('http');

const PAGE = `<!doctype html><script>
const socket = new WebSocket('ws://' + location.host + '/socket');
socket.binaryType = 'arraybuffer';
const sent = ['hello', 'x'.repeat(70000), new Uint8Array(200000).fill(7)];
const got = [];
const tell = (verdict) => fetch('/verdict', { method: 'POST', body: verdict });
socket.onopen = () => sent.forEach((message) => socket.send(message));
socket.onerror = () => tell('error');
socket.onmessage = ({ data }) => {
  got.push(data);
  if (got.length < sent.length) return;
  const bytes = new Uint8Array(got[2]);
  const same = got[0] === sent[0] && got[1] === sent[1] && bytes.length === 200000 && bytes.every((byte) => byte === 7);
  socket.onclose = ({ wasClean }) => tell(same && wasClean ? 'all messages came back' : 'differs');
  socket.close();
};
</script>`;

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const body = Buffer.concat(parts);
    if (request.url === '/page') return response.setHeader('content-type', 'text/html').end(PAGE);
    if (request.url === '/verdict') console.log(`verdict: ${body}`);
    response.setHeader('x-method', request.method);
    response.end(body.length ? body : `${request.method} ${request.url}`);
  });
});

// RFC 6455 §5.2: unmasks the client's frames and sends them back.
server.on('upgrade', (request, socket, head) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let unread = head;
  const take = () => {
    if (unread.length < 2) return false;
    let size = unread[1] & 127;
    let at = 2;
    if (size === 126) { if (unread.length < 4) return false; size = unread.readUInt16BE(2); at = 4; }
    else if (size === 127) { if (unread.length < 10) return false; size = Number(unread.readBigUInt64BE(2)); at = 10; }
    if (unread.length < at + 4 + size) return false;
    const mask = unread.subarray(at, at + 4);
    const body = Buffer.from(unread.subarray(at + 4, at + 4 + size)).map((byte, index) => byte ^ mask[index % 4]);
    socket.write(Buffer.concat([Buffer.from([unread[0]]), length(size), body]));
    const isClose = (unread[0] & 15) === 8;
    unread = unread.subarray(at + 4 + size);
    if (isClose) socket.end();
    return !isClose;
  };
  const look = (part) => { unread = Buffer.concat([unread, part]); while (take()); };
  socket.on('data', look);
  socket.on('error', () => {});
  look(Buffer.alloc(0));
});

function length(size) {
  if (size < 126) return Buffer.from([size]);
  const bytes = Buffer.alloc(size < 65536 ? 3 : 9);
  bytes[0] = size < 65536 ? 126 : 127;
  if (size < 65536) bytes.writeUInt16BE(size, 1); else bytes.writeBigUInt64BE(BigInt(size), 1);
  return bytes;
}

server.listen(process.env.PORT, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));

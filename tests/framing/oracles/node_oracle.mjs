// What node:http (llhttp) makes of each case: bytes from standard input, one case in hexadecimal per line, to verdicts
// on standard output, behind a line that names the version. The protocol is that of `tests/framing/oracle.rs`.

import http from "node:http";
import { once } from "node:events";
import { Duplex } from "node:stream";
import { createInterface } from "node:readline";

const hex = (text) => Buffer.from(text, "latin1").toString("hex");

// Errors that are none: the input ended in the middle, or goes on behind a request that closes.
const ENDS = { HPE_INVALID_EOF_STATE: "waits", HPE_CLOSED_CONNECTION: "closed" };

// A peer that sends the case in one piece and then its end: only so does the parser say that it was waiting.
class Wire extends Duplex {
  constructor(bytes) {
    super({ allowHalfOpen: true });
    this.push(bytes);
    this.push(null);
  }
  _read() {}
  _write(bytes, _encoding, done) {
    this.replies = (this.replies ?? "") + bytes.toString("latin1");
    done();
  }
  setTimeout() {}
  setNoDelay() {}
  setKeepAlive() {}
}

async function verdict(bytes) {
  const requests = [];
  let end;
  const server = http.createServer({ maxHeaderSize: 1 << 20, keepAliveTimeout: 0 }, (request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    // Only a request with a whole body was accepted.
    request.on("end", () => {
      requests.push([hex(request.method), hex(request.url), Buffer.concat(pieces).toString("hex")].join(":"));
      response.writeHead(404);
      response.end();
      if (!response.shouldKeepAlive) end ??= "closed";
    });
    request.on("error", () => {});
  });
  server.maxHeadersCount = 128;
  server.on("checkContinue", (request, response) => server.emit("request", request, response));
  server.on("checkExpectation", (request, response) => server.emit("request", request, response));
  // A tunnel is no request that was served.
  server.on("connect", (_request, socket) => {
    end ??= "refused CONNECT";
    socket.destroy();
  });
  server.on("clientError", (error, socket) => {
    end ??= ENDS[error.code] ?? `refused ${(error.code ?? error.message).replace("HPE_", "")}`;
    // What came before the fault is still on its way to the callback.
    setImmediate(() => socket.destroy());
  });
  const wire = new Wire(bytes);
  server.emit("connection", wire);
  if (!wire.destroyed) await once(wire, "close");
  // A request without Host is answered by node itself, which hears the next one all the same, but answers it no more.
  const statuses = [...(wire.replies ?? "").matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map((match) => match[1]);
  const refused = statuses.indexOf("400");
  if (refused >= 0) return [...requests.slice(0, refused), "refused 400"].join(" ");
  return [...requests, end ?? "waits"].join(" ");
}

console.log(`node ${process.versions.node}, llhttp ${process.versions.llhttp}`);
for await (const line of createInterface({ input: process.stdin })) {
  console.log(await verdict(Buffer.from(line, "hex")));
}

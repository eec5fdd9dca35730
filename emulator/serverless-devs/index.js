// A component of Serverless Devs: `s local start` and `s local invoke` on fc-emulator. It uses no account and no network.
// README.md says how to use it.
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');

const USAGE = `Usage: s local start [OPTIONS OF fc-emulator serve]
       s local invoke [-e EVENT | -f FILE] [-- OPTIONS OF fc-emulator serve]`;

class Emulator {
  // The command hands over each resource with its variables filled in.
  async local(inputs) {
    const [verb, ...words] = inputs.args ?? [];
    if (verb === 'start') return start(inputs, words);
    if (verb === 'invoke') return invoke(inputs, words);
    throw new Error(`unknown command \`s local ${verb ?? ''}\`\n${USAGE}`);
  }
}

/** The resource as a file of its own for the emulator. */
function definition(inputs) {
  const { region, ...props } = inputs.props;
  const base = path.dirname(inputs.yaml?.path ?? path.join(inputs.cwd ?? '.', 's.yaml'));
  if (typeof props.code === 'string') props.code = path.resolve(base, props.code);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fc-emulator-'));
  const file = path.join(folder, 's.yaml');
  const name = inputs.resource?.name ?? 'function';
  // JSON is YAML.
  const text = JSON.stringify({ edition: '3.0.0', resources: { [name]: { component: 'fc3', props } } }, null, 2);
  // Variables of a function may hold secrets.
  fs.writeFileSync(file, `${text}\n`, { mode: 0o600 });
  return { folder, file };
}

function emulator({ folder, file }, words, output) {
  const program = process.env.FC_EMULATOR || 'fc-emulator';
  const guarded = [path.join(__dirname, 'guard.js'), folder, program, 'serve', '--config', file, ...words];
  // The pipe closes with this process. A group of its own, so that Ctrl-C comes once: by the pipe.
  const child = spawn(process.execPath, guarded, { stdio: ['pipe', output, 'inherit'], detached: true });
  const ended = new Promise((resolve) => child.on('exit', (code) => resolve(code)));
  return { child, ended };
}

/** Serves until a signal ends it. */
async function start(inputs, words) {
  const code = await emulator(definition(inputs), words, 'inherit').ended;
  if (code !== 0) throw new Error(`fc-emulator ended with exit code ${code}`);
}

/** Starts an instance, sends it one event, shows the log and the answer, and ends the instance. */
async function invoke(inputs, words) {
  const { event, options } = request(inputs, words);
  const own = ['--listen=127.0.0.1:0', '--quiet', '--memory'];
  const { child, ended } = emulator(definition(inputs), [...own, ...options], 'pipe');
  try {
    const address = await ready(child, ended);
    const answer = await call(address, inputs.props.functionName, event);
    const log = Buffer.from(answer.headers['x-fc-log-result'] ?? '', 'base64').toString();
    if (log) process.stderr.write(log.endsWith('\n') ? log : `${log}\n`);
    process.stdout.write(`${answer.body}\n`);
    const kind = answer.headers['x-fc-error-type'];
    if (answer.status !== 200 || kind) throw new Error(`the call failed: ${kind ?? `status ${answer.status}`}`);
  } finally {
    child.stdin.end();
    await ended;
  }
}

function request(inputs, words) {
  let event = '';
  while (words.length) {
    const [word, value] = words.splice(0, 2);
    if (word === '--') return { event, options: value === undefined ? [] : [value, ...words] };
    if (value === undefined) throw new Error(`\`${word}\` needs a value\n${USAGE}`);
    if (word === '-e' || word === '--event') event = value;
    else if (word === '-f' || word === '--event-file') event = fs.readFileSync(path.resolve(inputs.cwd ?? '.', value));
    else throw new Error(`unknown option \`${word}\`\n${USAGE}`);
  }
  return { event, options: [] };
}

/** The address in the emulator's first line. */
function ready(child, ended) {
  const line = new Promise((resolve) => {
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => {
      text += part;
      const address = /http:\/\/([^\s/]+).*\n/.exec(text);
      if (address) resolve(address[1]);
    });
  });
  const early = ended.then((code) => Promise.reject(new Error(`fc-emulator ended with exit code ${code}`)));
  return Promise.race([line, early]);
}

/** InvokeFunction of the API. */
function call(address, name, event) {
  const [host, port] = address.split(':');
  const headers = { 'content-type': 'application/octet-stream', 'x-fc-log-type': 'Tail' };
  const target = { host, port, method: 'POST', path: `/2023-03-30/functions/${encodeURIComponent(name)}/invocations` };
  return new Promise((resolve, reject) => {
    const sent = http.request({ ...target, headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part)).on('error', reject);
      answer.on('end', () => {
        resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts).toString() });
      });
    });
    sent.on('error', reject).end(event);
  });
}

module.exports = Emulator;

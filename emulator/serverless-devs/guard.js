// Runs a program until it ends or the process that asked for it is gone, and removes a folder then. The command of
// Serverless Devs ends at Ctrl-C without a word to its components, so the end of standard input is the sign.
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');

const [folder, program, ...args] = process.argv.slice(2);
const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
const stop = () => child.kill('SIGTERM');
process.stdin.on('end', stop).on('error', stop).resume();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop);

function end(code) {
  fs.rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}

child.on('error', (cause) => {
  const how = 'build it by `cargo install --path emulator`, or name its file by the variable FC_EMULATOR';
  const why = cause.code === 'ENOENT' ? `there is no ${program}: ${how}` : `${program} does not start: ${cause.message}`;
  process.stderr.write(`${why}\n`);
  end(127);
});
child.on('exit', (code) => end(code ?? 1));

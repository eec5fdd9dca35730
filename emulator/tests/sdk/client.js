// Calls a function through the official Node.js client, unmodified. Prints one line for each step.
const { default: Client, ...models } = require('@alicloud/fc20230330');
const { Config } = require('@alicloud/openapi-core').$OpenApiUtil;
const { RuntimeOptions } = require('@darabonba/typescript');
const { Readable } = require('stream');

const [endpoint, accessKeyId, accessKeySecret] = process.argv.slice(2);
const client = new Client(new Config({ endpoint, protocol: 'HTTP', accessKeyId, accessKeySecret }));
const runtime = new RuntimeOptions({ readTimeout: 60000, connectTimeout: 60000 });
const show = (step, values) => console.log(step, ...Object.entries(values).map(([name, value]) => `${name}=${value}`));

async function text(stream) {
  let all = '';
  for await (const chunk of stream) all += chunk;
  return all;
}

async function invoke(body, fields) {
  const request = new models.InvokeFunctionRequest({ body: Readable.from([Buffer.from(body)]) });
  const answer = await client.invokeFunctionWithOptions(
    'function', request, new models.InvokeFunctionHeaders(fields), runtime);
  return { ...answer, text: await text(answer.body) };
}

async function main() {
  let answer = await invoke('{"a": 1}', { xFcLogType: 'Tail' });
  const log = Buffer.from(answer.headers['x-fc-log-result'], 'base64').toString();
  show('sync', { status: answer.statusCode, body: answer.text, log: log.includes('8 bytes') });
  answer = await invoke('{"fails": 9}', {});
  show('failed', { status: answer.statusCode, type: answer.headers['x-fc-error-type'] });
  answer = await invoke('{"fails": 1}', { xFcInvocationType: 'Async', xFcAsyncTaskId: 'from-node' });
  show('async', { status: answer.statusCode });
  let task;
  for (let look = 0; look < 600; look++) {
    task = (await client.getAsyncTaskWithOptions(
      'function', 'from-node', new models.GetAsyncTaskRequest({}), {}, runtime)).body;
    if (task.status === 'Succeeded') break;
    await new Promise((done) => setTimeout(done, 100));
  }
  show('task', { status: task.status, retries: task.alreadyRetriedTimes });
  const body = new models.CreateSessionInput({ sessionId: 'mine' });
  await client.createSessionWithOptions('function', new models.CreateSessionRequest({ body }), {}, runtime);
  const paused = await client.pauseSessionWithOptions(
    'function', 'mine', new models.PauseSessionRequest({}), {}, runtime);
  const resumed = await client.resumeSessionWithOptions(
    'function', 'mine', new models.ResumeSessionRequest({}), {}, runtime);
  show('paused', { status: paused.body.sessionStatus, then: resumed.body.sessionStatus });
  try {
    await client.invokeFunctionWithOptions(
      'nobody', new models.InvokeFunctionRequest({}), new models.InvokeFunctionHeaders({}), runtime);
  } catch (error) {
    show('unknown', { code: error.code, status: error.statusCode });
  }
}

main().catch((error) => { console.log('error', error); process.exitCode = 1; });

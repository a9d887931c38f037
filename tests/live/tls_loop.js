// The same as tls_loop.py, in Node.
//
//     tls_loop.js serve CERT,KEY
//     tls_loop.js ask CERT PORT SETTLE TIMES CONNECTIONS EACH
'use strict';
const fs = require('fs');
const https = require('https');

function serve(both) {
  const [cert, key] = both.split(',').map((file) => fs.readFileSync(file));
  const server = https.createServer({ cert, key }, (request, response) => {
    setTimeout(() => response.end(request.url), 1);
  });
  server.listen(0, '127.0.0.1', 512, () => console.log(server.address().port));
}

function get(options) {
  return new Promise((done, fail) => {
    const request = https.get(options, (response) => {
      let body = '';
      response.on('data', (part) => (body += part));
      response.on('end', () =>
        response.statusCode === 200 && body === options.path ? done() : fail(new Error(`${options.path}: ${body}`)));
    });
    request.on('error', fail);
  });
}

async function ask(certificate, port, settle, times, connections, each) {
  await new Promise((done) => setTimeout(done, settle * 1000));
  const ca = fs.readFileSync(certificate);
  for (let time = 0; time < times; time += 1) {
    const work = Array.from({ length: connections }, async (_, connection) => {
      const agent = new https.Agent({ ca, keepAlive: true, maxSockets: 1 });
      for (let request = 0; request < each; request += 1) {
        await get({ agent, host: '127.0.0.1', port, path: `/${time}.${connection}.${request}` });
      }
      agent.destroy();
    });
    await Promise.all(work);
  }
}

const [act, ...words] = process.argv.slice(2);
if (act === 'serve') {
  serve(words[0]);
} else {
  ask(words[0], ...words.slice(1).map(Number)).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

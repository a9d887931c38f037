// One hop of a chain in an event loop: Node's own http, no tracing.
//
//     node hop.js [--next URL] [--client pool|oneshot] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
//
// Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes.

'use strict'

const http = require('http')
const { parseArgs } = require('util')

const { values } = parseArgs({
  options: {
    next: { type: 'string' },
    client: { type: 'string', default: 'pool' },
    calls: { type: 'string', default: '1' },
    order: { type: 'string', default: 'sequential' },
    'think-ms': { type: 'string', default: '0' },
    'jitter-ms': { type: 'string', default: '0' },
  },
})
const calls = values.next ? Number(values.calls) : 0
const agent = new http.Agent({ keepAlive: values.client !== 'oneshot', maxSockets: Infinity })
const base = values.next ? new URL(values.next) : undefined
const prefix = base ? base.pathname.replace(/\/$/, '') : ''

function think() {
  const ms = Number(values['think-ms']) + Math.random() * Number(values['jitter-ms'])
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve()
}

function call(path) {
  return new Promise((resolve, reject) => {
    const options = { agent, host: base.hostname, port: base.port, path: prefix + path }
    const request = http.get(options, (answer) => {
      let body = ''
      answer.setEncoding('utf8')
      answer.on('data', (piece) => (body += piece))
      answer.on('end', () => {
        if (answer.statusCode !== 200) return reject(new Error(`${answer.statusCode}: ${body}`))
        resolve([...(prefix ? [prefix + path] : []), ...body.split('\n').filter(Boolean)])
      })
    })
    request.on('error', reject)
  })
}

async function work(path) {
  const called = [path]
  const children = Array.from({ length: calls }, (_, number) => `${path}.${number}`)
  if (values.order === 'nested') {
    await think()
    called.push(...(await Promise.all(children.map(call))).flat())
  } else {
    for (const child of children) {
      await think()
      called.push(...(await call(child)))
    }
  }
  await think()
  return called
}

const server = http.createServer((request, response) => {
  work(request.url).then(
    (called) => response.end(called.map((path) => `${path}\n`).join('')),
    (error) => {
      response.statusCode = 502
      response.end(String(error))
    },
  )
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', 1024, () => console.log(server.address().port))
process.on('SIGTERM', () => process.exit(0))

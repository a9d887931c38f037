// One hop of a chain in an event loop: Node's own http, or express, and its own client, or fetch, no tracing.
//
//     node hop.js [--serve http|express] [--send http|fetch] [--next URL] [--client pool|oneshot] [--calls 1]
//         [--order sequential] [--think-ms 0] [--jitter-ms 0]
//
// Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes. express is looked for
// in NODE_PATH. fetch keeps its connections alive, whatever --client says.

'use strict'

const http = require('http')
const { parseArgs } = require('util')

const { values } = parseArgs({
  options: {
    serve: { type: 'string', default: 'http' },
    send: { type: 'string', default: 'http' },
    next: { type: 'string' },
    client: { type: 'string', default: 'pool' },
    calls: { type: 'string', default: '1' },
    skip: { type: 'string', default: '0' },
    late: { type: 'string', default: '0' },
    order: { type: 'string', default: 'sequential' },
    'think-ms': { type: 'string', default: '0' },
    'jitter-ms': { type: 'string', default: '0' },
  },
})
const agent = new http.Agent({ keepAlive: values.client !== 'oneshot', maxSockets: Infinity })
const base = values.next ? new URL(values.next) : undefined
const prefix = base ? base.pathname.replace(/\/$/, '') : ''

// The call itself, where a proxy is to take a segment off its path.
function via(path) {
  return prefix ? [prefix + path] : []
}

function named(count, name) {
  return Array.from({ length: Number(count) }, (_, number) => name + number)
}

function children(path) {
  if (!base || path.includes('.late')) return []
  return named(values.calls, `${path}.`).filter(() => Math.random() >= Number(values.skip))
}

function lateChildren(path) {
  return !base || path.includes('.late') ? [] : named(values.late, `${path}.late`)
}

function think() {
  const ms = Number(values['think-ms']) + Math.random() * Number(values['jitter-ms'])
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve()
}

function get(path) {
  return new Promise((resolve, reject) => {
    const request = http.get({ agent, host: base.hostname, port: base.port, path }, (answer) => {
      let body = ''
      answer.setEncoding('utf8')
      answer.on('data', (piece) => (body += piece))
      answer.on('end', () => resolve({ status: answer.statusCode, body }))
    })
    request.on('error', reject)
  })
}

async function fetched(path) {
  const answer = await fetch(base.origin + path)
  return { status: answer.status, body: await answer.text() }
}

async function call(path) {
  const send = values.send === 'fetch' ? fetched : get
  const { status, body } = await send(prefix + path)
  if (status !== 200) throw new Error(`${status}: ${body}`)
  return [...via(path), ...body.split('\n').filter(Boolean)]
}

async function work(path) {
  const called = [path]
  if (values.order === 'nested') {
    await think()
    called.push(...(await Promise.all(children(path).map(call))).flat())
  } else {
    for (const child of children(path)) {
      await think()
      called.push(...(await call(child)))
    }
  }
  await think()
  return [...called, ...lateChildren(path).flatMap((child) => [...via(child), child])]
}

async function workLate(path) {
  for (const child of lateChildren(path)) await call(child)
}

function answer(request, response) {
  work(request.url).then(
    (called) => response.end(called.map((path) => `${path}\n`).join(''), () => workLate(request.url)),
    (error) => {
      response.statusCode = 502
      response.end(String(error))
    },
  )
}

const handler = values.serve === 'express' ? require('express')().use(answer) : answer
const server = http.createServer(handler)
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', 1024, () => console.log(server.address().port))
process.on('SIGTERM', () => process.exit(0))

// One hop of a chain in grpc-js, or a client that tries every kind of call, no tracing.
//
//     node hop.js [--next URL] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
//     node hop.js --ask URL --methods Unary,… [--total 20] [--in-flight 1] [--size 0] [--run r] [--truth FILE]
//
// The server of echoes.py, or a client of it; otherwise as ../hop_grpc.py, whose options it takes. grpc-js is looked for
// in NODE_PATH.

'use strict'

const fs = require('fs')
const { parseArgs } = require('util')
const grpc = require('@grpc/grpc-js')

const { values } = parseArgs({
  options: {
    next: { type: 'string' },
    client: { type: 'string', default: 'pool' },
    calls: { type: 'string', default: '1' },
    skip: { type: 'string', default: '0' },
    late: { type: 'string', default: '0' },
    order: { type: 'string', default: 'sequential' },
    'think-ms': { type: 'string', default: '0' },
    'jitter-ms': { type: 'string', default: '0' },
    ask: { type: 'string' },
    methods: { type: 'string', default: 'Unary' },
    total: { type: 'string', default: '20' },
    'in-flight': { type: 'string', default: '1' },
    size: { type: 'string', default: '0' },
    'deadline-ms': { type: 'string', default: '200' },
    run: { type: 'string', default: 'r' },
    truth: { type: 'string' },
  },
})
// Of one call that streams.
const MESSAGES = 3
const base = values.next || values.ask ? new URL(values.next ?? values.ask) : undefined
const prefix = base ? base.pathname.replace(/\/$/, '') : ''
// It connects at its first call.
const client = base ? new grpc.Client(base.host, grpc.credentials.createInsecure()) : undefined

// Messages are bytes as they are.
function raw(bytes) {
  return bytes
}

function metadata(id) {
  const metadata = new grpc.Metadata()
  if (id) metadata.set('x-echo-id', id)
  return metadata
}

function unary(path, message, { id, deadline } = {}) {
  return new Promise((resolve, reject) => {
    const end = (error, answer) => (error ? reject(error) : resolve([answer]))
    client.makeUnaryRequest(path, raw, raw, message, metadata(id), { deadline }, end)
  })
}

// The paths that were called for a job, its own first.
async function job(path) {
  const [answer] = await unary(prefix + path, Buffer.from(path))
  // The call itself, where a proxy is to take a segment off its path.
  return [...(prefix ? [prefix + path] : []), ...answer.toString().split('\n').filter(Boolean)]
}

function children(path) {
  if (!base) return []
  const children = Array.from({ length: Number(values.calls) }, (_, number) => `${path}.${number}`)
  return children.filter(() => Math.random() >= Number(values.skip))
}

function think() {
  const ms = Number(values['think-ms']) + Math.random() * Number(values['jitter-ms'])
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve()
}

async function work(path) {
  const called = [path]
  if (values.order === 'nested') {
    await think()
    called.push(...(await Promise.all(children(path).map(job))).flat())
  } else {
    for (const child of children(path)) {
      await think()
      called.push(...(await job(child)))
    }
  }
  await think()
  return called
}

function answerJob(call, end) {
  work(call.getPath()).then((called) => end(null, Buffer.from(called.join('\n'))), end)
}

function sendIdBack(call) {
  const [id] = call.metadata.get('x-echo-id')
  call.sendMetadata(metadata(id))
  const trailer = new grpc.Metadata()
  trailer.set('x-echo-end', id)
  return trailer
}

const ECHO = {
  Unary(call, end) {
    const trailer = sendIdBack(call)
    end(null, call.request, trailer)
  },
  ServerStream(call) {
    const trailer = sendIdBack(call)
    for (let times = 0; times < MESSAGES; times++) call.write(call.request)
    call.end(trailer)
  },
  ClientStream(call, end) {
    const trailer = sendIdBack(call)
    const messages = []
    call.on('data', (message) => messages.push(message))
    call.on('end', () => end(null, Buffer.concat(messages), trailer))
  },
  BidiStream(call) {
    const trailer = sendIdBack(call)
    call.on('data', (message) => call.write(message))
    call.on('end', () => call.end(trailer))
  },
  NotFound(_, end) {
    end({ code: grpc.status.NOT_FOUND, details: 'there is none' })
  },
  DataLoss(call) {
    call.write(call.request)
    call.emit('error', { code: grpc.status.DATA_LOSS, details: 'the rest is lost' })
  },
  DeadlineExceeded(call, end) {
    call.on('cancelled', () => end({ code: grpc.status.CANCELLED }))
  },
  Cancelled(call) {
    call.write(call.request)
    call.on('cancelled', () => call.end())
  },
}

const TYPES = {
  ServerStream: 'serverStream',
  DataLoss: 'serverStream',
  Cancelled: 'serverStream',
  ClientStream: 'clientStream',
  BidiStream: 'bidi',
}

function serve() {
  const server = new grpc.Server()
  for (const [method, answer] of Object.entries(ECHO)) {
    server.register(`/chain.Echo/${method}`, answer, raw, raw, TYPES[method] ?? 'unary')
  }
  server.register('/job/', answerJob, raw, raw, 'unary')
  // It has no handler of every path, as the other implementations have: so its table has one.
  const { handlers } = server
  const get = handlers.get.bind(handlers)
  handlers.get = (path) => (path.startsWith('/job/') ? { ...get('/job/'), path } : get(path))
  server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error
    console.log(port)
  })
  process.on('SIGTERM', () => process.exit(0))
}

// The answers of a call that streams; `each` is told how many there are.
function streamed(call, each = () => {}) {
  return new Promise((resolve, reject) => {
    const answers = []
    call.on('data', (answer) => {
      answers.push(answer)
      each(answers.length)
    })
    call.on('end', () => resolve(answers))
    call.on('error', reject)
  })
}

function ask(method, message, id) {
  const path = `/chain.Echo/${method}`
  switch (method) {
    case 'ServerStream':
    case 'DataLoss':
      return streamed(client.makeServerStreamRequest(path, raw, raw, message, metadata(id)))
    case 'ClientStream':
      return new Promise((resolve, reject) => {
        const end = (error, answer) => (error ? reject(error) : resolve([answer]))
        const call = client.makeClientStreamRequest(path, raw, raw, metadata(id), end)
        for (let times = 0; times < MESSAGES; times++) call.write(message)
        call.end()
      })
    case 'BidiStream': {
      // Says the next only when the last was answered.
      const call = client.makeBidiStreamRequest(path, raw, raw, metadata(id))
      const answers = streamed(call, (count) => (count < MESSAGES ? call.write(message) : call.end()))
      call.write(message)
      return answers
    }
    case 'DeadlineExceeded':
      return unary(path, message, { id, deadline: Date.now() + Number(values['deadline-ms']) })
    case 'Cancelled': {
      const call = client.makeServerStreamRequest(path, raw, raw, message, metadata(id))
      return streamed(call, () => call.cancel())
    }
    default:
      return unary(path, message, { id })
  }
}

function expected(method, message) {
  if (method === 'ClientStream') return [Buffer.concat(Array(MESSAGES).fill(message))]
  return Array(method === 'ServerStream' || method === 'BidiStream' ? MESSAGES : 1).fill(message)
}

async function outcome(method, number, called) {
  try {
    if (method === 'Job') {
      called.push(...(await job(`/job/${values.run}${number}`)))
      return 0
    }
    const id = `${values.run}-${method}-${number}`
    const message = Buffer.from(id.padEnd(Number(values.size), '.'))
    const answers = await ask(method, message, id)
    const wanted = expected(method, message)
    const isRight = answers.length === wanted.length && answers.every((answer, at) => answer.equals(wanted[at]))
    return isRight ? 0 : 'wrong answer'
  } catch (error) {
    if (error.code === undefined) throw error
    return error.code
  }
}

async function askAll() {
  const counts = {}
  const called = []
  const methods = values.methods.split(',')
  const work = Array.from({ length: Number(values.total) }, (_, number) => methods.map((method) => [method, number]))
  const calls = work.flat()[Symbol.iterator]()
  async function send() {
    for (const [method, number] of calls) {
      const ended = await outcome(method, number, called)
      counts[method] ??= {}
      counts[method][ended] = (counts[method][ended] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: Number(values['in-flight']) }, send))
  if (values.truth) fs.writeFileSync(values.truth, called.map((path) => `${path}\n`).join(''))
  console.log(JSON.stringify(counts))
  client.close()
}

if (values.ask) askAll()
else serve()

/** Servers that answer before they have read the request: the response is whole, and the source is read no further. */
import { constants } from 'node:http2'
import { describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import type { AgentOptions, FetchInit } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { startH2c } from './support/http2-servers.ts'
import { Recorder, send } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { startTcpServer } from './support/servers.ts'
import { untilStopped } from './support/standstill.ts'

type Body = FetchInit['body']

const CHUNK = new Uint8Array(64 * 1024)
const ANSWER = 'too large, '.repeat(2000)

/** A source without end, and whether it was told to stop. */
interface Endless {
  body: Body
  pulls: number
  isStopped: boolean
}

const sources: [string, () => Endless][] = [
  [
    'an async generator',
    () => {
      async function* generate(): AsyncGenerator<Uint8Array> {
        try {
          for (;;) {
            endless.pulls++
            yield CHUNK
          }
        } finally {
          endless.isStopped = true
        }
      }
      const endless: Endless = { body: generate(), pulls: 0, isStopped: false }
      return endless
    },
  ],
  [
    'a ReadableStream',
    () => {
      const body = new ReadableStream({
        pull(controller) {
          endless.pulls++
          controller.enqueue(CHUNK)
        },
        cancel() {
          endless.isStopped = true
        },
      })
      const endless: Endless = { body: body as never, pulls: 0, isStopped: false }
      return endless
    },
  ],
]

interface Answer {
  status: number
  text: string
}

const ways = {
  fetch: async (agent: Agent, origin: string, body: Body): Promise<Answer> => {
    const method = body === null ? 'GET' : 'POST'
    const response = await fetch(origin, { method, body, dispatcher: agent })
    return { status: response.status, text: await response.text() }
  },
  dispatch: async (agent: Agent, origin: string, body: Body): Promise<Answer> => {
    const method = body === null ? 'GET' : 'POST'
    const recorder = send(agent, origin, new Recorder(), { method, body: body as never })
    await recorder.ended
    expect(recorder.error).toBe(null)
    return { status: recorder.status, text: recorder.body.toString() }
  },
}

const rows = (['wire', 'reqwest'] as const).flatMap((transport) =>
  (['fetch', 'dispatch'] as const).flatMap((way) =>
    sources.map(([source, open]) => ({ transport, way, source, open })),
  ),
)

async function assertStopped(endless: Endless): Promise<void> {
  await until(() => endless.isStopped)
  const { pulls } = endless
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(endless.pulls).toBe(pulls)
}

describe.each(select(rows, { source: sources[0]![0] }))('$source, $way on $transport', ({ transport, way, open }) => {
  const post = ways[way]

  test('HTTP/1.1: the connection is dropped, and the next request has another', async () => {
    const stalled = Promise.withResolvers<void>()
    await using server = await startTcpServer((socket) => {
      socket.once('data', async (head: Buffer) => {
        const isUpload = head.toString('latin1').startsWith('POST')
        if (isUpload) {
          // The client is stuck in a write, then and afterwards.
          socket.pause()
          await stalled.promise
        }
        socket.write(`HTTP/1.1 ${isUpload ? 413 : 200} X\r\ncontent-length: ${ANSWER.length}\r\n\r\n${ANSWER}`)
      })
    })
    await using agent = new Agent({ transport })
    let disconnects = 0
    agent.on('disconnect', () => disconnects++)
    const endless = open()
    const answer = post(agent, server.origin, endless.body)
    await untilStopped(() => endless.pulls)
    stalled.resolve()
    expect(await answer).toEqual({ status: 413, text: ANSWER })
    await assertStopped(endless)
    // reqwest tells nothing of its connections.
    if (transport === 'wire') await until(() => disconnects === 1)
    expect(await post(agent, server.origin, null)).toEqual({ status: 200, text: ANSWER })
    expect(server.accepted).toBe(2)
    await until(() => agent.stats.bufferedBytes === 0)
  })

  test.each([true, false])('HTTP/2: the connection is kept, also with a reset (%s) behind it', async (resets) => {
    let given: number | undefined
    await using server = await startH2c((stream, headers) => {
      const isUpload = headers[':method'] === 'POST'
      stream.on('close', () => {
        if (isUpload) given = stream.rstCode
      })
      stream.respond({ ':status': isUpload ? 413 : 200 })
      stream.end(ANSWER, () => {
        // RFC 9113 §8.1: NO_ERROR asks the client to stop.
        if (isUpload && resets) stream.close(constants.NGHTTP2_NO_ERROR)
      })
      if (isUpload) stream.pause()
    })
    const options: AgentOptions = { transport, useH2c: true }
    await using agent = new Agent(options)
    const endless = open()
    expect(await post(agent, server.origin, endless.body)).toEqual({ status: 413, text: ANSWER })
    await assertStopped(endless)
    // A window that stays shut keeps reqwest's stream open; Node tells nothing of one that it has reset itself.
    if (!resets && transport === 'wire') await until(() => given === constants.NGHTTP2_CANCEL)
    expect(await post(agent, server.origin, null)).toEqual({ status: 200, text: ANSWER })
    expect(server.accepted).toBe(1)
    await until(() => agent.stats.bufferedBytes === 0)
  })
})

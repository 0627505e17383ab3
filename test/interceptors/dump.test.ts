/** undici's `interceptors.dump` over the agent. */
import { response } from '../contract/support/raw-server.ts'
import { ask, behaviour, composed, failureOf } from './support/behaviour.ts'
import type { Stage } from './support/behaviour.ts'

const dumping = (stage: Stage, options?: object) =>
  composed(stage, stage.contestant.undici.interceptors.dump(options as never))

const length = (bytes: number): string => response('200 OK', [`content-length: ${bytes}`], 'x'.repeat(bytes))
const chunked = (chunk: string): string => `${chunk.length.toString(16)}\r\n${chunk}\r\n`

behaviour('a body is dropped, its head is not, and the connection serves others', {
  run: async (stage) => {
    const server = await stage.raw(length(5000))
    const agent = dumping(stage)
    const answers: unknown[] = []
    for (let index = 0; index < 3; index++) answers.push(await ask(stage, agent, server.origin))
    return [answers, server.accepted < 3]
  },
  expected: [Array.from({ length: 3 }, () => [200, '']), true],
})

behaviour('an announced length beyond the most fails before the body', {
  run: async (stage) => {
    const server = await stage.raw(length(101))
    return [
      await failureOf(() => ask(stage, dumping(stage, { maxSize: 100 }), server.origin)),
      await failureOf(() => ask(stage, dumping(stage), server.origin, { dumpMaxSize: 100 })),
    ]
  },
  expected: Array.from({ length: 2 }, () => 'UND_ERR_ABORTED: Response size (101) larger than maxSize (100)'),
})

behaviour('a chunked body beyond the most fails inside, one of just the most does not', {
  run: async (stage) => {
    const body = (bytes: number): string => `${chunked('x'.repeat(bytes))}0\r\nx-sum: 1\r\n\r\n`
    const server = await stage.raw((request) =>
      response('200 OK', ['transfer-encoding: chunked'], body(request.lines[0]!.includes('/more') ? 101 : 100)),
    )
    const agent = dumping(stage, { maxSize: 100 })
    return [
      await failureOf(() => ask(stage, agent, `${server.origin}/more`)),
      await ask(stage, agent, `${server.origin}/just`),
    ]
  },
  expected: ['UND_ERR_ABORTED: Response size (101) larger than maxSize (100)', [200, '']],
})

behaviour('HEAD and 204 pass', {
  run: async (stage) => {
    const server = await stage.raw((request) =>
      request.lines[0]!.startsWith('HEAD') ? response('200 OK', ['content-length: 100']) : response('204 None'),
    )
    const agent = dumping(stage, { maxSize: 1000 })
    return [await ask(stage, agent, server.origin, { method: 'HEAD' }), await ask(stage, agent, server.origin)]
  },
  expected: [
    [200, ''],
    [204, ''],
  ],
})

behaviour('a size that is none is refused', {
  run: (stage) => failureOf(() => ask(stage, dumping(stage, { maxSize: 'x' }), 'http://127.0.0.1:9')),
  expected: 'UND_ERR_INVALID_ARG: maxSize must be a number greater than 0',
})

/** undici's `interceptors.responseError` over the agent. */
import { response } from '../contract/support/raw-server.ts'
import { ask, behaviour, composed } from './support/behaviour.ts'
import type { Stage } from './support/behaviour.ts'

const strict = (stage: Stage) => composed(stage, stage.contestant.undici.interceptors.responseError())

const answerOf = async (stage: Stage, answer: string): Promise<unknown[]> => {
  const server = await stage.raw(answer)
  const agent = strict(stage)
  const outcome = await ask(stage, agent, server.origin).catch((error: unknown) => error)
  if (!(outcome instanceof Error)) return outcome as unknown[]
  const { name, code, statusCode, body } = outcome as Error & Record<'code' | 'statusCode' | 'body', unknown>
  return [name, code, statusCode, body]
}

for (const [title, answer, expected] of [
  ['200 passes', response('200 OK', ['content-length: 2'], 'ok'), [200, 'ok']],
  ['302 passes', response('302 Moved', ['location: /', 'content-length: 2'], 'ok'), [302, 'ok']],
  ['204 passes', response('204 None'), [204, '']],
  [
    'JSON is parsed',
    response('400 Bad', ['content-type: application/json; charset=utf-8', 'content-length: 7'], '{"a":1}'),
    ['ResponseError', 'UND_ERR_RESPONSE', 400, { a: 1 }],
  ],
  [
    'JSON that is none stays text',
    response('400 Bad', ['content-type: application/json', 'content-length: 2'], '{"'),
    ['ResponseError', 'UND_ERR_RESPONSE', 400, '{"'],
  ],
  [
    'text is decoded over chunks',
    response(
      '500 Bad',
      ['content-type: text/plain', 'transfer-encoding: chunked'],
      '4\r\ncaf\u00c3\r\n1\r\n\u00a9\r\n0\r\n\r\n',
    ),
    ['ResponseError', 'UND_ERR_RESPONSE', 500, 'caf\u00e9'],
  ],
  [
    'no body',
    response('503 Bad', ['content-type: text/plain', 'content-length: 0']),
    ['ResponseError', 'UND_ERR_RESPONSE', 503, ''],
  ],
] as const) {
  behaviour(title, { run: (stage) => answerOf(stage, answer), expected: [...expected] as unknown[] })
}

behaviour('a body that breaks off is the error that it is', {
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => {
      socket.end(response('500 Bad', ['content-type: text/plain', 'content-length: 9'], 'one'))
    })
    const error = await ask(stage, strict(stage), server.origin).catch((reason: unknown) => reason)
    return [(error as Error).name, (error as { code: string }).code]
  },
  expected: ['SocketError', 'UND_ERR_SOCKET'],
})

behaviour('the connection of a refused response serves the next', {
  run: async (stage) => {
    const server = await stage.raw(response('500 Bad', ['content-type: text/plain', 'content-length: 3'], 'bad'))
    const agent = strict(stage)
    for (let index = 0; index < 3; index++) await ask(stage, agent, server.origin).catch(() => {})
    return [server.requests.length, server.accepted < 3]
  },
  expected: [3, true],
})

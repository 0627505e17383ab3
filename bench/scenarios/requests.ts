/** `http1`, `http2` and `proxy`: small requests by every client there is. */
import { clients } from '../contestants/index.ts'
import type { Call, Target } from '../contestants/client.ts'
import { wrk } from '../contestants/programs.ts'
import { measureRequests } from '../measure-requests.ts'
import type { Config } from '../config.ts'
import type { Context, Scenario, Work } from './scenario.ts'

/** Bytes of the answer of `/`, and of a POST's body. */
const HELLO = 26
const POST = 1024

const sizeText = (bytes: number): string => (bytes >= 1024 ** 2 ? `${bytes / 1024 ** 2} MiB` : `${bytes / 1024} KiB`)

function work(
  scenario: 'http1' | 'http2' | 'proxy',
  part: Partial<Work> & Pick<Work, 'id' | 'title' | 'parallel'>,
): Work {
  return {
    metric: part.parallel === 1 ? 'meanMicros' : 'perSecond',
    isThroughput: part.parallel !== 1,
    method: 'GET',
    path: '/',
    bytes: HELLO,
    contestants: contestantsOf(scenario),
    ...part,
  }
}

function contestantsOf(scenario: 'http1' | 'http2' | 'proxy'): string[] {
  return clients
    .filter(({ name, http2, proxy }) => {
      if (scenario === 'http1') return name !== 'node:http2'
      return scenario === 'http2' ? http2 : proxy
    })
    .map(({ name }) => name)
}

function smallWorks(scenario: 'http1' | 'http2', { parallel }: Config): Work[] {
  return (['GET', 'POST'] as const).flatMap((method) =>
    parallel.map((at) => {
      const small = work(scenario, {
        id: `${scenario}/${method.toLowerCase()}/${at}`,
        title: `${method} ${method === 'GET' ? 'small' : '1 KiB'}, ${at} at once`,
        method,
        parallel: at,
      })
      if (scenario === 'http1' && method === 'GET') small.contestants.push('wrk')
      return small
    }),
  )
}

const largeWorks = (config: Config): Work[] =>
  config.sizes.map((bytes) =>
    work('http1', {
      id: `http1/bytes/${bytes}`,
      title: `GET ${sizeText(bytes)}, 8 at once`,
      path: `/bytes/${bytes}`,
      parallel: 8,
      bytes,
    }),
  )

function proxyWorks(): Work[] {
  const tunnelled = contestantsOf('proxy').filter((name) => name !== 'axios')
  return [
    work('proxy', { id: 'proxy/absolute', title: 'GET small by absolute form, 64 at once', parallel: 64 }),
    work('proxy', {
      id: 'proxy/connect',
      title: 'GET small over TLS by CONNECT, 64 at once',
      parallel: 64,
      contestants: tunnelled,
    }),
  ]
}

function targetOf({ id, parallel }: Work, { server, config }: Context): Target {
  const isTls = id.startsWith('http2/') || id === 'proxy/connect'
  return {
    origin: isTls ? `https://localhost:${server.https}` : `http://127.0.0.1:${server.http}`,
    ca: isTls ? server.ca : undefined,
    connections: config.connections || parallel,
    isHttp2: id.startsWith('http2/'),
    proxy: id.startsWith('proxy/') ? `http://127.0.0.1:${server.proxy}` : undefined,
  }
}

function scenario(name: 'http1' | 'http2' | 'proxy', works: (config: Config) => Work[]): Scenario {
  return {
    name,
    isShared: true,
    works,
    async measure(contestant, job, context) {
      const target = targetOf(job, context)
      const { parallel, bytes, method, path } = job
      const { time, warmUp } = context.config
      if (contestant === 'wrk') return wrk(target.origin + path, parallel, Math.max(1, Math.round(time / 1000)))
      const opener = clients.find((candidate) => candidate.name === contestant)
      if (opener === undefined) throw new Error(`no such contestant: ${contestant}`)
      const client = await opener.open(target)
      const call: Call = { method, path, body: method === 'POST' ? Buffer.alloc(POST, 'x') : undefined }
      return measureRequests(() => client(call), { parallel, bytes, time, warmUp })
    },
  }
}

export const http1 = scenario('http1', (config) => [...smallWorks('http1', config), ...largeWorks(config)])
export const http2 = scenario('http2', (config) => smallWorks('http2', config))
export const proxy = scenario('proxy', proxyWorks)

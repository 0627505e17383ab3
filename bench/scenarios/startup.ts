/** A process that has just begun: how long until a client is loaded, and until its first response is read. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from '../paths.ts'
import { engineOf, ofBoth } from '../contestants/sluice.ts'
import { load } from '../installation.ts'
import { peakRss } from '../meter.ts'
import type { Scenario } from './scenario.ts'

type First = (url: string) => Promise<number>

const readFetch =
  (fetches: (url: string, init?: any) => Promise<any>, init?: object): First =>
  async (url) =>
    (await (await fetches(url, init)).arrayBuffer()).byteLength

/** Loads what the contestant needs. sluice is loaded as it is published, from `dist`, not as sources. */
async function loadContestant(contestant: string): Promise<First> {
  switch (contestant) {
    case 'built-in fetch':
      return readFetch(globalThis.fetch)
    case 'undici fetch':
      return readFetch(((await load('undici')) as any).fetch)
    case 'undici request': {
      const { request } = (await load('undici')) as any
      return async (url) => (await (await request(url)).body.arrayBuffer()).byteLength
    }
    case 'ky':
      return readFetch(((await load('ky')) as any).default)
    case 'got': {
      const { default: got } = (await load('got')) as any
      return async (url) => (await got(url, { responseType: 'buffer' })).rawBody.length
    }
    case 'axios': {
      const { default: axios } = (await load('axios')) as any
      return async (url) => (await axios.get(url, { responseType: 'arraybuffer' })).data.byteLength
    }
    case 'impit': {
      const { Impit } = (await load('impit')) as any
      return async (url) => (await (await new Impit().fetch(url)).arrayBuffer()).byteLength
    }
    case 'node:http': {
      const { get } = await import('node:http')
      return (url) =>
        new Promise((resolve, reject) => {
          get(url, (response) => {
            let bytes = 0
            response.on('data', (chunk: Buffer) => (bytes += chunk.length)).on('end', () => resolve(bytes))
          }).on('error', reject)
        })
    }
    default: {
      const { Agent, fetch } = (await load(pathToFileURL(join(root, 'dist', 'lib', 'index.js')).href)) as any
      // The default agent is made by the first fetch too, of one engine only.
      return (url) => readFetch(fetch, { dispatcher: new Agent({ transport: engineOf(contestant) }) })(url)
    }
  }
}

export const startup: Scenario = {
  name: 'startup',
  isShared: false,
  // Cheap, and noisier than the rest.
  rounds: ({ rounds }) => (rounds === 1 ? 1 : rounds * 3),
  works: () => [
    {
      id: 'startup/first',
      title: 'import, and import + first response',
      metric: 'firstMs',
      isThroughput: false,
      method: 'GET',
      path: '/',
      parallel: 1,
      bytes: 26,
      contestants: [
        ...ofBoth('sluice fetch'),
        'built-in fetch',
        'undici fetch',
        'undici request',
        'node:http',
        'got',
        'ky',
        'axios',
        'impit',
      ],
    },
  ],
  async measure(contestant, { bytes, path }, { server }) {
    const start = performance.now()
    const first = await loadContestant(contestant)
    const loaded = performance.now()
    const received = await first(`http://127.0.0.1:${server.http}${path}`)
    const end = performance.now()
    if (received !== bytes) throw new Error(`${received} bytes received in place of ${bytes}`)
    return { importMs: loaded - start, firstMs: end - start, peakRss: peakRss() }
  },
}

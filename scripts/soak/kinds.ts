/** The ways in which a request may end. */
import type { Agent, fetch as Fetch } from '../../lib/index.ts'
import type { Random } from '../../test/support/random.ts'

/** What one request is made with. */
export interface Place {
  agent: InstanceType<typeof Agent>
  fetch: typeof Fetch
  origin: string
  random: Random
}

type Kind = (place: Place) => Promise<unknown>
type Init = NonNullable<Parameters<typeof Fetch>[1]>

const CHUNK = new Uint8Array(64 * 1024)
/** Milliseconds within which a request is aborted. */
const SOON = 5

const get = ({ agent, fetch, origin }: Place, path: string, init: Init = {}): Promise<Response> =>
  fetch(`${origin}${path}`, { dispatcher: agent, ...init })

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** A body that goes on until it is stopped. */
async function* chunks(): AsyncGenerator<Uint8Array> {
  for (;;) {
    yield CHUNK
    await pause(1)
  }
}

function dispatch({ agent, origin }: Place, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    agent.dispatch(
      { origin, path, method: 'GET' },
      {
        onRequestStart() {},
        onResponseStart() {},
        onResponseData() {},
        onResponseEnd: resolve,
        onResponseError: (_controller: unknown, error: Error) => reject(error),
      },
    )
  })
}

/** Aborts `run` at a random moment, unless it is over before. */
async function abortSoon(random: Random, run: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const controller = new AbortController()
  const running = run(controller.signal)
  const moment = random.next() * SOON
  const timer = moment < 0.5 ? null : setTimeout(() => controller.abort(), moment)
  if (timer === null) setImmediate(() => controller.abort())
  try {
    await running
  } catch (error) {
    if (!controller.signal.aborted) throw error
  } finally {
    if (timer !== null) clearTimeout(timer)
  }
}

/** What must fail does. */
async function fails(running: Promise<unknown>): Promise<void> {
  let outcome
  try {
    outcome = await running
  } catch {
    return
  }
  throw new Error(`a request that cannot succeed did, with ${String(outcome)}`)
}

async function expectText(response: Response, text: string): Promise<void> {
  const body = await response.text()
  if (body !== text) throw new Error(`'${body.slice(0, 40)}' in place of '${text}'`)
}

const upload = (body: AsyncIterable<Uint8Array>): Init => ({ method: 'POST', body, duplex: 'half' })

export const kinds: Record<string, { weight: number; run: Kind }> = {
  ok: { weight: 22, run: async (place) => expectText(await get(place, '/small'), 'small') },
  okLarge: {
    weight: 8,
    run: async (place) => {
      const { byteLength } = await (await get(place, '/large')).arrayBuffer()
      if (byteLength !== 256 * 1024) throw new Error(`${byteLength} bytes`)
    },
  },
  okDispatch: { weight: 10, run: (place) => dispatch(place, place.random.pick(['/small', '/large'])) },
  error: { weight: 10, run: (place) => fails(get(place, '/broken').then((response) => response.text())) },
  errorDispatch: { weight: 4, run: (place) => fails(dispatch(place, '/broken')) },
  abort: {
    weight: 12,
    run: (place) => {
      const path = place.random.pick(['/small', '/large', '/flood', '/never'])
      return abortSoon(place.random, async (signal) => (await get(place, path, { signal })).text())
    },
  },
  cancel: {
    weight: 10,
    run: async (place) => (await get(place, place.random.pick(['/small', '/large', '/flood']))).body!.cancel(),
  },
  dropped: {
    weight: 8,
    run: async (place) => void (await get(place, place.random.pick(['/small', '/large', '/large', '/flood']))),
  },
  redirect: {
    weight: 6,
    run: async (place) => expectText(await get(place, `/redirect/${place.random.below(4)}`), 'small'),
  },
  abortedUpload: {
    weight: 5,
    run: (place) =>
      abortSoon(place.random, async (signal) => (await get(place, '/take', { ...upload(chunks()), signal })).text()),
  },
  early: {
    weight: 5,
    run: async (place) => {
      const response = await get(place, '/early', upload(chunks()))
      if (response.status !== 413) throw new Error(`status ${response.status}`)
      await expectText(response, 'too much')
    },
  },
}

/** A kind, as often as its weight says. */
export function pickKind(names: readonly string[], random: Random): string {
  let at = random.next() * names.reduce((sum, name) => sum + kinds[name]!.weight, 0)
  for (const name of names) {
    at -= kinds[name]!.weight
    if (at < 0) return name
  }
  return names.at(-1)!
}

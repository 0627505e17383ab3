/**
 * A client that drops its responses in the way its first argument names, without any help in collecting them. Sends
 * what it has seen when it is done, and ends by itself.
 *
 * node dropped-client.ts KIND ORIGIN COUNT [CA]
 */
import { readdirSync } from 'node:fs'
import * as undici from 'undici'
import { Agent, fetch } from '../../lib/index.ts'
import { binding } from '../../native/binding.ts'
import { certificateAuthority } from './certificates.ts'
import { until } from './deadline.ts'

const CONNECTIONS = 16
const DISPATCHES = ['composed', 'undici request', 'undici fetch', 'unlimited undici request']

const [kind, origin, count] = process.argv.slice(2)
const tell = (message: object): void => void process.send?.(message)
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

type Drop = () => Promise<unknown>

/** Fetches over an agent and leaves the response. */
function dropper(agent: InstanceType<typeof Agent>, path = '/large'): Record<string, Drop> {
  const url = `${origin}${path}`
  const get = (): Promise<Response> => fetch(url, { dispatcher: agent })
  return {
    fetch: get,
    clone: async () => (await get()).clone(),
    body: async () => (await get()).body!.pipeThrough(new TransformStream()),
    'partly read': async () => (await get()).body!.getReader().read(),
    'undici request': () => undici.request(url, { dispatcher: agent as never }),
    'undici fetch': () => undici.fetch(url, { dispatcher: agent as never }),
    composed: () => fetch(url, { dispatcher: agent.compose((dispatch) => dispatch) }),
  }
}

/** `COUNT` of them, one after the other. */
async function dropAll(drop: Drop): Promise<void> {
  for (let request = 0; request < Number(count); request++) await drop()
}

/** Unread responses that somebody holds, and one more request, for so long. */
async function live(agent: InstanceType<typeof Agent>, milliseconds: number): Promise<void> {
  const held = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => undici.request(`${origin}/large`, { dispatcher: agent as never })),
  )
  const controller = new AbortController()
  const waiting = fetch(`${origin}/large`, { dispatcher: agent, signal: controller.signal }).catch(() => 'aborted')
  await pause(milliseconds)
  controller.abort()
  await waiting
  // Once the core has seen that nobody waits, what is left is what the responses count for.
  const counted = CONNECTIONS * 256 * 1024
  await until(() => binding.counters().externalMemory === counted)
  // Held until here.
  for (const { body } of held) body.destroy()
  await until(() => binding.counters().handles === 0)
  tell({ left: binding.counters().externalMemory })
}

const warnings: object[] = []
process.on('warning', (warning: Error & { code?: string }) => {
  warnings.push({ name: warning.name, code: warning.code, message: warning.message })
})

async function main(): Promise<void> {
  const limited = (): InstanceType<typeof Agent> => new Agent({ connections: CONNECTIONS })
  switch (kind) {
    case 'unlimited': {
      let most = 0
      const agent = new Agent()
      await dropAll(async () => {
        await fetch(`${origin}/large`, { dispatcher: agent })
        most = Math.max(most, readdirSync('/proc/self/fd').length)
      })
      tell({ most })
      break
    }
    case 'unlimited undici request': {
      let most = 0
      const agent = new Agent()
      await dropAll(async () => {
        await undici.request(`${origin}/large`, { dispatcher: agent as never })
        most = Math.max(most, readdirSync('/proc/self/fd').length)
      })
      tell({ most })
      break
    }
    case 'http2': {
      const connect = { ca: certificateAuthority, preferH2: true }
      await dropAll(dropper(new Agent({ connections: 1, maxConcurrentStreams: CONNECTIONS, connect }))['fetch']!)
      tell({ warnings })
      break
    }
    case 'endless':
      await dropAll(dropper(limited(), '/endless')['fetch']!)
      tell({ warnings })
      break
    case 'beside one that is read': {
      const agent = limited()
      const reader = (await fetch(`${origin}/endless`, { dispatcher: agent })).body!.getReader()
      const reading = (async () => {
        while (!(await reader.read()).done);
      })()
      await dropAll(dropper(agent)['fetch']!)
      await reader.cancel()
      await reading
      tell({ warnings })
      break
    }
    case 'live':
      await live(limited(), 2500)
      await pause(0)
      tell({ warnings })
      break
    case 'read late': {
      // Each is read after something else, by more callers than there are connections.
      const agent = limited()
      let presses = 0
      const { externalMemoryPress } = binding
      binding.externalMemoryPress = (bytes) => {
        if (bytes > 0) presses++
        externalMemoryPress(bytes)
      }
      let left = Number(count)
      const work = async (): Promise<void> => {
        while (left-- > 0) {
          const response = await fetch(`${origin}/large`, { dispatcher: agent })
          await pause(20)
          await response.arrayBuffer()
        }
      }
      await Promise.all(Array.from({ length: CONNECTIONS * 4 }, work))
      tell({ presses, warnings })
      break
    }
    default:
      await dropAll(dropper(limited())[kind!]!)
      tell({ warnings })
  }
}

await main()
process.disconnect?.()
// A dispatched request holds the process until it ends, and the last dropped ones have not.
if (DISPATCHES.includes(kind!)) process.exit()

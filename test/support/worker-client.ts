/**
 * Terminates a worker thread in the middle of what its first argument names, again and again. This thread never loads
 * the addon: Node would unload it with the worker. Prints `survived` at the end.
 *
 * node worker-client.ts KIND ORIGIN ROUNDS FOLDER
 */
import { once } from 'node:events'
import { join } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

interface Task {
  kind: string
  origin: string
  file: string
}

async function act({ kind, origin, file }: Task): Promise<void> {
  const { Agent, fetch, toFile } = await import('../../lib/index.ts')
  const tell = (): void => parentPort!.postMessage('now')
  const flood = (): Promise<Response> => fetch(`${origin}/flood`)
  /** Pauses at the second chunk. */
  const dispatch = (agent: InstanceType<typeof Agent>): void => {
    let chunks = 0
    let controller: any
    agent.dispatch(
      { origin, path: '/flood', method: 'GET' },
      {
        onRequestStart: (started: any) => (controller = started),
        onResponseStart() {},
        onResponseData() {
          if (++chunks !== 2) return
          controller.pause()
          tell()
        },
        onResponseEnd() {},
        onResponseError() {},
      },
    )
  }
  /** The reader of a body whose queue was full once. */
  const longBody = async (path: string): Promise<ReadableStreamBYOBReader> => {
    const agent = new Agent()
    const { body } = await fetch(`${origin}${path}`, { dispatcher: agent })
    const reader = body!.getReader({ mode: 'byob' })
    await reader.read(new Uint8Array(1))
    while (agent.stats.bufferedBytes < 256 * 1024) await new Promise(setImmediate)
    return reader
  }
  switch (kind) {
    case 'a body that is read': {
      const reader = (await flood()).body!.getReader()
      for (let chunk = 0; ; chunk++) {
        await reader.read()
        if (chunk === 3) tell()
      }
    }
    case 'a body that is read from its socket': {
      const reader = await longBody('/long')
      for (let read = 0; ; read++) {
        await reader.read(new Uint8Array(256 * 1024))
        if (read === 40) tell()
      }
    }
    case 'a wait at a socket': {
      const reader = await longBody('/late/rest')
      let read: Promise<unknown>
      let isAnswered: boolean
      do {
        isAnswered = false
        read = reader.read(new Uint8Array(256 * 1024)).then(() => (isAnswered = true))
        await new Promise(setImmediate)
      } while (isAnswered)
      tell()
      await read
      break
    }
    case 'a read that waits': {
      const { body } = await fetch(`${origin}/late/body`)
      void body!.getReader().read()
      setImmediate(tell)
      break
    }
    case 'a pipe into a file':
      void (await flood()).body!.pipeTo(toFile(file))
      setTimeout(tell, 5)
      break
    case 'a paused dispatch':
      dispatch(new Agent())
      break
    case 'requests that were just submitted':
      for (let request = 0; request < 50; request++) void fetch(`${origin}/small`).catch(() => {})
      queueMicrotask(() => queueMicrotask(() => queueMicrotask(tell)))
      break
    case 'an upload': {
      const chunks = async function* (): AsyncGenerator<Uint8Array> {
        for (let chunk = 0; ; chunk++) {
          if (chunk === 4) tell()
          yield new Uint8Array(64 * 1024)
        }
      }
      void fetch(`${origin}/never`, { method: 'POST', body: chunks(), duplex: 'half' })
      break
    }
    case 'a wait for dropped responses': {
      const agent = new Agent({ connections: 4 })
      for (let request = 0; ; request++) {
        await fetch(`${origin}/flood`, { dispatcher: agent })
        if (request === 20) tell()
      }
    }
    case 'hundreds of small requests':
      await Promise.all(
        Array.from({ length: 32 }, async (_, worker) => {
          for (let request = 0; ; request++) {
            await (await fetch(`${origin}/small`)).text()
            if (worker === 0 && request === 5) tell()
          }
        }),
      )
      break
    default:
      throw new Error(`unknown: ${kind}`)
  }
}

if (isMainThread) {
  const [kind, origin, rounds, folder] = process.argv.slice(2)
  for (let round = 0; round < Number(rounds); round++) {
    const workers = (kind!.startsWith('two of ') ? [0, 1] : [0]).map((index) => {
      const task = { kind: kind!.replace('two of ', ''), origin, file: join(folder!, `${round}-${index}`) }
      return new Worker(new URL(import.meta.url), { workerData: task })
    })
    await Promise.all(workers.map((worker) => once(worker, 'message')))
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
  console.log('survived')
} else {
  await act(workerData as Task)
}

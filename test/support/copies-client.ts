/**
 * Two copies of the library in one process. Prints `as one` at the end.
 *
 * node --expose-gc copies-client.js KIND ORIGIN FOLDER FIRST SECOND
 *
 * FIRST and SECOND are the files of the copies (`copies-entry.ts`). Where KIND begins with `worker: `, all of it is done
 * in a worker, which is the only one to load the addon.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import * as vm from 'node:vm'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type * as entry from './copies-entry.ts'

type Copy = typeof entry

interface Task {
  kind: string
  origin: string
  folder: string
  files: [string, string]
}

const text = async (response: Promise<Response>): Promise<string> => (await response).text()

async function until(what: string, predicate: () => unknown): Promise<void> {
  for (let turn = 0; !predicate(); turn++) {
    assert.ok(turn < 2000, what)
    await delay(5)
  }
}

/** The last one leaves something behind that must not hold the process. */
const KINDS = [
  'requests of both',
  'bodies, counted where they are read',
  'pipes into files',
  'a body of one in the file of the other',
  'an agent of one for the fetch of the other',
  'lookups and events of their own',
  'reads that wait at a socket',
  'a body that nobody reads',
]

async function act(task: Task): Promise<void> {
  const kinds = task.kind === 'all' ? KINDS : [task.kind]
  for (const kind of kinds) {
    try {
      await actOne({ ...task, kind })
    } catch (cause) {
      throw new Error(kind, { cause })
    }
  }
  if (isMainThread && task.kind !== 'a head that one of them awaits') console.log('as one')
}

async function actOne({ kind, origin, folder, files }: Task): Promise<void> {
  // The same file twice is two evaluations of one module.
  const specifiers = files.map((file, index) => `${pathToFileURL(file).href}?${index}`)
  const copies =
    kind === 'collected copies' ? [] : ((await Promise.all(specifiers.map((url) => import(url)))) as Copy[])
  switch (kind) {
    case 'requests of both': {
      assert.notEqual(copies[0]!.fetch, copies[1]!.fetch)
      const outcomes = await Promise.all(
        Array.from({ length: 200 }, (_, index) => text(copies[index % 2]!.fetch(`${origin}/echo/${index}`))),
      )
      assert.deepEqual(
        outcomes,
        Array.from({ length: 200 }, (_, index) => `/echo/${index}`),
      )
      break
    }
    case 'bodies, counted where they are read': {
      await Promise.all(copies.map(({ fetch }) => text(fetch(`${origin}/bytes/1`))))
      const before = copies.map(({ binding }) => binding.counters().bodyBytesCrossed)
      const sizes = await Promise.all(
        copies.map(
          async ({ fetch }, index) =>
            (await (await fetch(`${origin}/bytes/${(index + 1) * 1_000_000}`)).bytes()).length,
        ),
      )
      assert.deepEqual(sizes, [1_000_000, 2_000_000])
      const crossed = copies.map(({ binding }, index) => binding.counters().bodyBytesCrossed - before[index]!)
      assert.deepEqual(crossed, sizes)
      assert.deepEqual(
        copies.map(({ binding }) => binding.counters().handles),
        [0, 0],
      )
      break
    }
    case 'pipes into files': {
      const names = await Promise.all(
        copies.map(async ({ fetch, toFile }, index) => {
          const name = join(folder, `${process.pid}-${index}`)
          const { body } = await fetch(`${origin}/bytes/${(index + 1) * 1_000_000}`)
          await body!.pipeTo(toFile(name))
          return name
        }),
      )
      assert.deepEqual(
        names.map((name) => readFileSync(name).length),
        [1_000_000, 2_000_000],
      )
      break
    }
    case 'a body of one in the file of the other': {
      const name = join(folder, `${process.pid}-other`)
      const { body } = await copies[0]!.fetch(`${origin}/bytes/1000000`)
      await body!.pipeTo(copies[1]!.toFile(name))
      assert.equal(readFileSync(name).length, 1_000_000)
      break
    }
    case 'an agent of one for the fetch of the other': {
      const agent = new copies[0]!.Agent()
      assert.equal(await text(copies[1]!.fetch(`${origin}/echo/1`, { dispatcher: agent })), '/echo/1')
      const { errors } = copies[0]!
      const failed = copies[1]!.fetch(`${origin}/broken`, { dispatcher: agent })
      await assert.rejects(failed, ({ cause }: Error) => cause instanceof errors.SocketError)
      await agent.destroy()
      break
    }
    case 'lookups and events of their own': {
      const asked: string[] = []
      const connected: number[] = []
      const { port } = new URL(origin)
      const agents = copies.map(({ Agent }, index) => {
        const lookup = (name: string, _: unknown, callback: (error: null, found: string) => void): void => {
          asked.push(`${index} ${name}`)
          callback(null, '127.0.0.1')
        }
        const agent = new Agent({ connect: { lookup } as never })
        return agent.on('connect', () => connected.push(index))
      })
      const outcomes = agents.map((dispatcher, index) =>
        text(copies[index]!.fetch(`http://host${index}.test:${port}/echo/${index}`, { dispatcher })),
      )
      assert.deepEqual(await Promise.all(outcomes), ['/echo/0', '/echo/1'])
      assert.deepEqual(
        [asked.toSorted(), connected.toSorted((a, b) => a - b)],
        [
          ['0 host0.test', '1 host1.test'],
          [0, 1],
        ],
      )
      await agents[0]!.destroy()
      // What one has destroyed is nothing to the other.
      assert.equal(await text(copies[1]!.fetch(`${origin}/echo/1`, { dispatcher: agents[1]! })), '/echo/1')
      await agents[1]!.destroy()
      break
    }
    case 'a head that one of them awaits': {
      let body: string | null = null
      void text(copies[1]!.fetch(`${origin}/late`)).then((late) => (body = late))
      assert.equal(await text(copies[0]!.fetch(`${origin}/echo/1`)), '/echo/1')
      const awaited = copies.map(({ binding }) => binding.counters().awaited)
      assert.deepEqual(awaited, [0, 1])
      // The other is answered when the connection of this one is gone: nothing but it holds the process by then.
      assert.equal(await text(copies[0]!.fetch(`${origin}/release`)), 'released')
      process.once('beforeExit', () => console.log(body === 'late' ? 'as one' : 'not held'))
      return
    }
    case 'a body that nobody reads': {
      await Promise.all(copies.map(({ fetch }) => fetch(`${origin}/unread`)))
      break
    }
    case 'reads that wait at a socket': {
      const agents = copies.map(({ Agent }) => new Agent())
      const readers = await Promise.all(
        copies.map(async ({ fetch }, index) => {
          const agent = agents[index]!
          const { body } = await fetch(`${origin}/rest`, { dispatcher: agent })
          const reader = body!.getReader({ mode: 'byob' })
          await reader.read(new Uint8Array(1))
          await until('the queue fills', () => agent.stats.bufferedBytes >= 256 * 1024)
          return reader
        }),
      )
      const reads = readers.map(async (reader) => {
        let bytes = 1
        for (;;) {
          const { value, done } = await reader.read(new Uint8Array(256 * 1024))
          if (done) return bytes
          bytes += value.byteLength
        }
      })
      assert.deepEqual(await Promise.all(reads), [6_000_000, 6_000_000])
      await Promise.all(agents.map((agent) => agent.destroy()))
      break
    }
    case 'collected copies':
      await collectCopies(files[0]!, origin)
      break
    default:
      throw new Error(`unknown: ${kind}`)
  }
}

/** Evaluates the library, as CommonJS, anew in contexts of their own, as test suites do, and lets go of them. */
async function collectCopies(file: string, origin: string): Promise<void> {
  const source = readFileSync(file, 'utf8')
  const evaluate = (): Copy => {
    const wrapper = `(function (exports, require, module, __filename) {${source}\n})`
    const script = new vm.Script(wrapper, { filename: file })
    const module = { exports: {} }
    script.runInContext(vm.createContext(globals()))(module.exports, createRequire(file), module, file)
    return module.exports as Copy
  }
  const collected = new Set<number>()
  const registry = new FinalizationRegistry<number>((round) => collected.add(round))
  const useOnce = async (round: number): Promise<void> => {
    const copy = evaluate()
    registry.register(copy.binding, round)
    assert.equal(await text(copy.fetch(`${origin}/echo/${round}`)), `/echo/${round}`)
    // Beside an idle connection, one whose body nobody reads.
    await copy.fetch(`${origin}/unread`)
  }
  const ROUNDS = 8
  // What is awaited holds its copy, which nothing else does.
  const late = text(evaluate().fetch(`${origin}/late`))
  for (let round = 0; round < ROUNDS; round++) await useOnce(round)
  const kept = evaluate()
  await until('the copies are collected', () => {
    globalThis.gc!()
    return collected.size === ROUNDS
  })
  assert.equal(await text(kept.fetch(`${origin}/release`)), 'released')
  assert.equal(await late, 'late')
  await until('the requests are over', () => kept.binding.counters().tasks === 0)
  assert.equal(await text(kept.fetch(`${origin}/echo/kept`)), '/echo/kept')
}

/** What a context does not have of itself. */
function globals(): Record<string, unknown> {
  const own = new Set(vm.runInNewContext('Object.getOwnPropertyNames(globalThis)') as string[])
  const names = Object.getOwnPropertyNames(globalThis).filter(
    (name) => !own.has(name) && !/^(global|.*Storage)$/.test(name),
  )
  return Object.fromEntries(names.map((name) => [name, (globalThis as Record<string, unknown>)[name]]))
}

if (isMainThread) {
  const [kind, origin, folder, first, second] = process.argv.slice(2)
  const task: Task = { kind: kind!.replace('worker: ', ''), origin: origin!, folder: folder!, files: [first!, second!] }
  if (!kind!.startsWith('worker: ')) {
    await act(task)
  } else if (kind!.endsWith('requests without end')) {
    for (let round = 0; round < 8; round++) {
      const worker = new Worker(new URL(import.meta.url), { workerData: task })
      await once(worker, 'message')
      await worker.terminate()
    }
    console.log('as one')
  } else {
    const [code] = (await once(new Worker(new URL(import.meta.url), { workerData: task }), 'exit')) as [number]
    assert.equal(code, 0)
    console.log('as one')
  }
} else {
  const task = workerData as Task
  if (task.kind === 'requests without end') {
    const copies = await Promise.all(
      task.files.map((file, index) => import(`${pathToFileURL(file).href}?${index}`) as Promise<Copy>),
    )
    let answered = 0
    for (const { fetch } of copies) {
      void (async () => {
        for (;;) {
          await text(fetch(`${task.origin}/bytes/100000`))
          if (++answered === 10) parentPort!.postMessage('now')
        }
      })()
    }
  } else {
    await act(task)
  }
}

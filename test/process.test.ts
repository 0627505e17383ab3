/** What keeps a process alive, what does not, and what takes it down: nothing (design, invariants 6 and 7). */
import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { until, within } from './support/deadline.ts'
import { run, type Ended, type Program } from './support/program.ts'
import { CHUNK, flood, startServer, type RunningServer } from './support/servers.ts'

/** A process ends within milliseconds; what holds it for longer is a socket or a timer. */
const SOON = 3000

/** What a program talks to. */
interface World extends AsyncDisposable {
  server: RunningServer
  /** A file that is not there. */
  file: string
  /** Ends what the server keeps waiting. */
  finish: (() => void) | null
}

async function open(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-process-'))
  const server = await startServer((request, response) => {
    switch (request.url) {
      case '/small':
        response.end('small')
        break
      case '/large':
        response.end(Buffer.alloc(1024 * 1024))
        break
      case '/flood':
        flood(response)
        break
      case '/upload':
        request.resume().on('end', () => flood(response))
        break
      case '/see-other':
        request.once('data', () => response.writeHead(303, { location: '/flood', connection: 'close' }).end())
        break
      case '/refused':
        response.writeHead(413, { 'content-length': 2 ** 30 })
        request.once('data', () => response.write(CHUNK, () => response.destroy()))
        break
      case '/late/head':
        world.finish = () => response.end('late')
        break
      case '/late/body':
        response.flushHeaders()
        world.finish = () => response.end('late')
        break
      case '/late/rest':
        response.write(CHUNK)
        world.finish = () => response.end('late')
        break
      case '/cut':
        response.setHeader('content-length', 2 ** 30)
        response.write(CHUNK, () => response.destroy())
        break
      case '/late/cut':
        response.setHeader('content-length', 2 ** 30)
        for (let chunk = 0; chunk < 32; chunk++) response.write(CHUNK)
        world.finish = () => void request.socket.resetAndDestroy()
        break
      case '/late/upload':
        world.finish = () => request.resume().on('end', () => response.end('late'))
        break
      case '/late/again':
        request.resume().on('end', () => response.writeHead(307, { location: '/late/early' }).end())
        break
      case '/late/early':
        response.write('early')
        world.finish = () => request.resume().on('end', () => response.end('late'))
        break
      default:
    }
  })
  const world: World = {
    server,
    file: join(folder, 'target.bin'),
    finish: null,
    async [Symbol.asyncDispose]() {
      await server.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return world
}

/** How it ended, soon after it has connected: until then it has the machine to wait for. */
async function endsSoon(client: Program, { server }: World): Promise<Ended> {
  await until(() => server.accepted > 0 || !client.isRunning())
  return within(client.ended, { timeoutMs: SOON, what: 'the process' })
}

/** How it ended, if it did: long enough for one that is not held, since an empty one ends within milliseconds. */
function endsEarly(client: Program): Promise<Ended | null> {
  return Promise.race([client.ended, new Promise<null>((resolve) => setTimeout(resolve, 400, null))])
}

describe('a process ends by itself, with nothing closed, after', () => {
  test.concurrent.each([
    ['an agent that was made and never used', ''],
    ['an unread small body', ''],
    ['an unread large body', ''],
    ['an unread body that was asked for', ''],
    ['a body read in part', ''],
    ['a body read to its end', 'done'],
    ['a body that was cancelled', 'done'],
    ['a fetch that was aborted', 'done'],
    ['a fetch that failed', 'done'],
    ['a body in a file', 'done'],
    ['a request that was dispatched', 'done'],
    ['a dispatched request that was aborted', 'done'],
    ['an idle connection that is kept', 'done'],
    ['an upload whose response nobody reads', ''],
    ['an upload from memory whose response nobody reads', ''],
    ['an upload that a redirect has cut short', ''],
    ['an upload from memory that a redirect has cut short', ''],
    ['an upload whose server closes within its answer', ''],
    ['an upload from memory whose server closes within its answer', ''],
  ])('%s', async (kind, output) => {
    await using world = await open()
    using client = run('process-client.ts', [kind, world.server.origin, world.file])
    expect(await endsSoon(client, world)).toEqual({
      code: 0,
      signal: null,
      output,
    })
  })
})

describe('a process is held while it awaits', () => {
  test.concurrent.each([
    ['a head', 'done'],
    ['a read', 'done'],
    ['the whole body', 'done'],
    ['a pipe into a file', 'done'],
    ['a pipe into a file that has begun', 'done'],
    ['a dispatched head', 'done'],
    ['a dispatched body', 'done'],
    ['an upload', 'done'],
    ['an upload whose response has begun', ''],
    ['an upload from memory whose response has begun', ''],
    ['an upload from memory that was sent again, and whose response has begun', ''],
  ])('%s, and ends after it', async (kind, output) => {
    await using world = await open()
    using client = run('process-client.ts', [kind, world.server.origin, world.file])
    await until(() => world.finish !== null || !client.isRunning())
    expect(await endsEarly(client)).toBeNull()
    world.finish!()
    expect(await endsSoon(client, world)).toEqual({
      code: 0,
      signal: null,
      output,
    })
    if (kind.startsWith('a pipe')) {
      expect(statSync(world.file).size).toBe(kind.endsWith('begun') ? CHUNK.length + 4 : 4)
    }
  })
})

test.concurrent('a read that fails and that nobody handles ends the process as one of the platform does', async () => {
  await using world = await open()
  using client = run('process-client.ts', ['a failed read that nobody handles', world.server.origin])
  const { code, output } = await endsSoon(client, world)
  expect([code, output.includes('TypeError')]).toEqual([1, true])
})

test.concurrent('a process is held by what is still written of a body that has failed', async () => {
  await using world = await open()
  execFileSync('mkfifo', [world.file])
  const reader = openSync(world.file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    using client = run('process-client.ts', ['a pipe of a body that has failed', world.server.origin, world.file])
    await until(() => world.finish !== null || !client.isRunning())
    // The pipe is full, and the write under way waits.
    const block = Buffer.alloc(64 * 1024)
    await until(() => readSome(reader, block) > 0 || !client.isRunning())
    world.finish!()
    expect(await endsEarly(client)).toBeNull()
    await until(() => readSome(reader, block) === 0 || !client.isRunning())
    expect(await endsSoon(client, world)).toEqual({
      code: 0,
      signal: null,
      output: 'done',
    })
  } finally {
    closeSync(reader)
  }
})

/** 0 at the end, -1 when there is nothing. */
function readSome(descriptor: number, block: Buffer): number {
  try {
    return readSync(descriptor, block)
  } catch {
    return -1
  }
}

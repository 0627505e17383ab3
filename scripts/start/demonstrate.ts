/** The main job, seen to work: a large response into a file, intact; and a consumer that stalls, bounded. */
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Child } from '../support/child.ts'
import type { Client, Outcome } from './contestant-process.ts'
import { amount } from './format.ts'
import { ProgressBar } from './progress-bar.ts'
import { report, type Result } from './report.ts'
import { ScratchFolder } from './scratch-folder.ts'
import type { ServerAnswer } from './server-process.ts'
import { fileHash } from './sha.ts'

/** What a disk should have left when the file is written. */
const SPARE_BYTES = 64 * 1024 * 1024

/** ms for which the stalling consumer reads nothing, and the end of it in which nothing more should be sent. */
const STALL = 2000
const LAST = 500

const script = (name: string): URL => new URL(name, import.meta.url)

/** Resolves with the exit code: 0 when every byte arrived as it was sent. */
export async function demonstrate(bytes: number): Promise<number> {
  using folder = new ScratchFolder()
  if (folder.freeBytes < bytes + SPARE_BYTES) {
    process.stderr.write(
      `${folder.path} has room for ${amount(folder.freeBytes)}, and ${amount(bytes + SPARE_BYTES)} are needed: set TMPDIR\n`,
    )
    return 1
  }
  using server = new Child(script('server-process.ts'))
  const { port } = await server.next<{ port: number }>()
  const url = `http://127.0.0.1:${port}/${bytes}`
  process.stdout.write(`${amount(bytes)} from an embedded server into a file\n`)

  const results: Result[] = []
  for (const client of ['sluice', 'built-in'] satisfies Client[]) {
    results.push(await contest(client, url, bytes, join(folder.path, client), server))
  }
  process.stdout.write(report(results))
  process.stdout.write(await stall(url, bytes, server))
  return results.every((result) => result.isIntact) ? 0 : 1
}

async function contest(client: Client, url: string, bytes: number, file: string, server: Child): Promise<Result> {
  const size = (): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0
  let outcome: Outcome
  {
    using contestant = new Child(script('contestant-process.ts'), [client, url, file])
    using bar = new ProgressBar({ label: client.padEnd(8), total: bytes, size })
    outcome = await contestant.next<Outcome>()
    if (!('error' in outcome)) bar.finish(size())
  }
  const written = size()
  if ('error' in outcome) return { client, bytes: written, isIntact: false, outcome }
  const [expected, found] = await Promise.all([
    server.ask<ServerAnswer & { hash: string }>({ ask: 'hash', length: bytes }),
    fileHash(file),
  ])
  // Now, so that the disk is not still busy with it while the next contestant runs.
  rmSync(file, { force: true })
  return { client, bytes: written, isIntact: written === bytes && expected.hash === found, outcome }
}

/** Asks for everything and reads nothing: what the server can send is what is buffered on the way. */
async function stall(url: string, bytes: number, server: Child): Promise<string> {
  using consumer = new Child(script('contestant-process.ts'), ['stall', url])
  const outcome = await consumer.next<{ stalled: true } | { error: string }>()
  if ('error' in outcome) return `slow consumer: ${outcome.error}\n`
  await delay(STALL - LAST)
  const before = await server.ask<{ sent: number }>({ ask: 'sent' })
  await delay(LAST)
  const after = await server.ask<{ sent: number }>({ ask: 'sent' })
  return (
    `a consumer that reads nothing for ${STALL / 1000} s: the server could send ${amount(after.sent)} of ${amount(bytes)}, ` +
    `${amount(after.sent - before.sent)} of it in the last ${LAST / 1000} s (the kernel's socket buffers are part of it)\n`
  )
}

/** What tests of bodies share: the two implementations of streams, and bytes that can be told apart. */
import { createHash } from 'node:crypto'
import * as polyfill from 'web-streams-polyfill'
import { countingBlock } from './servers.ts'

export interface Streams {
  ReadableStream: typeof ReadableStream
  WritableStream: typeof WritableStream
  TransformStream: typeof TransformStream
}

export const implementations: { name: string; streams: Streams }[] = [
  { name: 'the platform', streams: { ReadableStream, WritableStream, TransformStream } },
  // The polyfill's own types differ from the platform's in nothing that these tests use.
  { name: 'web-streams-polyfill', streams: polyfill as unknown as Streams },
]

const block = countingBlock()

/** Bytes `start` to `end` of what `startFlood` sends. */
export function floodBytes(start: number, end: number): Buffer {
  const bytes = Buffer.allocUnsafe(end - start)
  for (let at = 0; at < bytes.length;) {
    const from = (start + at) % block.length
    at += Buffer.from(block.buffer, from, Math.min(block.length - from, bytes.length - at)).copy(bytes, at)
  }
  return bytes
}

const hashes = new Map<number, string>()

/** The SHA-256 of the first `length` bytes of what `startFlood` sends. */
export function floodHash(length: number): string {
  const known = hashes.get(length)
  if (known !== undefined) return known
  const hash = createHash('sha256')
  for (let left = length; left > 0; left -= block.length) hash.update(block.subarray(0, Math.min(left, block.length)))
  const digest = hash.digest('hex')
  hashes.set(length, digest)
  return digest
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Everything that is left of a stream, of whichever implementation; leaves it unlocked. */
export async function readAll(stream: ReadableStream): Promise<Buffer> {
  const reader = stream.getReader()
  try {
    return await readRest(reader)
  } finally {
    reader.releaseLock()
  }
}

/** Everything that is left for a reader. */
export async function readRest(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return Buffer.concat(chunks)
    chunks.push(value)
  }
}

/** The error that a promise rejects with. @throws Error when it does not */
export async function rejection(promise: Promise<unknown>): Promise<any> {
  return promise.then(
    (value) => {
      throw new Error(`expected a rejection, got ${String(value)}`)
    },
    (error: unknown) => error,
  )
}

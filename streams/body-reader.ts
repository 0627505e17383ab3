/**
 * A whole body into memory, without a stream: a known length is read into one buffer, an unknown one is joined at the
 * end.
 */
import type { NativeSource } from './native-source.ts'

/** A declared length is a server's word: memory beyond this is taken only as bytes arrive. */
const MAX_TRUSTED_LENGTH = 64 * 1024 * 1024

/** Everything that is left of `source`. @throws the source's error */
export async function readAll(source: NativeSource): Promise<Uint8Array<ArrayBuffer>> {
  const { contentLength } = source
  const bytes =
    contentLength !== null && contentLength <= MAX_TRUSTED_LENGTH
      ? await readSized(source, contentLength)
      : await readChunks(source)
  if (source.state !== 'ended') throw source.error
  return bytes
}

async function readSized(source: NativeSource, length: number): Promise<Uint8Array<ArrayBuffer>> {
  // The engine holds the body to its length, so this neither overflows nor, without an error, falls short.
  const target = new Uint8Array(new ArrayBuffer(length))
  let filled = 0
  while (source.state === 'open') {
    const read = filled < length ? source.pullInto(target.subarray(filled)) : 0
    filled += read
    if (source.state !== 'open') break
    if (filled === length ? !source.peek() : read === 0) await source.ready()
    else if (source.isGreedy) await source.nextTurn()
  }
  return target
}

async function readChunks(source: NativeSource): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let length = 0
  while (source.state === 'open') {
    const chunk = source.pull()
    if (chunk !== null) {
      chunks.push(chunk)
      length += chunk.byteLength
      if (source.isGreedy) await source.nextTurn()
    } else if (source.state === 'open') {
      await source.ready()
    }
  }
  const joined = new Uint8Array(new ArrayBuffer(length))
  let at = 0
  for (const chunk of chunks) {
    joined.set(chunk, at)
    at += chunk.byteLength
  }
  return joined
}

/** Content codings (RFC 9110 §8.4.1) undone by Node's zlib: an agent of sluice's does it in its core. */
import type * as Zlib from 'node:zlib'
import { pipeline, Readable } from 'node:stream'
import type { Transform } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { ReadableStreamConstructor } from '../streams/byte-stream.ts'
import { terminated } from './fetch-error.ts'
import { chunksOf, relayStream } from './relay-stream.ts'
import type { ChunkSource } from './relay-stream.ts'

type Chunks = AsyncIterable<Uint8Array>
type Stage = (source: Chunks) => AsyncGenerator<Uint8Array>

/** As undici: more are an attack. */
const MOST_CODINGS = 5

const STAGES: Record<string, (() => Stage) | undefined> = {
  gzip: () => through((zlib) => zlib.createGunzip()),
  'x-gzip': () => through((zlib) => zlib.createGunzip()),
  // With and without zlib's header.
  deflate: () => through((zlib, first) => ((first & 0x0f) === 8 ? zlib.createInflate() : zlib.createInflateRaw())),
  br: () => through((zlib) => zlib.createBrotliDecompress()),
  zstd: () =>
    through((zlib) =>
      // RFC 9659 §3.
      zlib.createZstdDecompress({ params: { [zlib.constants.ZSTD_d_windowLogMax]: 23 } }),
    ),
}

/** Runs the data through what `create` makes when its first byte is there. No data at all is no error. */
function through(create: (zlib: typeof Zlib, first: number) => Transform): Stage {
  return async function* decode(source) {
    const iterator = source[Symbol.asyncIterator]()
    const first = await iterator.next()
    if (first.done === true) return
    const rest = async function* (): AsyncGenerator<Uint8Array> {
      yield first.value
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value
    }
    const decoder = create(process.getBuiltinModule('node:zlib'), first.value[0]!)
    // The decoder's own iterator reports the failure.
    yield* pipeline(Readable.from(rest(), { objectMode: false }), decoder, () => {}) as unknown as Chunks
  }
}

/** The codings to undo, the last first; none where there is one that nobody here knows. @throws Error for too many */
export function readCodings(contentEncoding: string | null): string[] {
  const codings = contentEncoding === null ? [] : contentEncoding.toLowerCase().split(',')
  if (codings.length > MOST_CODINGS) {
    throw new Error(`too many content-encodings in response: ${codings.length}, maximum allowed is ${MOST_CODINGS}`)
  }
  const names = codings.map((coding) => coding.trim()).reverse()
  return names.every((name) => STAGES[name] !== undefined) ? names : []
}

/** `stream` with `codings` undone; it is not touched before somebody reads. */
export function decodeStream(
  stream: ReadableStream,
  codings: readonly string[],
  Implementation: ReadableStreamConstructor,
): ReadableStream {
  return relayStream(() => openDecoder(stream, codings), Implementation)
}

function openDecoder(stream: ReadableStream, codings: readonly string[]): ChunkSource {
  const source = chunksOf(stream)
  let failure: { error: unknown } | null = null
  const read = async function* (): AsyncGenerator<Uint8Array> {
    for (;;) {
      const result = await source.next().catch((error: unknown) => {
        failure = { error }
        throw error
      })
      if (result.done === true) return
      yield result.value as Uint8Array
    }
  }
  let chunks: AsyncGenerator<Uint8Array> = read()
  for (const coding of codings) chunks = STAGES[coding]!()(chunks)
  return {
    async next() {
      try {
        return await chunks.next()
      } catch (error) {
        // What the body itself failed with says so already.
        if (failure !== null) throw failure.error
        await source.return?.(error)
        throw terminated(error)
      }
    },
    async return(reason) {
      await source.return?.(reason)
      await chunks.return(undefined)
    },
  }
}

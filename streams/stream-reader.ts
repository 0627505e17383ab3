/**
 * Readers of a body stream whose reads are answered at once where the bytes are there already. What Streams §4.7 does for
 * one read (a pull-into descriptor, a request, two transfers, two promises) costs more than the read itself; where it
 * comes to nothing but the bytes, they are handed over without it. Every other read is the implementation's own.
 */
import type { ReadableStreamBYOBReader, ReadableStreamDefaultReader, ReadableStreamReader } from 'node:stream/web'

/** What a reader asks of the stream it reads. */
export interface ReadSource {
  /** Whether a read would be the next to be answered, and by nothing but bytes of the source. */
  readonly isQuiet: boolean
  /** Some of what is there; `null` when that is nothing. Only while quiet. */
  take(): Uint8Array | null
  /** The same in `view`'s memory: how many bytes. Only while quiet. */
  takeInto(view: Uint8Array): number
  /** A reader of views takes the lock. */
  onAcquire(): void
  /** A reader of views gives it up. */
  onRelease(): void
}

type Result = { value: Uint8Array; done: false }

/** The reads of one reader that wait for the implementation: nothing overtakes them. */
class Waiting {
  private count = 0

  get isEmpty(): boolean {
    return this.count === 0
  }

  /** Counts `read` until it is settled. */
  await<Result>(read: Promise<Result>): Promise<Result> {
    this.count += 1
    // The caller gets this one: a rejection that nobody handles must not count as handled here.
    return read.then(this.onFulfilled, this.onRejected) as Promise<Result>
  }

  private readonly onFulfilled = (result: unknown): unknown => {
    this.count -= 1
    return result
  }

  private readonly onRejected = (error: unknown): never => {
    this.count -= 1
    throw error
  }
}

/** Makes `reader`, that the implementation made, one of `source`. */
export function equipReader(
  reader: ReadableStreamReader<Uint8Array>,
  mode: 'byob' | undefined,
  source: ReadSource,
): ReadableStreamReader<Uint8Array> {
  const { releaseLock } = reader
  let isReleased = false
  const isQuiet = (): boolean => !isReleased && waiting.isEmpty && source.isQuiet
  const waiting = new Waiting()
  if (mode === 'byob') source.onAcquire()
  const read =
    mode === 'byob'
      ? readView(reader as ReadableStreamBYOBReader, source, waiting, isQuiet)
      : readChunk(reader as ReadableStreamDefaultReader<Uint8Array>, source, waiting, isQuiet)
  override(reader, 'read', read)
  override(reader, 'releaseLock', () => {
    if (mode === 'byob' && !isReleased) source.onRelease()
    isReleased = true
    releaseLock.call(reader)
  })
  return reader
}

function override(reader: object, name: string, value: unknown): void {
  Object.defineProperty(reader, name, { configurable: true, writable: true, value })
}

function readChunk(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  source: ReadSource,
  waiting: Waiting,
  isQuiet: () => boolean,
) {
  const { read } = reader
  return () => {
    const value = isQuiet() ? source.take() : null
    return value === null ? waiting.await(read.call(reader)) : Promise.resolve<Result>({ value, done: false })
  }
}

function readView(reader: ReadableStreamBYOBReader, source: ReadSource, waiting: Waiting, isQuiet: () => boolean) {
  const { read } = reader as { read: (view: unknown, ...rest: unknown[]) => Promise<unknown> }
  return (view: unknown, ...rest: unknown[]) => {
    if (rest.length > 0 || !isBytes(view) || !isQuiet()) return waiting.await(read.call(reader, view, ...rest))
    const target = transfer(view)
    if (target === null) return waiting.await(read.call(reader, view))
    const filled = source.takeInto(target)
    if (filled === 0) return waiting.await(read.call(reader, target))
    const value = filled === target.byteLength ? target : new Uint8Array(target.buffer, target.byteOffset, filled)
    return Promise.resolve<Result>({ value, done: false })
  }
}

/** A view that an implementation would take as it is: no subclass, not empty, not detached. */
function isBytes(view: unknown): view is Uint8Array {
  return view instanceof Uint8Array && Object.getPrototypeOf(view) === Uint8Array.prototype && view.byteLength > 0
}

/** The same bytes in the reader's hands (Streams §8.3, TransferArrayBuffer); `null` where they cannot change hands. */
function transfer({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array | null {
  try {
    return new Uint8Array((buffer as ArrayBuffer).transfer(), byteOffset, byteLength)
  } catch {
    return null
  }
}

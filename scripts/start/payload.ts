/**
 * Bytes that everyone can make again: blocks of pseudo-random bytes, each beginning with its own number, so that a
 * block lost, doubled or out of place changes the hash.
 */
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'

const BLOCK_BYTES = 1024 * 1024
const STAMP_BYTES = 8

const block = randomBlock(BLOCK_BYTES, 0x9e3779b9)

/** The payload of `length` bytes, in pieces of at most a block. The pieces must not be changed. */
export function* payload(length: number): Generator<Uint8Array> {
  for (let offset = 0; offset < length; offset += BLOCK_BYTES) {
    const size = Math.min(BLOCK_BYTES, length - offset)
    const stamp = Buffer.alloc(STAMP_BYTES)
    stamp.writeDoubleBE(offset)
    yield stamp.subarray(0, size)
    if (size > STAMP_BYTES) yield block.subarray(STAMP_BYTES, size)
  }
}

/** SHA-256 of the payload of `length` bytes, in hex. */
export function payloadHash(length: number): string {
  const hash = createHash('sha256')
  for (const piece of payload(length)) hash.update(piece)
  return hash.digest('hex')
}

/** Xorshift32 (Marsaglia 2003). */
function randomBlock(length: number, seed: number): Buffer {
  const words = new Uint32Array(length / 4)
  let state = seed
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[i] = state
  }
  return Buffer.from(words.buffer)
}

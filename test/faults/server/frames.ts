/** Frames of HTTP/2 (RFC 9113 §4, §6) and header blocks of literals alone (RFC 7541 §6.2.2), right and wrong ones. */
import { join } from './wire.ts'
import type { Bytes } from './wire.ts'

export const TYPE = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const

export const END_STREAM = 1
export const ACK = 1
export const END_HEADERS = 4
export const PADDED = 8

/** Below every client's `SETTINGS_MAX_FRAME_SIZE`. */
const MOST_OF_A_FRAME = 16_000

export function frame(type: number, flags: number, id: number, ...payload: Bytes[]): Buffer {
  const body = join(...payload)
  const head = Buffer.alloc(9)
  head.writeUIntBE(body.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(id, 5)
  return Buffer.concat([head, body])
}

/** Numbers of 32 bits, as RST_STREAM, GOAWAY and WINDOW_UPDATE have them. */
export function words(...numbers: number[]): Buffer {
  const payload = Buffer.alloc(numbers.length * 4)
  numbers.forEach((number, index) => payload.writeUInt32BE(number >>> 0, index * 4))
  return payload
}

/** RFC 7541 §5.1, behind the bits of `first`. */
function integer(value: number, bits: number, first = 0): Buffer {
  const most = 2 ** bits - 1
  if (value < most) return Buffer.from([first | value])
  const out = [first | most]
  let rest = value - most
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128)
  return Buffer.from([...out, rest])
}

/** A field as a literal that is not indexed; with `form` 0x40 it enters the table. */
export function field(name: string, value: string, form = 0): Buffer {
  return join(Uint8Array.of(form), integer(name.length, 7), name, integer(value.length, 7), value)
}

export const status = (code: number | string): Buffer => field(':status', String(code))

/** A header block: `:status` and fields. */
export function block(code: number | string, ...fields: (readonly [string, string])[]): Buffer {
  return join(status(code), ...fields.map(([name, value]) => field(name, value)))
}

/** HEADERS with 200 and nothing else, unless told. */
export function headers(id: number, flags = 0, payload: Bytes = status(200)): Buffer {
  return frame(TYPE.HEADERS, END_HEADERS | flags, id, payload)
}

/** A block of any length: HEADERS, and CONTINUATION as needed. */
export function longHeaders(id: number, payload: Buffer, flags = 0): Buffer {
  const frames: Buffer[] = []
  for (let at = 0; at === 0 || at < payload.length; at += MOST_OF_A_FRAME) {
    const isLast = at + MOST_OF_A_FRAME >= payload.length
    const own = (at === 0 ? flags : 0) | (isLast ? END_HEADERS : 0)
    frames.push(frame(at === 0 ? TYPE.HEADERS : TYPE.CONTINUATION, own, id, payload.subarray(at, at + MOST_OF_A_FRAME)))
  }
  return Buffer.concat(frames)
}

export const data = (id: number, bytes: Bytes, flags = 0): Buffer => frame(TYPE.DATA, flags, id, bytes)
export const resetStream = (id: number, code: number): Buffer => frame(TYPE.RST_STREAM, 0, id, words(code))
export const goAway = (last: number, code: number): Buffer => frame(TYPE.GOAWAY, 0, 0, words(last, code))
export const windowUpdate = (id: number, bytes: number): Buffer => frame(TYPE.WINDOW_UPDATE, 0, id, words(bytes))

/** Identifiers and values (RFC 9113 §6.5.2). */
export function settings(...entries: (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(entries.length * 6)
  entries.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, index * 6)
    payload.writeUInt32BE(value, index * 6 + 2)
  })
  return frame(TYPE.SETTINGS, 0, 0, payload)
}

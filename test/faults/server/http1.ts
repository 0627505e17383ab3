/** A connection of HTTP/1.1 whose requests are read, and left to the kind at hand. */
import type { Kind } from '../kind.ts'
import type { Wire } from './wire.ts'

/** What a request gets when no kind is at hand. */
export const okOverHttp1: NonNullable<Kind['h1']> = (wire) =>
  wire.send('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')

const END_OF_HEAD = '\r\n\r\n'

/** How many bytes of `text` the first request takes, 0 while it is not there. */
function lengthOf(text: string): number {
  const end = text.indexOf(END_OF_HEAD)
  if (end < 0) return 0
  const length = end + END_OF_HEAD.length + Number(/^content-length: (\d+)/im.exec(text.slice(0, end))?.[1] ?? 0)
  return text.length < length ? 0 : length
}

export function serveHttp1(wire: Wire, request: (wire: Wire, head: string) => void): void {
  let text = ''
  wire.stream.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    for (let length = lengthOf(text); length > 0; length = lengthOf(text)) {
      const head = text.slice(0, length)
      text = text.slice(length)
      request(wire, head)
    }
  })
}

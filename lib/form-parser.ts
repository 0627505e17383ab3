/**
 * A multipart/form-data body as the platform's FormData, as web-platform-tests have it. The platform's own parser takes
 * a boundary inside a value for one, and undoes transfer encodings that RFC 7578 §4.7 has abolished.
 */
import { MIMEType } from 'node:util'
import { trimBlanks } from './blanks.ts'
import { isToken } from './request-headers.ts'

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const CRLF = '\r\n'

/** `form-data` and its parameters. Nothing is escaped within quotes: what would be is sent as `%22`. */
const DISPOSITION = /^form-data[\t ]*(?=;|$)/i
const PARAMETER = /[\t ]*;[\t ]*(?:(?<name>[^\t ;="]+)=(?:"(?<quoted>[^"]*)"|(?<plain>[^\t ;"]*))[\t ]*)?/y

/** Node's `MIMEType` takes the square of their number of steps. */
const LONG_BLANKS = /[\t ]{65,}/g

/** What the header of one part says. */
interface PartHeader {
  name: string
  /** `null` for a part that is no file. */
  filename: string | null
  type: string
  /** Where its content begins. */
  end: number
}

/** The boundary of a multipart/form-data response; `null` for every other type. @throws TypeError for one without */
export function readBoundary(contentType: string): string | null {
  const type = extractType(contentType)
  if (type?.essence !== 'multipart/form-data') return null
  return type.params.get('boundary') || fail('it has no boundary')
}

/** Fetch, "extract a MIME type", without the charset it may inherit. */
function extractType(value: string): MIMEType | null {
  let last: MIMEType | null = null
  for (const [item] of value.replaceAll(LONG_BLANKS, ' ').matchAll(/(?:[^,"]|"(?:[^"\\]|\\.)*"?)+/g)) {
    try {
      const type = new MIMEType(item.trim())
      if (type.essence !== '*/*') last = type
    } catch {
      // One that is none is passed over.
    }
  }
  return last
}

/** @throws TypeError for a body that is no form */
export function parseForm(body: Uint8Array, boundary: string): FormData {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const delimiter = Buffer.from(`--${boundary}`)
  const form = new FormData()
  let start = 0
  while (isCrlf(bytes, start)) start += 2
  if (bytes.indexOf(delimiter, start) !== start) fail('it does not begin with its boundary')
  let at = afterDelimiter(bytes, start + delimiter.byteLength)
  while (at !== null && at !== 'closed') {
    const header = readHeader(bytes, at)
    const content = findContent(bytes, header.end, delimiter)
    append(form, header, bytes.subarray(header.end, content.end))
    at = content.next
  }
  if (at === null) fail('its first boundary is no line')
  return form
}

function append(form: FormData, { name, filename, type }: PartHeader, content: Uint8Array): void {
  if (filename === null) form.append(name, decoder.decode(content))
  else form.append(name, new File([content as Uint8Array<ArrayBuffer>], filename, { type, lastModified: 0 }))
}

/** Behind a delimiter: where the next part begins, `closed` for the last, `null` where it was none. */
function afterDelimiter(bytes: Buffer, start: number): number | 'closed' | null {
  const isClose = bytes[start] === 0x2d && bytes[start + 1] === 0x2d
  let at = isClose ? start + 2 : start
  while (isBlank(bytes[at])) at++
  if (isClose) return at === bytes.byteLength || isCrlf(bytes, at) ? 'closed' : null
  return isCrlf(bytes, at) ? at + 2 : null
}

/** The end of a part's content, at the next line that is a delimiter and nothing else. */
function findContent(bytes: Buffer, start: number, delimiter: Buffer): { end: number; next: number | 'closed' } {
  for (let at = bytes.indexOf(delimiter, start); at >= 0; at = bytes.indexOf(delimiter, at + 1)) {
    if (at < start + 2 || !isCrlf(bytes, at - 2)) continue
    const next = afterDelimiter(bytes, at + delimiter.byteLength)
    if (next !== null) return { end: at - 2, next }
  }
  return fail('a part has no end')
}

function readHeader(bytes: Buffer, start: number): PartHeader {
  let disposition: Pick<PartHeader, 'name' | 'filename'> | null = null
  let type = 'text/plain'
  let at = start
  for (;;) {
    const end = bytes.indexOf(CRLF, at)
    if (end < 0) fail('a header has no end')
    const line = decoder.decode(bytes.subarray(at, end))
    at = end + 2
    if (line === '') break
    const colon = line.indexOf(':')
    const name = trimBlanks(line.slice(0, Math.max(colon, 0)), '\t ')
    if (/[\0\r\n]/.test(line) || !(isToken(name) as boolean)) fail('a header is none')
    const value = trimBlanks(line.slice(colon + 1), '\t ')
    if (name.toLowerCase() === 'content-disposition') disposition = readDisposition(value)
    if (name.toLowerCase() === 'content-type') type = extractType(value)?.toString() ?? ''
  }
  if (disposition === null) fail('a part has no content-disposition')
  return { ...disposition, type, end: at }
}

function readDisposition(value: string): Pick<PartHeader, 'name' | 'filename'> {
  const kind = DISPOSITION.exec(value)
  if (kind === null) fail('a content-disposition is not form-data')
  const parameters = new Map<string, string>()
  PARAMETER.lastIndex = kind[0].length
  while (PARAMETER.lastIndex < value.length) {
    const { groups } = PARAMETER.exec(value) ?? fail('a content-disposition has faulty parameters')
    const { name, quoted, plain } = groups as Record<'name' | 'quoted' | 'plain', string | undefined>
    if (name !== undefined) parameters.set(name.toLowerCase(), quoted ?? plain ?? '')
  }
  const name = parameters.get('name') ?? fail('a part has no name')
  const extended = parameters.get('filename*')
  return { name, filename: extended === undefined ? (parameters.get('filename') ?? null) : decodeExtended(extended) }
}

/** RFC 8187 §3.2. */
function decodeExtended(value: string): string {
  const { text } = /^utf-8'[^']*'(?<text>.*)$/i.exec(value)?.groups ?? fail('a filename* is not UTF-8')
  try {
    return decodeURIComponent(text!)
  } catch {
    return fail('a filename* is not UTF-8')
  }
}

function isCrlf(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0x0d && bytes[at + 1] === 0x0a
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09
}

function fail(why: string): never {
  throw new TypeError(`Failed to parse body as FormData: ${why}`)
}

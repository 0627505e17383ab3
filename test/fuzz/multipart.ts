/**
 * Forms. What was encoded is read again as it was sent; a body that was changed on its way is a form, or a `TypeError`,
 * soon; and where both take it, the platform's parser reads the same entries but for what `COMPATIBILITY.md` names.
 */
import { MIMEType } from 'node:util'
import { encodeFormData, readForm } from '../../lib/form-data.ts'
import { parseForm, readBoundary } from '../../lib/form-parser.ts'
import { eachSeed } from './random.ts'
import type { Random } from '../support/random.ts'

export const name = 'multipart'
/** Cases of a long run. */
export const longCases = 200_000

const LETTERS = [
  'a',
  'B',
  '7',
  ' ',
  '"',
  '\r',
  '\n',
  '\r\n',
  '\0',
  '%',
  '%22',
  ';',
  '=',
  ':',
  '--',
  'ä',
  '€',
  '😀',
  "'",
  '\\',
  '\t',
  '*',
]
const TYPES = ['', 'text/plain', 'application/octet-stream', 'text/html;charset=utf-8', 'image/png']
/** What a faulty or a hostile sender might write. */
const NOISE = [
  '\r\n',
  '\r',
  '\n',
  '--',
  '\0',
  '"',
  ';',
  ':',
  ' ',
  '\t',
  'name=',
  "filename*=utf-8''%",
  'content-type: ',
  'ÿ',
  '%22',
  '\r\n\r\n',
]
/** A run of one character whose square is seconds of work. */
const LONG = 40_000
/** Milliseconds that no body of this size may take. */
const LIMIT = 1000

/** Name, value, and of a file its name and type. */
type Entry = [name: string, value: string, filename?: string, type?: string]

export async function run(seed: number, cases: number): Promise<void> {
  await eachSeed(name, seed, cases, checkOne)
}

async function checkOne(random: Random): Promise<void> {
  const { form, sent } = create(random)
  const { parts, contentType, length } = encodeFormData(form as never)
  const bytes = await readWhole(readForm(parts))
  if (length !== bytes.byteLength) throw new Error(`${bytes.byteLength} bytes, announced as ${length}`)
  const boundary = readBoundary(contentType)!
  const refused = sent.some(([key, , filename = '']) => `${key}${filename}`.includes('\0'))
  const entries = await entriesOf(refused ? expectRefusal(bytes, boundary) : parseForm(bytes, boundary))
  if (!refused && JSON.stringify(entries) !== JSON.stringify(sent)) {
    throw new Error(`read as ${JSON.stringify(entries)}, sent as ${JSON.stringify(sent)}`)
  }
  await checkChanged(random, bytes, boundary)
}

/** A name with a NUL is sent as it is, and is no header (web-platform-tests, "form-data parsing"). */
function expectRefusal(bytes: Buffer, boundary: string): FormData {
  try {
    parseForm(bytes, boundary)
  } catch (error) {
    if (error instanceof TypeError) return new FormData()
    throw error
  }
  throw new Error('a name with a NUL was read')
}

async function checkChanged(random: Random, bytes: Buffer, boundary: string): Promise<void> {
  const changed = change(random, bytes, boundary)
  const start = performance.now()
  let read: Entry[] | null = null
  try {
    read = await entriesOf(parseForm(changed, boundary))
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
  }
  const took = performance.now() - start
  if (took > LIMIT) throw new Error(`${took} ms for ${JSON.stringify(changed.toString('latin1').slice(0, 1000))}`)
  if (read === null || !isAsPlatform(changed, boundary)) return
  const theirs = await readByPlatform(changed, boundary)
  if (theirs !== null && JSON.stringify(theirs) !== JSON.stringify(read)) {
    const text = JSON.stringify(changed.toString('latin1').replaceAll(boundary, 'B'))
    throw new Error(`${text} is ${JSON.stringify(read)}, of the platform ${JSON.stringify(theirs)}`)
  }
}

/**
 * The platform undoes escapes and transfer encodings, and takes a boundary inside a value for one; runs of blanks in a
 * type are shortened here.
 */
function isAsPlatform(bytes: Buffer, boundary: string): boolean {
  const text = bytes.toString('latin1')
  const lines = text.split(/\r\n|\r|\n/).filter((line) => line.includes(boundary))
  return (
    !/%|transfer-encoding|\*=|[\t ]{65}/i.test(text) &&
    lines.every((line) => [`--${boundary}`, `--${boundary}--`].includes(line))
  )
}

async function readByPlatform(bytes: Buffer, boundary: string): Promise<Entry[] | null> {
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
  try {
    const entries = await entriesOf(await new Response(new Uint8Array(bytes), { headers }).formData())
    // It keeps a type as it was written, also one that is none.
    for (const entry of entries) if (entry[3] !== undefined) entry[3] = serialize(entry[3])
    return entries
  } catch {
    return null
  }
}

function serialize(type: string): string {
  try {
    return String(new MIMEType(type))
  } catch {
    return ''
  }
}

function create(random: Random): { form: FormData; sent: Entry[] } {
  const form = new FormData()
  const sent: Entry[] = []
  for (let left = random.below(5); left > 0; left--) {
    const key = random.sequence(LETTERS, 0, 8)
    const text = random.sequence([...LETTERS, '\r\n--', '----formdata-sluice-'], 0, 12)
    if (random.isOneIn(2)) {
      form.append(key, text)
      sent.push([escapeName(key), toLines(text)])
      continue
    }
    const filename = random.sequence(LETTERS, 1, 8)
    const type = random.pick(TYPES)
    form.append(key, new File([text], filename, { type }))
    sent.push([escapeName(key), text, escapeFilename(filename), type || 'application/octet-stream'])
  }
  return { form, sent }
}

/** HTML §4.10.21.8, written anew. */
const toLines = (text: string): string => text.replaceAll(/\r\n|\r|\n/g, '\r\n')
const escapeFilename = (text: string): string =>
  text.replaceAll(/["\r\n]/g, (character) => ({ '"': '%22', '\r': '%0D', '\n': '%0A' })[character]!)
const escapeName = (text: string): string => escapeFilename(toLines(text))

function change(random: Random, bytes: Buffer, boundary: string): Buffer {
  const noise = [...NOISE, `--${boundary}`, `\r\n--${boundary}\r\n`, `--${boundary}--`]
  const runs = [' '.repeat(LONG), ';'.repeat(LONG), '\t'.repeat(LONG)]
  let changed = bytes
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.below(changed.byteLength + 1)
    const added = Buffer.from(random.isOneIn(40) ? random.pick(runs) : random.pick(noise), 'latin1')
    const dropped = random.isOneIn(2) ? random.below(8) : 0
    changed = Buffer.concat([
      changed.subarray(0, at),
      random.isOneIn(3) ? Buffer.alloc(0) : added,
      changed.subarray(at + dropped),
    ])
  }
  return random.isOneIn(8) ? changed.subarray(0, random.below(changed.byteLength + 1)) : changed
}

async function readWhole(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = []
  for await (const chunk of chunks) list.push(chunk)
  return Buffer.concat(list)
}

async function entriesOf(form: FormData): Promise<Entry[]> {
  const entries: Entry[] = []
  for (const [key, value] of form) {
    if (typeof value === 'string') entries.push([key, value])
    else entries.push([key, await value.text(), value.name, value.type])
  }
  return entries
}

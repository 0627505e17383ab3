/** fetch/api/body: what formData() makes of a multipart body. */
import { expect } from 'vitest'
import { encode, rejection } from '../context.ts'
import type { Context } from '../context.ts'
import { wpt } from '../registry.ts'

const file = 'fetch/api/body/formdata-parsing.any.js'
const TYPE = 'multipart/form-data; boundary=sep'
const FIELD = 'Content-Disposition: form-data; name="a"'
const FILE = `${FIELD}; filename="f"`

const lines = (...all: string[]): string => all.join('\r\n')

/** A form of one part whose content is `v`. */
const part = (...header: string[]): string => lines('--sep', ...header, '', 'v', '--sep--', '')

async function parse(context: Context, body: string | Uint8Array, type = TYPE): Promise<FormData> {
  const sent = typeof body === 'string' ? encode(body) : body
  return (await context.respond(sent, { 'content-type': type })).formData()
}

/** Name and value of each entry; of a file its name, type and text. */
async function entries(form: FormData): Promise<unknown[]> {
  const all = []
  for (const [name, value] of form) {
    all.push([name, ...(typeof value === 'string' ? [value] : [value.name, value.type, await value.text()])])
  }
  return all
}

const FIELDS: [string, string, string[][]][] = [
  ['a field', part(FIELD), [['a', 'v']]],
  ['an empty field', lines('--sep', FIELD, '', '', '--sep--', ''), [['a', '']]],
  ['a field with line breaks', lines('--sep', FIELD, '', '', 'x', '', '--sep--', ''), [['a', '\r\nx\r\n']]],
  ['a field that speaks of the boundary', lines('--sep', FIELD, '', 'a sep b', '--sep--', ''), [['a', 'a sep b']]],
  ['a field with the boundary in a line', lines('--sep', FIELD, '', 'x--sep', '--sep--', ''), [['a', 'x--sep']]],
  [
    'a field with a longer boundary',
    lines('--sep', FIELD, '', 'x', '--separate', '--sep--', ''),
    [['a', 'x\r\n--separate']],
  ],
  ['a field with a BOM', lines('--sep', FIELD, '', '\ufeffx', '--sep--', ''), [['a', '\ufeffx']]],
  ['a field beyond ASCII', lines('--sep', FIELD, '', '\u{1f600}', '--sep--', ''), [['a', '\u{1f600}']]],
  [
    'one name twice',
    lines('--sep', FIELD, '', '1', '--sep', FIELD, '', '2', '--sep--', ''),
    [
      ['a', '1'],
      ['a', '2'],
    ],
  ],
  ['no part at all', lines('--sep--', ''), []],
  ['blanks behind a boundary', lines('--sep \t', FIELD, '', 'v', '--sep--', ''), [['a', 'v']]],
  ['blanks behind the last boundary', lines('--sep', FIELD, '', 'v', '--sep-- \t', ''), [['a', 'v']]],
  ['an end without a line break', lines('--sep', FIELD, '', 'v', '--sep--'), [['a', 'v']]],
  ['an epilogue', lines('--sep', FIELD, '', 'v', '--sep--', 'more', ''), [['a', 'v']]],
  [
    'escapes of a name as they are',
    part('Content-Disposition: form-data; name="a%0D%0A%22%25"'),
    [['a%0D%0A%22%25', 'v']],
  ],
  ['a name beyond ASCII', part('Content-Disposition: form-data; name="\u00e9"'), [['\u00e9', 'v']]],
  ['a name with a control character', part('Content-Disposition: form-data; name="a\u0001"'), [['a\u0001', 'v']]],
  ['a name without quotes', part('Content-Disposition: form-data; name=a'), [['a', 'v']]],
  ['_charset_ as a name', part('Content-Disposition: form-data; name="_charset_"'), [['_charset_', 'v']]],
  ['other headers', part(FIELD, 'X-Other: x'), [['a', 'v']]],
  ['a transfer encoding, undone by nobody', part(FIELD, 'Content-Transfer-Encoding: base64'), [['a', 'v']]],
  ['blanks around the name of a header', part(` ${FIELD.replace(':', ' \t:')}`), [['a', 'v']]],
  ['a file without a type', part(FILE), [['a', 'f', 'text/plain', 'v']]],
  ['a file with a type', part(FILE, 'Content-Type: image/png'), [['a', 'f', 'image/png', 'v']]],
  ['a type that comes first', part('Content-Type: image/png', FILE), [['a', 'f', 'image/png', 'v']]],
  ['headers of any case', part(FILE.replace('Content-D', 'cONTENT-d'), 'CONTENT-TYPE: A/B'), [['a', 'f', 'a/b', 'v']]],
  ['blanks around a type', part(FILE, 'Content-Type: \t a/b \t'), [['a', 'f', 'a/b', 'v']]],
  ['the last of two types', part(FILE, 'Content-Type: a/b', 'Content-Type: c/d'), [['a', 'f', 'c/d', 'v']]],
  ['the last of two types in a line', part(FILE, 'Content-Type: a/b, c/d'), [['a', 'f', 'c/d', 'v']]],
  ['a type in its own form', part(FILE, 'Content-Type: a/b;;x="y"'), [['a', 'f', 'a/b;x=y', 'v']]],
  ['a type that is none', part(FILE, 'Content-Type: text'), [['a', 'f', '', 'v']]],
  ['a type beyond ASCII', part(FILE, 'Content-Type: text/\u00e9'), [['a', 'f', '', 'v']]],
  ['an empty type', part(FILE, 'Content-Type:'), [['a', 'f', '', 'v']]],
  ['an empty file name', part(`${FIELD}; filename=""`), [['a', '', 'text/plain', 'v']]],
  ['an empty file', lines('--sep', FILE, '', '', '--sep--', ''), [['a', 'f', 'text/plain', '']]],
  ['escapes of a file name as they are', part(`${FIELD}; filename="%22.txt"`), [['a', '%22.txt', 'text/plain', 'v']]],
  ['a file name beyond ASCII', part(`${FIELD}; filename="\u4e2d"`), [['a', '\u4e2d', 'text/plain', 'v']]],
  ['an extended file name', part(`${FIELD}; filename*=UTF-8''%C3%A9`), [['a', '\u00e9', 'text/plain', 'v']]],
]

const REFUSED: [string, string][] = [
  ['an empty body', ''],
  ['a boundary alone', '--sep'],
  ['a preamble', `preamble\r\n${part(FIELD)}`],
  ['no last boundary', lines('--sep', FIELD, '', 'v')],
  ['no line break before the last boundary', lines('--sep', FIELD, '', 'v--sep--', '')],
  ['text behind the last boundary', lines('--sep', FIELD, '', 'v', '--sep--x', '')],
  ['a part without headers', lines('--sep', '', 'v', '--sep--', '')],
  ['a part without a disposition', part('Content-Type: a/b')],
  ['a part without a name', part('Content-Disposition: form-data')],
  ['a disposition of another kind', part('Content-Disposition: attachment; name="a"')],
  ['a header without a colon', part(FIELD.replace(':', ''))],
  ['a header whose name is no token', part(FIELD, 'Content Type: a/b')],
  ['a folded header', part('Content-Disposition: form-data;', ' name="a"')],
  ['a NUL in a name', part('Content-Disposition: form-data; name="a\0"')],
  ['a NUL in another header', part(FIELD, 'X-Other: \0')],
  ['a lone LF in a name', part('Content-Disposition: form-data; name="a\nb"')],
  ['a lone CR in a name', part('Content-Disposition: form-data; name="a\rb"')],
  ['a lone LF in a type', part(FILE, 'Content-Type: text/\nhtml')],
]

wpt(file, {
  ...Object.fromEntries(
    FIELDS.map(([title, body, expected]) => [
      `parses ${title}`,
      async (context: Context) => expect(await entries(await parse(context, body))).toEqual(expected),
    ]),
  ),
  ...Object.fromEntries(
    REFUSED.map(([title, body]) => [
      `refuses ${title}`,
      async (context: Context) => expect(await rejection(parse(context, body))).toBeInstanceOf(TypeError),
    ]),
  ),
  'refuses a type without a boundary, and an empty one': async (context) => {
    for (const type of ['multipart/form-data', 'multipart/form-data; boundary=""']) {
      expect(await rejection(parse(context, part(FIELD), type))).toBeInstanceOf(TypeError)
    }
  },
  'parses a boundary within quotes': async (context) => {
    const body = part(FIELD).replaceAll('sep', 'a.(b)')
    expect(await entries(await parse(context, body, 'Multipart/Form-Data; Boundary="a.(b)"'))).toEqual([['a', 'v']])
  },
  'parses a name and a value that are no UTF-8': async (context) => {
    const body = Buffer.from(part(FIELD).replace('"a"', '"a\xff"').replace('\r\nv', '\r\nv\xff'), 'latin1')
    expect(await entries(await parse(context, body))).toEqual([['a\ufffd', 'v\ufffd']])
  },
  'parses a file of any bytes': async (context) => {
    const body = Buffer.from(part(FILE).replace('\r\nv', '\r\n\0\x80\xff\r\n--'), 'latin1')
    const { size } = (await parse(context, body)).get('a') as File
    const bytes = await ((await parse(context, body)).get('a') as File).arrayBuffer()
    expect([size, ...new Uint8Array(bytes)]).toEqual([7, 0, 0x80, 0xff, 0x0d, 0x0a, 0x2d, 0x2d])
  },
  'a file was last modified in 1970': async (context) => {
    expect(((await parse(context, part(FILE))).get('a') as File).lastModified).toBe(0)
  },
})

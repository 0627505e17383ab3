/** fetch/h1-parsing, fetch/content-length and header values: heads that are odd, and heads that are none. */
import { expect } from 'vitest'
import { rejection } from '../context.ts'
import type { Context } from '../context.ts'
import { wpt } from '../registry.ts'

const shown = (text: string): string => JSON.stringify(text).slice(1, -1)

const each = (
  texts: readonly string[],
  titleOf: (text: string) => string,
  run: (c: Context, text: string) => unknown,
) => Object.fromEntries(texts.map((text) => [titleOf(shown(text)), (context: Context) => run(context, text)]))

async function refused(context: Context, answer: string): Promise<void> {
  const failure = await rejection(context.fetch(await context.raw(answer)))
  expect(failure).toBeInstanceOf(TypeError)
  expect((failure as Error).cause).toBeInstanceOf(Error)
}

wpt('fetch/h1-parsing/status-code.window.js', {
  ...each(
    ['', 'BLAH', '1000 BOO', '65736 NOT 200', '131072 HI'],
    (status) => `HTTP/1.1 ${status} is a network error`,
    (context, status) => refused(context, `HTTP/1.1 ${status}\r\na: b\r\n\r\n`),
  ),
  ...each(
    ['0 OK', '1 OK', '99 NOT OK', '099 HELLO', '999 DOES IT MATTER'],
    (status) => `HTTP/1.1 ${status} is a response`,
    async (context, line) => {
      const { status, statusText, headers } = await context.fetch(
        await context.raw(`HTTP/1.1 ${line}\r\na: b\r\nconnection: close\r\n\r\n`),
      )
      const [code, ...phrase] = line.split(' ')
      expect([status, statusText, headers.get('a')]).toEqual([Number(code), phrase.join(' '), 'b'])
    },
  ),
})

wpt('fetch/h1-parsing/lone-cr.window.js', {
  ...each(
    [
      'HTTP/1.1\r200 OK\n\nBODY',
      'HTTP/1.1 200\rOK\n\nBODY',
      'HTTP/1.1 200 OK\n\rHeader: Value\n\nBODY',
      'HTTP/1.1 200 OK\nHeader\r: Value\n\nBODY',
      'HTTP/1.1 200 OK\nHeader:\r Value\n\nBODY',
      'HTTP/1.1 200 OK\nHeader: Value\r\r\nBODY',
      'HTTP/1.1 200 OK\nHeader: Value\rHeader2: Value2\n\nBODY',
    ],
    (head) => `${head} is a network error`,
    refused,
  ),
})

wpt('fetch/h1-parsing/incomplete-response.window.js', {
  ...each(
    ['header: value\t', 'header: value ', 'header: value\f', 'header: value\r'],
    (line) => `a head that ends in ${line} is a network error`,
    (context, line) => refused(context, `HTTP/1.1 200 OKAYISH\n${line}`),
  ),
})

wpt('fetch/api/headers/header-values.any.js', {
  ...each(
    ['\u0001', '\u000b', '\u000c', '\u001f', '\u007f'],
    (value) => `${value} is a value`,
    async (context, value) => {
      const origin = await context.raw(`HTTP/1.1 200 OK\r\na: x${value}x\r\ncontent-length: 0\r\n\r\n`)
      expect((await context.fetch(origin)).headers.get('a')).toBe(`x${value}x`)
    },
  ),
  ...each(
    ['\t', '!', '~', '\u0080', '\u00ff', ', ,', '\\"'],
    (value) => `${value} is a value`,
    async (context, value) => {
      const origin = await context.raw(`HTTP/1.1 200 OK\r\na: x${value}x\r\ncontent-length: 0\r\n\r\n`)
      expect((await context.fetch(origin)).headers.get('a')).toBe(`x${value}x`)
    },
  ),
})

/** `null` is a network error; a number the length of the body. */
const LENGTHS: [string, number | null][] = [
  ['4', 4],
  ['04', 4],
  ['4,4', 4],
  ['4, 4', 4],
  ['4\r\nContent-Length: 4', 4],
  ['4\r\nContent-Length: 4,4', 4],
  ['4,6', null],
  ['6,4', null],
  ['4\r\nContent-Length: 6', null],
  ['4,', null],
  [',4', null],
  ['4\r\nContent-Length: \t', null],
  ['\r\nContent-Length: 4', null],
  ['x\r\nContent-Length: y', null],
  ['x, y', null],
  ['04\r\nContent-Length: 4', null],
  ['04, 4', null],
  ['x', 6],
  ['4s', 6],
  ['-1', 6],
  ['0x4', 6],
  ['x, x', 6],
]

wpt(
  'fetch/content-length/parsing.window.js',
  Object.fromEntries(
    LENGTHS.map(([value, length]) => [
      `Content-Length: ${shown(value)} is ${length === null ? 'a network error' : `${length} bytes`}`,
      async (context: Context) => {
        const origin = await context.raw(`HTTP/1.1 200 OK\r\nContent-Length: ${value}\r\n\r\n123456`)
        const read = context.fetch(origin).then((response) => response.text())
        if (length === null) expect(await rejection(read)).toBeInstanceOf(TypeError)
        else expect(await read).toHaveLength(length)
      },
    ]),
  ),
)

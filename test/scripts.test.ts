import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { countCargo, countVitest } from '../scripts/gate/counts.ts'
import { describeError } from '../scripts/start/describe-error.ts'
import { amount } from '../scripts/start/format.ts'
import { parseOptions } from '../scripts/start/options.ts'
import { payload, payloadHash } from '../scripts/start/payload.ts'
import { table } from '../scripts/support/table.ts'

describe('the counts of the gate', () => {
  test('cargo: the results of all test programs are added up, and the failed tests named', () => {
    const output =
      'test a ... ok\ntest result: ok. 3 passed; 0 failed; 0 ignored\n\n' +
      'test b::wire ... FAILED\ntest c ... FAILED\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n'
    const failures = ['cargo test: b::wire', 'cargo test: c']
    expect(countCargo(output, 101)).toEqual({ passed: 4, failed: 2, failures })
  })

  test('cargo: what does not build, or crashes, has failed', () => {
    const failures = ['cargo test: it did not build, or crashed (exit code 101)']
    expect(countCargo('', 101)).toEqual({ passed: 0, failed: 1, failures })
    expect(countCargo('test result: ok. 3 passed; 0 failed', 0)).toEqual({ passed: 3, failed: 0, failures: [] })
  })

  const passed = { status: 'passed', fullName: 'one' }
  const failed = { status: 'failed', fullName: 'other' }
  const vitestReport = (numPassedTests: number, numFailedTests: number, testResults: object[]): string =>
    JSON.stringify({ numPassedTests, numFailedTests, testResults })

  test('vitest: a file that does not load counts as a failure beside the failed tests', () => {
    const report = vitestReport(5, 1, [
      { name: '/clone/test/a.ts', status: 'failed', assertionResults: [] },
      { name: '/clone/test/b.ts', status: 'failed', assertionResults: [passed, failed] },
      { name: '/clone/test/c.ts', status: 'passed', assertionResults: [passed] },
    ])
    const failures = ['vitest: test/b.ts: other', 'vitest: test/a.ts: it does not load']
    expect(countVitest(report, 1, '/clone')).toEqual({ passed: 5, failed: 2, failures })
  })

  test('vitest: a run without a report, or with an unhandled error, has failed', () => {
    expect(countVitest(undefined, 0, '/')).toMatchObject({ passed: 0, failed: 1 })
    expect(countVitest(vitestReport(5, 0, []), 1, '/')).toEqual({
      passed: 5,
      failed: 1,
      failures: ['vitest: an error outside of the tests, see above'],
    })
    expect(countVitest(vitestReport(5, 0, []), 0, '/')).toEqual({ passed: 5, failed: 0, failures: [] })
  })
})

describe('the command line of npm start', () => {
  test('nothing asks for the demonstration with 1 GiB', () => {
    expect(parseOptions([])).toEqual({ job: 'demonstrate', bytes: 1024 ** 3 })
    expect(parseOptions(['--bytes', '7'])).toEqual({ job: 'demonstrate', bytes: 7 })
  })

  test('a URL and a file ask for a download, in either order', () => {
    const wanted = { job: 'download', url: new URL('http://localhost/a'), file: 'b' }
    expect(parseOptions(['http://localhost/a', '-o', 'b'])).toEqual(wanted)
    expect(parseOptions(['--output=b', 'http://localhost/a'])).toEqual(wanted)
  })

  test.each([
    [['localhost/a', '-o', 'b'], 'not an http: or https: URL'],
    [['ftp://localhost/a', '-o', 'b'], 'not an http: or https: URL'],
    [['http://localhost/a'], '-o FILE'],
    [['http://localhost/a', 'http://localhost/b', '-o', 'c'], 'one URL at a time'],
    [['-o', 'b'], 'URL is missing'],
    [['--bytes', '0'], '--bytes'],
    [['--bytes', '1e3'], '--bytes'],
    [['http://localhost/a', '-o', 'b', '--bytes', '1'], '--bytes'],
    [['--unknown'], '--unknown'],
  ])('%j is wrong', (args, message) => {
    expect(parseOptions(args)).toMatchObject({ job: 'wrong', message: expect.stringContaining(message) })
  })

  test('help wins over everything', () => {
    expect(parseOptions(['--help', 'nonsense'])).toEqual({ job: 'help' })
  })
})

test.each([0, 1, 8, 9, 1024 * 1024, 1024 * 1024 + 5, 3 * 1024 * 1024])(
  'the payload of %d bytes has its length and its hash',
  (length) => {
    const hash = createHash('sha256')
    let bytes = 0
    for (const piece of payload(length)) {
      bytes += piece.byteLength
      hash.update(piece)
    }
    expect(bytes).toBe(length)
    expect(hash.digest('hex')).toBe(payloadHash(length))
  },
)

test('no two blocks of the payload are equal', () => {
  const pieces = [...payload(2 * 1024 * 1024)].map((piece) => Buffer.from(piece).toString('hex', 0, 8))
  expect(pieces[0]).not.toBe(pieces[2])
})

test('an error is told in one line, by its deepest cause, with its code', () => {
  const cause = Object.assign(new Error('connect to h:1\n refused'), { code: 'ECONNREFUSED' })
  expect(describeError(new TypeError('fetch failed', { cause }))).toBe('connect to h:1 refused (ECONNREFUSED)')
  expect(describeError(Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT' }))).toBe(
    'ENOENT: no such file',
  )
  expect(describeError('text')).toBe('text')
})

test('figures are printed for people', () => {
  expect([0, 1023, 1024, 1536, 1024 ** 3, 5e15].map(amount)).toEqual([
    '0 B',
    '1023 B',
    '1 KiB',
    '1.5 KiB',
    '1 GiB',
    '4547.5 TiB',
  ])
  expect(
    table([
      ['', 'b'],
      ['long', '1'],
    ]),
  ).toBe('      b\nlong  1\n')
})

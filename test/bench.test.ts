import { expect, describe, test } from 'vitest'
import { defaults, readConfig, smoke } from '../bench/config.ts'
import { clients, packageOf, programOf, rivalOf } from '../bench/contestants/index.ts'
import { readTimes, readWrk } from '../bench/contestants/programs.ts'
import { goalCells, goals, judge } from '../bench/goals.ts'
import { Durations, makeParallelRequests } from '../bench/make-parallel-requests.ts'
import type { Measurement } from '../bench/metrics.ts'
import { pictureOf, shown } from '../bench/picture.ts'
import { cellsOf, formatResults, markdownResults } from '../bench/print-results.ts'
import { findingsOf, reportOf } from '../bench/report.ts'
import { belowFloor, rowsOf, type Row } from '../bench/rows.ts'
import type { RunFile } from '../bench/run-file.ts'
import { loadScenario } from '../bench/scenarios/index.ts'
import { scenarioNames } from '../bench/scenarios/names.ts'
import { mean, median, percentile, spread } from '../bench/statistics.ts'
import { isUnsupported, Unsupported } from '../bench/unsupported.ts'

const work = { id: 'http1/get/64', title: 'GET small, 64 at once', metric: 'perSecond', isThroughput: true } as const

const series = (contestant: string, ...measurements: Measurement[]) => ({
  contestant,
  measurements,
  errors: [] as string[],
})

function rows(): Row[] {
  return rowsOf(work, [
    series('sluice dispatch, wire', { perSecond: 280 }, { perSecond: 300 }, { perSecond: 290 }),
    series('sluice dispatch, reqwest', { perSecond: 90, threadMicros: 2 }),
    series('undici dispatch', { perSecond: 100, threadMicros: 8 }, { perSecond: 300, threadMicros: 6 }),
    { contestant: 'got', measurements: [], errors: ['Error: no', 'Error: no'] },
  ])
}

describe('the arithmetic of the benchmarks', () => {
  test('the median is the value in the middle, or the mean of two, and the order does not matter', () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2.5, NaN])
  })

  test('the spread is half the distance of the extremes in % of the median', () => {
    expect(spread([90, 100, 110])).toBe(10)
    expect(mean([1, 2, 6])).toBe(3)
  })

  test('a percentile is the smallest value that its share does not exceed', () => {
    const hundred = Array.from({ length: 100 }, (_, i) => i + 1)
    expect([percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([7], 0.01)]).toEqual([50, 99, 7])
  })

  test('durations are kept beyond the room they began with', () => {
    const durations = new Durations()
    for (let i = 10_000; i > 0; i--) durations.add(i)
    expect([durations.sorted.length, durations.sorted[0], durations.sorted[9999]]).toEqual([10_000, 1, 10_000])
    durations.clear()
    expect(durations.sorted.length).toBe(0)
  })
})

describe('parallel requests', () => {
  test('as many as asked for are made, never more at once than allowed', async () => {
    let running = 0
    let most = 0
    let made = 0
    const request = async (): Promise<number> => {
      most = Math.max(most, ++running)
      await Promise.resolve()
      running--
      made++
      return 5
    }
    await makeParallelRequests(request, { count: 100, parallel: 8, bytes: 5 })
    expect({ made, most, running }).toEqual({ made: 100, most: 8, running: 0 })
  })

  test('a response of the wrong size fails the measurement', async () => {
    const cut = makeParallelRequests(async () => 4, { count: 2, parallel: 1, bytes: 5 })
    await expect(cut).rejects.toThrow('a response of 4 bytes in place of 5')
  })
})

describe('rows', () => {
  test('a row has the medians of its rounds, their spread, and the ratio to its counterpart', () => {
    const [wire, reqwest, undici] = rows()
    expect(wire).toMatchObject({ values: { perSecond: 290 }, ratio: 1.45, rival: 'undici dispatch', rounds: 3 })
    expect(wire!.spread).toBeCloseTo(3.45, 2)
    expect(reqwest).toMatchObject({ ratio: 0.45, spread: null })
    expect(undici).toMatchObject({ values: { perSecond: 200, threadMicros: 7 }, ratio: null, rival: null })
  })

  test('a contestant that failed is a row with its error, said once', () => {
    expect(rows()[3]).toMatchObject({ contestant: 'got', rounds: 0, values: {}, error: 'Error: no' })
    expect(formatResults(rows())).toMatch(/^got +ERROR$[\s\S]*^got: Error: no$/m)
  })

  test('what a contestant cannot do is no error, whichever way it says so', () => {
    const { name, message } = new Unsupported('no upgrade')
    expect(isUnsupported(`${name}: ${message}`)).toBe(true)
    expect(
      isUnsupported("NotSupportedError (UND_ERR_NOT_SUPPORTED): upgrade is not supported by transport 'reqwest'"),
    ).toBe(true)
    expect(isUnsupported('InvalidArgumentError (UND_ERR_INVALID_ARG): unknown option proxy')).toBe(true)
    expect(isUnsupported("InvalidArgumentError: option proxy is not supported by transport 'reqwest'")).toBe(true)
    expect(isUnsupported('TypeError: fetch failed')).toBe(false)
  })

  test('a round that failed is told beside the figures of the others', () => {
    const [row] = rowsOf(work, [{ contestant: 'got', measurements: [{ perSecond: 1 }], errors: ['Error: no'] }])
    expect(row).toMatchObject({ values: { perSecond: 1 }, error: '1 rounds failed: Error: no' })
  })

  test.each([
    ['sluice dispatch, wire', 'undici dispatch'],
    ['sluice request, reqwest', 'undici request'],
    ['sluice fetch, wire', 'undici fetch'],
    ['sluice undici.fetch, wire', 'undici fetch'],
    ['got', 'undici dispatch'],
    ['undici request', 'undici dispatch'],
    ['undici dispatch', undefined],
  ])('%s is compared with %s', (contestant, rival) => {
    expect(rivalOf(contestant, ['undici dispatch', 'undici request', 'undici fetch', 'built-in fetch'])).toBe(rival)
  })

  test('without undici the rival is the built-in fetch', () => {
    expect(rivalOf('sluice fetch, wire', ['built-in fetch', 'sluice fetch, wire'])).toBe('built-in fetch')
  })

  test('the floor catches rows of sluice below it and those that failed, and no one else', () => {
    expect(belowFloor(rows(), 0.95).map(({ contestant }) => contestant)).toEqual(['sluice dispatch, reqwest'])
    expect(belowFloor(rows(), 0.4)).toEqual([])
    const failed = rowsOf(work, [{ contestant: 'sluice fetch, wire', measurements: [], errors: ['Error: no'] }])
    expect(belowFloor(failed, 0.1)).toHaveLength(1)
    const absent = 'InvalidArgumentError (UND_ERR_INVALID_ARG): unknown option proxy'
    const unsupported = rowsOf(work, [{ contestant: 'sluice fetch, wire', measurements: [], errors: [absent] }])
    expect(belowFloor(unsupported, 0.1)).toEqual([])
    expect(belowFloor(rowsOf({ ...work, isThroughput: false }, [series('sluice dispatch, wire')]), 9)).toEqual([])
  })
})

describe('the table', () => {
  test('the best row is first, errors are last, and columns that nobody has are left out', () => {
    const cells = cellsOf(rows())
    expect(cells[0]).toEqual(['', 'requests/s', 'JS thread µs/req', 'spread', 'ratio', 'to'])
    expect(cells.slice(1).map(([name]) => name)).toEqual([
      'sluice dispatch, wire',
      'undici dispatch',
      'sluice dispatch, reqwest',
      'got',
    ])
    expect(cells[1]).toEqual(['sluice dispatch, wire', '290', '', '±3%', '1.45×', 'undici dispatch'])
  })

  test('where less is better the smallest figure is first', () => {
    const cells = cellsOf(
      rowsOf({ ...work, metric: 'firstMs' }, [series('undici fetch', { firstMs: 9 }), series('ky', { firstMs: 3 })]),
    )
    expect(cells.slice(1).map(([name]) => name)).toEqual(['ky', 'undici fetch'])
  })

  test('Markdown has a heading for each work and a row for each contestant', () => {
    const lines = markdownResults(rows()).split('\n')
    expect(lines[0]).toBe('### GET small, 64 at once')
    expect(lines.filter((line) => line.startsWith('| '))).toHaveLength(6)
  })
})

describe('the goals', () => {
  test('every goal names a work and contestants that exist', async () => {
    const works = (await Promise.all(scenarioNames.map(loadScenario))).flatMap((scenario) => scenario.works(defaults))
    for (const { work: id, contestant, rival, metric } of goals) {
      const found = works.find((candidate) => candidate.id === id)
      expect(found?.contestants, `${id} ${metric}`).toContain(`${contestant}, wire`)
      if (rival !== null) expect(found?.contestants).toContain(rival)
    }
  })

  test('a verdict is the ratio of two rows, met on its own side of the bound, for each engine', () => {
    const verdicts = judge(
      rows(),
      goals.filter((goal) => goal.work === work.id && goal.contestant === 'sluice dispatch'),
    )
    expect(verdicts.map(({ goal, engine, reached, isMet }) => [goal.metric, engine, reached, isMet])).toEqual([
      ['perSecond', 'wire', 1.45, true],
      ['perSecond', 'reqwest', 0.45, false],
      ['threadMicros', 'wire', null, null],
      ['threadMicros', 'reqwest', 2 / 7, false],
      ['processMicros', 'wire', null, null],
      ['processMicros', 'reqwest', null, null],
    ])
    expect(goalCells(verdicts).slice(1)).toEqual([
      ['small GET, 64 at once, dispatch', 'requests/s', 'undici dispatch', '≥ 1.40×', '1.45×', 'yes', '0.45×', 'no'],
      ['small GET, 64 at once, dispatch', 'JS thread µs/req', 'undici dispatch', '≤ 0.28×', '–', '–', '0.29×', 'no'],
      ['small GET, 64 at once, dispatch', 'process µs/req', 'undici dispatch', '≤ 0.80×', '–', '–', '–', '–'],
    ])
  })

  test('a bound without a rival is judged by the figure itself', () => {
    const paused = rowsOf({ ...work, id: 'memory/paused', metric: 'rssAboveIdle' }, [
      series('sluice dispatch, wire', { rssAboveIdle: 70 }),
      series('sluice dispatch, reqwest', { rssAboveIdle: 80 }),
    ])
    const verdicts = judge(
      paused,
      goals.filter((goal) => goal.rival === null),
    )
    expect(verdicts.map(({ reached, isMet }) => [reached, isMet])).toEqual([
      [70, true],
      [80, false],
    ])
  })
})

describe('the report', () => {
  const run = (): RunFile => ({
    machine: {
      cpu: 'A processor',
      cores: 2,
      memoryGb: 8,
      system: 'linux 6',
      node: '24.0.0',
      versions: { undici: '8.0.0' },
      commit: 'abc',
      date: '2026-01-01',
    },
    config: defaults,
    command: 'npm run bench:all',
    rows: rows(),
    verdicts: judge(rows()),
  })

  test('it says where it was made, every goal, and every row', () => {
    const report = reportOf(run(), 'The socket.')
    expect(report).toContain('| processor | A processor, 2 cores, 8 GB |')
    expect(report).toContain('1 met, 2 not met')
    expect(report.match(/^\| small GET, 64 at once, dispatch \|/gm)).toHaveLength(3)
    expect(report).toContain('| got |')
  })

  test('what was written about its findings survives the next run', () => {
    const report = reportOf(run(), 'The socket.\n\nAnd the loop.')
    expect(findingsOf(report)).toBe('The socket.\n\nAnd the loop.')
    expect(findingsOf(reportOf(run(), findingsOf(report)))).toBe('The socket.\n\nAnd the loop.')
    expect(findingsOf('')).toBe('Nothing was written yet.')
  })

  test('the picture has a bar for each row that is shown, the longest for the largest figure', () => {
    const picture = pictureOf(rows())
    const widths = [...picture.matchAll(/<rect class="(\w+)"[^>]* width="([\d.]+)"/g)].map(([, kind, width]) => [
      kind,
      Number(width),
    ])
    expect(widths.map(([kind]) => kind)).toEqual(['own', 'other'])
    expect(Number(widths[1]![1]) / Number(widths[0]![1])).toBeCloseTo(200 / 290, 2)
    expect(picture).toContain('GET small, 64 at once (requests/s)')
  })

  test('names are escaped in the picture', () => {
    const [row] = rowsOf({ ...work, title: 'a < b & "c"' }, [series('undici dispatch', { perSecond: 1 })])
    expect(pictureOf([row!])).toContain('a &lt; b &amp; &quot;c&quot; (requests/s)')
  })

  test('all that is shown can be measured', async () => {
    const works = (await Promise.all(scenarioNames.map(loadScenario))).flatMap((scenario) => scenario.works(defaults))
    for (const { work: id, contestants } of shown) {
      expect(works.find((candidate) => candidate.id === id)?.contestants).toEqual(expect.arrayContaining(contestants))
    }
  })
})

describe('the configuration', () => {
  test('nothing given is the full run', () => {
    expect(readConfig([])).toEqual(defaults)
  })

  test('flags are read with and without an equals sign, sizes in powers of 1024', () => {
    const config = readConfig(['--only', 'http1,stream', '--rounds=5', '--bytes', '64m', '--parallel', '1,2'])
    expect(config).toMatchObject({ only: ['http1', 'stream'], rounds: 5, bytes: 64 * 1024 ** 2, parallel: [1, 2] })
    expect(readConfig(['--assert', '0.95', '--report', '--json'])).toMatchObject({
      assert: 0.95,
      report: true,
      json: 'bench/results.json',
    })
    expect(readConfig(['--json=a.json', '--rounds', '1'])).toMatchObject({ json: 'a.json', rounds: 1 })
  })

  test('the environment sets what no flag does, and the smoke run is less than both', () => {
    const env = { SLUICE_BENCH_ROUNDS: '7', SLUICE_BENCH_FILE_BYTES: '1m' }
    expect(readConfig(['--rounds', '2'], env)).toMatchObject({ rounds: 2, fileBytes: 1024 ** 2 })
    expect(readConfig(['--smoke'], env)).toMatchObject({ ...smoke, rounds: 7, fileBytes: 1024 ** 2 })
    expect(readConfig(['--smoke', '--paused', '9'])).toMatchObject({ ...smoke, paused: 9 })
  })

  test.each([
    [['--only', 'http3'], '--only http3'],
    [['--rounds', '0'], '--rounds 0'],
    [['--rounds'], '--rounds needs a value'],
    [['--assert', 'x'], '--assert x'],
    [['--report=no'], '--report takes no value'],
    [['--fast'], '--fast: there is no such flag'],
    [['fast'], 'fast: not a flag'],
  ])('%j is refused by name', (args, message) => {
    expect(() => readConfig(args)).toThrow(message)
  })

  test('the smoke run has a work of every scenario', async () => {
    for (const name of scenarioNames) {
      const works = (await loadScenario(name)).works({ ...defaults, ...smoke })
      expect(
        works.some(({ id }) => smoke.works!.some((part) => id.includes(part))),
        name,
      ).toBe(true)
    }
  })
})

describe('the contestants', () => {
  test('every engine is in every work that has one', async () => {
    for (const name of scenarioNames) {
      for (const { id, contestants } of (await loadScenario(name)).works(defaults)) {
        const wire = contestants.filter((contestant) => contestant.endsWith(', wire'))
        expect(wire.length, id).toBeGreaterThan(0)
        expect(contestants).toEqual(expect.arrayContaining(wire.map((one) => one.replace('wire', 'reqwest'))))
      }
    }
  })

  test('names are unique, and the libraries and programs are known by theirs', () => {
    expect(new Set(clients.map(({ name }) => name)).size).toBe(clients.length)
    expect(['got', 'undici fetch', 'curl'].map(packageOf)).toEqual(['got', undefined, undefined])
    expect(['got', 'curl', 'wrk'].map(programOf)).toEqual([undefined, 'curl', 'wrk'])
  })

  test("the shell's times of its children are added up", () => {
    expect(readTimes('0m0.001s 0m0.002s\n1m0.250s 0m0.500s\n')).toBe(60.75)
    expect(() => readTimes('nothing')).toThrow('not a line')
  })

  test("wrk's figures are read in µs", () => {
    const text = `Running 1s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.50ms    1.02ms   9.00ms   80.00%
    Req/Sec    50.00k     1.00k   51.00k    70.00%
  Latency Distribution
     50%  900.00us
     75%    2.00ms
     99%    5.00ms
  50000 requests in 1.00s, 9.00MB read
Requests/sec:  49876.12
Transfer/sec:      9.00MB
`
    expect(readWrk(text, 0.5)).toEqual({
      perSecond: 49876.12,
      meanMicros: 1500,
      p50Micros: 900,
      p99Micros: 5000,
      processMicros: 10,
    })
    expect(() => readWrk('', 1)).toThrow('not what wrk prints')
  })
})

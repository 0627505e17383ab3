/**
 * What is run and how much of it. Every figure can be set by a flag (`--rounds 5`) and by the environment
 * (`SLUICE_BENCH_ROUNDS=5`); the flag wins.
 */
import { scenarioNames, type ScenarioName } from './scenarios/names.ts'

export interface Config {
  /** Scenarios to run, in this order. */
  only: ScenarioName[]
  /** Parts of contestants' names; empty for all of them. */
  contestants: string[]
  /** Parts of works' ids (`http1/get`); empty for all of them. */
  works: string[]
  /** Times each contestant is run; the table shows medians. */
  rounds: number
  /** Milliseconds of wall time that one work of small requests is measured for, in each round. */
  time: number
  /** Milliseconds of the same work before that. */
  warmUp: number
  /** Requests at once. */
  parallel: number[]
  /** Connections of clients that need the number (undici); 0 is as many as requests at once. */
  connections: number
  /** Bytes of the larger bodies of `http1`. */
  sizes: number[]
  /** Bytes of a download. */
  bytes: number
  /** Bytes of an upload, and of a download into a file. */
  fileBytes: number
  /** Bytes of a download through the delaying proxy. */
  delayedBytes: number
  /** Responses that are paused, and idle sockets, of `memory`. */
  paused: number
  idle: number
  /** Milliseconds after which a contestant's process is stopped, as an error. */
  timeout: number
  /** Where the JSON goes; none is written without. */
  json: string | null
  /** Whether `RESULTS.md` and the picture are written. */
  report: boolean
  /** The least ratio to undici that a throughput row of sluice may have; below, the exit code is 1. */
  assert: number | null
}

export const defaults: Config = {
  only: [...scenarioNames],
  contestants: [],
  works: [],
  rounds: 3,
  time: 200,
  warmUp: 150,
  parallel: [1, 8, 64, 256],
  connections: 0,
  sizes: [16 * 1024, 1024 * 1024],
  bytes: 2 * 1024 ** 3,
  fileBytes: 1024 ** 3,
  delayedBytes: 16 * 1024 ** 2,
  paused: 1000,
  idle: 10_000,
  timeout: 120_000,
  json: null,
  report: false,
  assert: null,
}

/** What `--smoke` sets: every scenario once, in less than a minute; a flag beside it wins. */
export const smoke: Partial<Config> = {
  contestants: [
    'sluice dispatch',
    'sluice fetch',
    'sluice websocket',
    'undici dispatch',
    'undici stream',
    'undici websocket',
    'built-in fetch',
  ],
  works: [
    'http1/get/64',
    'http1/post/64',
    'http2/get/64',
    'websocket/small',
    'proxy/absolute',
    'stream/reader',
    'stream/file',
    'upload/generator',
    'startup/',
    'memory/paused',
    'latency/h2',
    'blocked/',
  ],
  rounds: 1,
  time: 100,
  warmUp: 50,
  parallel: [64],
  bytes: 32 * 1024 ** 2,
  fileBytes: 32 * 1024 ** 2,
  delayedBytes: 1024 ** 2,
  paused: 50,
  idle: 100,
  timeout: 30_000,
}

type Reader = (text: string, name: string) => unknown

const count: Reader = (text, name) => {
  const value = bytesOf(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} ${text}: it must be a whole number from 1`)
  return value
}
const countOrNone: Reader = (text, name) => (text === '0' ? 0 : count(text, name))
const list: Reader = (text) => text.split(',').filter((part) => part !== '')
const counts: Reader = (text, name) => (list(text, name) as string[]).map((part) => count(part, name))
const scenarios: Reader = (text, name) => {
  const wanted = list(text, name) as string[]
  const unknown = wanted.find((part) => !scenarioNames.includes(part as ScenarioName))
  if (unknown !== undefined) throw new Error(`--${name} ${unknown}: there is ${scenarioNames.join(', ')}`)
  return wanted
}
const ratio: Reader = (text, name) => {
  const value = Number(text)
  if (text === '' || !(value > 0)) throw new Error(`--${name} ${text}: it must be a number above 0`)
  return value
}
const flag: Reader = (text, name) => {
  if (text !== '' && text !== '1') throw new Error(`--${name} takes no value`)
  return true
}

const readers: Record<keyof Config, Reader> = {
  only: scenarios,
  contestants: list,
  works: list,
  rounds: count,
  time: count,
  warmUp: count,
  parallel: counts,
  connections: countOrNone,
  sizes: counts,
  bytes: count,
  fileBytes: count,
  delayedBytes: count,
  paused: count,
  idle: count,
  timeout: count,
  json: (text) => text || 'bench/results.json',
  report: flag,
  assert: ratio,
}

/** Flags whose value, if there is one, follows a `=`. */
const bare = new Set(['json', 'report', 'smoke'])

/** `64`, `16k`, `1m`, `2g`: bytes in powers of 1024. */
function bytesOf(text: string): number {
  const match = /^(\d+)([kmg]?)$/i.exec(text)
  if (match === null) return NaN
  return Number(match[1]) * 1024 ** ['', 'k', 'm', 'g'].indexOf(match[2]!.toLowerCase())
}

/** @throws Error that names a flag that is unknown or wrong */
export function readConfig(args: readonly string[], env: Record<string, string | undefined> = {}): Config {
  const given: Record<string, unknown> = {}
  for (const key of Object.keys(readers) as (keyof Config)[]) {
    const text = env[`SLUICE_BENCH_${flagOf(key).replaceAll('-', '_').toUpperCase()}`]
    if (text !== undefined) given[key] = readers[key](text, flagOf(key))
  }
  let isSmoke = false
  const rest = [...args]
  while (rest.length > 0) {
    const [name, inline] = splitFlag(rest.shift()!)
    const key = (Object.keys(readers) as (keyof Config)[]).find((candidate) => flagOf(candidate) === name)
    const text = inline ?? (bare.has(name) ? '' : rest.shift())
    if (name === 'smoke') {
      isSmoke = true
      continue
    }
    if (key === undefined) throw new Error(`--${name}: there is no such flag`)
    if (text === undefined) throw new Error(`--${name} needs a value`)
    given[key] = readers[key](text, name)
  }
  return { ...defaults, ...(isSmoke ? smoke : {}), ...given }
}

function splitFlag(arg: string): [string, string | undefined] {
  const match = /^--([a-z-]+)(?:=(.*))?$/.exec(arg)
  if (match === null) throw new Error(`${arg}: not a flag`)
  return [match[1]!, match[2]]
}

function flagOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

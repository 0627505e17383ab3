import { parseArgs } from 'node:util'

export const USAGE = `npm run soak                      a million requests that end in every way there is
npm run soak -- --requests N      N of them
npm run soak -- --seconds S       as many as there is time for
npm run soak -- --seed N          the same choices as a run that printed this seed
npm run soak -- --over NAME       over one of http1, tls, http2, and not over all in turns
npm run soak -- --only KIND,...   of some kinds alone
npm run soak -- --svg FILE        where the picture goes; target/soak/soak.svg without
`

export const PROTOCOLS = ['http1', 'tls', 'http2'] as const
export type Protocol = (typeof PROTOCOLS)[number]

export interface SoakOptions {
  /** `Infinity`: until the time is up. */
  requests: number
  seconds: number
  seed: number
  protocols: readonly Protocol[]
  /** `null` is all. */
  kinds: readonly string[] | null
  svg: string | null
}

/** What the command line asks for; `null` is help. @throws Error that says what is wrong with it */
export function parseOptions(args: string[]): SoakOptions | null {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', short: 'h' },
      requests: { type: 'string' },
      seconds: { type: 'string' },
      seed: { type: 'string' },
      over: { type: 'string' },
      only: { type: 'string' },
      svg: { type: 'string' },
    },
  })
  if (values.help === true) return null
  const { over } = values
  if (over !== undefined && !PROTOCOLS.includes(over as Protocol)) {
    throw new Error(`--over takes one of ${PROTOCOLS.join(', ')}, not '${over}'`)
  }
  const seconds = count('seconds', values.seconds) ?? Infinity
  return {
    requests: count('requests', values.requests) ?? (seconds === Infinity ? 1_000_000 : Infinity),
    seconds,
    seed: count('seed', values.seed) ?? Math.floor(Math.random() * 0x1_0000_0000),
    protocols: over === undefined ? PROTOCOLS : [over as Protocol],
    kinds: values.only?.split(',') ?? null,
    svg: values.svg ?? null,
  }
}

function count(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,10}$/.test(text)) throw new Error(`--${name} takes a whole number, not '${text}'`)
  return Number(text)
}

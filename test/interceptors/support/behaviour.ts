/** One behaviour of an interceptor of undici, over undici's own agent, which says what is right, and over sluice's. */
import { expect, test } from 'vitest'
import type { DispatcherSurface } from '../../../lib/index.ts'
import { APIS, selected } from '../../contract/support/contestants.ts'
import type { Contestant } from '../../contract/support/contestants.ts'
import { Stage } from '../../contract/support/stage.ts'

export type { Stage }

/** The interceptors of undici 7 and 8 over their own agent and over both engines. */
export const OVERS: readonly Contestant[] = [
  ...APIS,
  {
    ...APIS.find(({ name }) => name === 'undici 7 over sluice')!,
    name: 'undici 7 over sluice over reqwest',
    engine: 'reqwest',
    open: (options) => APIS.find(({ engine }) => engine === 'reqwest')!.open(options),
  },
]

/** For what reqwest refuses by name (COMPATIBILITY.md, C7). */
export const OVER_WIRE: readonly Contestant[] = OVERS.filter(({ engine }) => engine !== 'reqwest')

/** For what undici 8 alone does. */
export const OVER_8: readonly Contestant[] = OVERS.filter(({ name }) => name.startsWith('undici 8'))

export interface Behaviour {
  on?: readonly Contestant[]
  run(stage: Stage): unknown
  /** Of every contestant alike. */
  expected: unknown
}

export function behaviour(title: string, { on = OVERS, run, expected }: Behaviour): void {
  test.concurrent.each(selected(on).map((contestant) => [contestant.name, contestant] as const))(
    `${title} (%s)`,
    async (_name, contestant) => {
      await using stage = new Stage(contestant)
      expect(await run(stage)).toEqual(expected)
    },
  )
}

/** The agent behind interceptors of the contestant's undici. */
export function composed(stage: Stage, ...interceptors: unknown[]): DispatcherSurface {
  return stage.open().compose(interceptors as never)
}

/** Status and text of undici's `request` over `dispatcher`. */
export async function ask(
  stage: Stage,
  dispatcher: DispatcherSurface,
  url: string | URL,
  options: object = {},
): Promise<[number, string]> {
  const { statusCode, body } = await stage.contestant.undici.request(url, {
    dispatcher: dispatcher as never,
    ...options,
  })
  return [statusCode, await body.text()]
}

/** `name: message` of what a call throws or rejects with. */
export async function failureOf(act: () => unknown): Promise<string> {
  try {
    await act()
  } catch (error) {
    const { name, message, code } = error as Error & { code?: string }
    return `${code ?? name}: ${message}`
  }
  return 'no failure'
}

/** The ways by which the built-in `fetch` comes to an agent. */
export const routes = ['{ dispatcher }', 'setGlobalDispatcher of undici 7', 'setGlobalDispatcher of undici 8'] as const

export type Route = (typeof routes)[number]

/** How one case ended, a line of JSON on the program's standard output. */
export interface Outcome {
  name: string
  /** What was wrong, with its stack; `null` when nothing was. */
  error: string | null
}

export function isRoute(text: string | undefined): text is Route {
  return (routes as readonly (string | undefined)[]).includes(text)
}

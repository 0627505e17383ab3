/** The two ways of a response into a dispatch handler, which one suite runs over. */
import { Agent, dispatchStream, fetch } from '../../lib/index.ts'
import type { AgentOptions, AnyDispatchHandler, DispatcherLike, DispatchOptions, FetchInit } from '../../lib/index.ts'
import { rejectDispatch } from '../../lib/dispatch-request.ts'
import type { Generation } from './recorder.ts'

export interface OpenDispatcher extends DispatcherLike, AsyncDisposable {}

/** `fetch`, and its response through the shim. */
export class FetchDispatcher implements OpenDispatcher {
  readonly agent: Agent

  constructor(options?: AgentOptions) {
    this.agent = new Agent(options)
  }

  dispatch({ origin, path, method, headers, body }: DispatchOptions, handler: AnyDispatchHandler): boolean {
    const init = { method, headers: headers ?? {}, body, dispatcher: this.agent } as FetchInit
    fetch(new URL(path, origin), init).then(
      (response) => dispatchStream(response, handler),
      (error: Error) => rejectDispatch(handler, error.cause as Error),
    )
    return true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.destroy()
  }
}

export interface DispatchPath {
  path: string
  open(options?: AgentOptions): OpenDispatcher
}

export const agentDispatch: DispatchPath = { path: 'Agent.dispatch', open: (options) => new Agent(options) }

export const dispatchPaths: readonly DispatchPath[] = [
  agentDispatch,
  { path: "dispatchStream over fetch's response", open: (options) => new FetchDispatcher(options) },
]

/** Every path with every generation of handler. */
export const dispatchRows: readonly (DispatchPath & { generation: Generation })[] = dispatchPaths.flatMap((path) =>
  (['current', 'legacy'] as const).map((generation) => ({ ...path, generation })),
)

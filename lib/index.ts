/** sluice: a streams-first HTTP client for Node. */
import { errors } from './errors.ts'

export { Agent } from './agent.ts'
export type { AgentStats } from './agent.ts'
export { DispatchController } from './controller.ts'
export { dispatchStream } from './dispatch-stream.ts'
export type { StreamedResponse } from './dispatch-stream.ts'
export { errors }
export { fetch } from './fetch.ts'
export type { FetchInit } from './fetch-request.ts'
export { getGlobalAgent, setGlobalAgent } from './global-agent.ts'
export type { AgentOptions, ConnectOptions } from './options.ts'
export type { SluiceResponse } from './response.ts'
export { toFile } from '../streams/file-sink.ts'
export type { ToFileOptions } from '../streams/file-sink.ts'
export type * from './types.ts'

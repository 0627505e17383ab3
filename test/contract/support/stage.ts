/** What one contestant needs for one row: its dispatchers and servers, gone at the end. */
import type { RequestListener } from 'node:http'
import type { DispatcherLike, DispatcherSurface, DispatchOptions } from '../../../lib/index.ts'
import { certificateAuthority } from '../../support/certificates.ts'
import { startServer, startTlsServer } from '../../support/servers.ts'
import type { RunningServer } from '../../support/servers.ts'
import type { Contestant } from './contestants.ts'
import { Observer } from './observer.ts'
import type { Failure, Reactions } from './observer.ts'
import { startRawServer } from './raw-server.ts'
import type { RawServer, Reply } from './raw-server.ts'

export interface Facts {
  name: string
  code: string | undefined
  message: string
}

export class Stage implements AsyncDisposable {
  readonly contestant: Contestant
  private readonly cleanups: (() => unknown)[] = []
  private readonly ports: number[] = []

  constructor(contestant: Contestant) {
    this.contestant = contestant
  }

  /** A dispatcher, destroyed at the end of the row. */
  open(options?: object): DispatcherSurface {
    const agent = this.contestant.open(options)
    this.defer(() => (typeof agent.destroy === 'function' ? agent.destroy() : (agent as any)[Symbol.asyncDispose]()))
    return agent
  }

  /** One that trusts the test's certificates. */
  openTrusting(options: { connect?: object; [name: string]: unknown } = {}): DispatcherSurface {
    return this.open({ ...options, connect: { ...options.connect, ca: certificateAuthority } })
  }

  defer(cleanup: () => unknown): void {
    this.cleanups.push(cleanup)
  }

  http(handler: RequestListener): Promise<RunningServer> {
    return this.adopt(startServer(handler))
  }

  https(handler: RequestListener): Promise<RunningServer> {
    return this.adopt(startTlsServer(handler))
  }

  raw(reply?: Reply | string): Promise<RawServer> {
    return this.adopt(startRawServer(reply))
  }

  async adopt<Server extends { port: number; close(): Promise<unknown> }>(starting: Promise<Server>): Promise<Server> {
    const server = await starting
    this.ports.push(server.port)
    this.defer(() => server.close())
    return server
  }

  observe(reactions?: Reactions): Observer {
    return new Observer(this.contestant.generation, reactions)
  }

  /** Dispatches a GET of `/` unless told otherwise. */
  send(
    dispatcher: DispatcherLike,
    origin: string | URL,
    options: Partial<DispatchOptions> & Record<string, unknown> = {},
    reactions?: Reactions,
  ): Observer {
    const observer = this.observe(reactions)
    dispatcher.dispatch({ origin, path: '/', method: 'GET', ...options }, observer.handler)
    return observer
  }

  /** One request by a dispatcher of its own, to its end. */
  fetch(
    origin: string | URL,
    options?: Partial<DispatchOptions> & Record<string, unknown>,
    reactions?: Reactions,
  ): Promise<Observer> {
    return this.send(this.open(), origin, options, reactions).ended
  }

  /**
   * Resolves once a request that is made now has timed out: by the contestant's own clock, which need not be exact, so
   * that whatever has waited for longer with the same timeout has timed out as well.
   */
  async timeOut(timeouts: { headersTimeout: number } | { bodyTimeout: number }): Promise<void> {
    const head = 'bodyTimeout' in timeouts ? 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n' : ''
    const server = await this.raw(() => head)
    const { error } = await this.fetch(server.origin, timeouts)
    if (!/^UND_ERR_(?:HEADERS|BODY)_TIMEOUT$/.test(error?.code ?? '')) throw error ?? new Error('no timeout')
    // Of several that are over, the others are told in the same turn.
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** The ports of the row's servers are not the same twice. */
  mask(text: string): string {
    return this.ports.reduce((masked, port) => masked.replaceAll(`${port}`, 'PORT'), text)
  }

  facts(error: Error | null | undefined): Facts | null {
    if (error === null || error === undefined) return null
    const { name, code, message } = error as Failure
    return { name, code, message: this.mask(message) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cleanup of this.cleanups.toReversed()) await cleanup()
  }
}

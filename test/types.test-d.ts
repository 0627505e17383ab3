import type { EventEmitter } from 'node:events'
import type { Duplex, Readable, Writable } from 'node:stream'
import { expectTypeOf, test } from 'vitest'
import type {
  errors as errors8,
  Dispatcher as Dispatcher8,
  RequestInit as RequestInit8,
  request as request8,
  RetryAgent as RetryAgent8,
  setGlobalDispatcher as setGlobalDispatcher8,
} from 'undici'
import type {
  errors as errors7,
  Dispatcher as Dispatcher7,
  RequestInit as RequestInit7,
  request as request7,
  RetryAgent as RetryAgent7,
  setGlobalDispatcher as setGlobalDispatcher7,
} from 'undici7'
import type * as polyfill from 'web-streams-polyfill'
import type { Agent, DispatchInterceptor as PublicInterceptor, FetchInit, SluiceResponse } from '../lib/index.ts'
import { errors } from '../lib/errors.ts'
import type {
  AnyDispatchHandler,
  ConnectData,
  ConnectOptions,
  DispatchControllerLike,
  DispatcherEvents,
  DispatcherLike,
  DispatcherSurface,
  DispatchHandler,
  DispatchInterceptor,
  DispatchOptions,
  LegacyDispatchHandler,
  PipelineHandlerData,
  PipelineOptions,
  RequestOptions,
  ResponseData,
  StreamData,
  StreamFactoryData,
  StreamsImplementation,
  UpgradeData,
  UpgradeOptions,
} from '../lib/types.ts'

test('handlers of undici 7 and 8 are handlers here', () => {
  expectTypeOf<Dispatcher8.DispatchHandler>().toExtend<DispatchHandler>()
  expectTypeOf<Dispatcher8.DispatchHandler>().toExtend<AnyDispatchHandler>()
  expectTypeOf<Dispatcher7.DispatchHandler>().toExtend<DispatchHandler>()
  expectTypeOf<Dispatcher7.DispatchHandler>().toExtend<LegacyDispatchHandler>()
})

test('handlers made here are handlers of undici 7 and 8', () => {
  expectTypeOf<DispatchHandler>().toExtend<Dispatcher8.DispatchHandler>()
  expectTypeOf<DispatchHandler>().toExtend<Dispatcher7.DispatchHandler>()
})

test('controllers pass in both directions', () => {
  expectTypeOf<Dispatcher8.DispatchController>().toExtend<DispatchControllerLike>()
  expectTypeOf<Dispatcher7.DispatchController>().toExtend<DispatchControllerLike>()
  expectTypeOf<DispatchControllerLike>().toExtend<Dispatcher8.DispatchController>()
  expectTypeOf<DispatchControllerLike>().toExtend<Dispatcher7.DispatchController>()
})

test('options of undici 7 and 8 are options here', () => {
  expectTypeOf<Dispatcher8.DispatchOptions>().toExtend<DispatchOptions>()
  expectTypeOf<Dispatcher7.DispatchOptions>().toExtend<DispatchOptions>()
  expectTypeOf<Dispatcher8.RequestOptions>().toExtend<RequestOptions>()
  expectTypeOf<Dispatcher7.RequestOptions>().toExtend<RequestOptions>()
})

test('options take every shape of headers and body of the contract', () => {
  expectTypeOf<Map<string, string>>().toExtend<NonNullable<DispatchOptions['headers']>>()
  expectTypeOf<Headers>().toExtend<NonNullable<DispatchOptions['headers']>>()
  expectTypeOf<string[]>().toExtend<NonNullable<DispatchOptions['headers']>>()
  expectTypeOf<{ a: number; b: null; c: string[]; d: boolean }>().toExtend<NonNullable<DispatchOptions['headers']>>()
  expectTypeOf<FormData>().toExtend<NonNullable<DispatchOptions['body']>>()
  expectTypeOf<Blob>().toExtend<NonNullable<DispatchOptions['body']>>()
  expectTypeOf<ReadableStream>().toExtend<NonNullable<DispatchOptions['body']>>()
  expectTypeOf<AsyncGenerator<Uint8Array>>().toExtend<NonNullable<DispatchOptions['body']>>()
  expectTypeOf<string[]>().toExtend<NonNullable<DispatchOptions['body']>>()
  expectTypeOf<number>().not.toExtend<NonNullable<DispatchOptions['body']>>()
})

test('dispatchers of undici are dispatchers here', () => {
  expectTypeOf<Dispatcher8>().not.toBeAny()
  expectTypeOf<Dispatcher7>().not.toBeAny()
  expectTypeOf<Dispatcher8>().toExtend<DispatcherLike>()
  expectTypeOf<Dispatcher7>().toExtend<DispatcherLike>()
})

test('the surface is a Dispatcher of undici 7 and 8', () => {
  expectTypeOf<DispatcherSurface>().toExtend<Dispatcher8>()
  expectTypeOf<DispatcherSurface>().toExtend<Dispatcher7>()
})

/** The declaration that `lib/agent.ts` has to have, at the least. */
declare class SurfaceClass extends EventEmitter<DispatcherEvents> implements DispatcherSurface {
  readonly closed: boolean
  readonly destroyed: boolean
  dispatch(options: DispatchOptions, handler: AnyDispatchHandler): boolean
  compose(interceptors: DispatchInterceptor[]): DispatcherSurface
  compose(...interceptors: DispatchInterceptor[]): DispatcherSurface
  connect<T = null>(options: ConnectOptions<T>, callback: (error: Error | null, data: ConnectData<T>) => void): void
  connect<T = null>(options: ConnectOptions<T>): Promise<ConnectData<T>>
  request<T = null>(options: RequestOptions<T>, callback: (error: Error | null, data: ResponseData<T>) => void): void
  request<T = null>(options: RequestOptions<T>): Promise<ResponseData<T>>
  pipeline<T = null>(options: PipelineOptions<T>, handler: (data: PipelineHandlerData<T>) => Readable): Duplex
  stream<T = null>(
    options: RequestOptions<T>,
    factory: (data: StreamFactoryData<T>) => Writable,
    callback: (error: Error | null, data: StreamData<T>) => void,
  ): void
  stream<T = null>(
    options: RequestOptions<T>,
    factory: (data: StreamFactoryData<T>) => Writable,
  ): Promise<StreamData<T>>
  upgrade(options: UpgradeOptions, callback: (error: Error | null, data: UpgradeData) => void): void
  upgrade(options: UpgradeOptions): Promise<UpgradeData>
  close(callback: () => void): void
  close(): Promise<void>
  destroy(error: Error | null, callback: () => void): void
  destroy(callback: () => void): void
  destroy(error: Error | null): Promise<void>
  destroy(): Promise<void>
}

test('a class with the surface is a Dispatcher of undici 7 and 8', () => {
  expectTypeOf<SurfaceClass>().toExtend<Dispatcher8>()
  expectTypeOf<SurfaceClass>().toExtend<Dispatcher7>()
})

test('the agent is a Dispatcher of undici 7 and 8', () => {
  expectTypeOf<Agent>().not.toBeAny()
  expectTypeOf<Agent>().toExtend<Dispatcher8>()
  expectTypeOf<Agent>().toExtend<Dispatcher7>()
  expectTypeOf<ReturnType<Agent['compose']>>().toExtend<Dispatcher8>()
  expectTypeOf<ReturnType<Agent['compose']>>().toExtend<Dispatcher7>()
})

test('the agent is the dispatcher of requests and fetches of undici 7 and 8, and of the built-in fetch', () => {
  type OptionOf<Options> = Options extends { dispatcher?: infer Option } ? Exclude<Option, undefined> : never
  expectTypeOf<OptionOf<NonNullable<Parameters<typeof request8>[1]>>>().not.toBeNever()
  expectTypeOf<Agent>().toExtend<OptionOf<NonNullable<Parameters<typeof request8>[1]>>>()
  expectTypeOf<Agent>().toExtend<OptionOf<NonNullable<Parameters<typeof request7>[1]>>>()
  expectTypeOf<Agent>().toExtend<OptionOf<RequestInit8>>()
  expectTypeOf<Agent>().toExtend<OptionOf<RequestInit7>>()
  expectTypeOf<OptionOf<NonNullable<Parameters<typeof globalThis.fetch>[1]>>>().not.toBeNever()
  expectTypeOf<Agent>().toExtend<OptionOf<NonNullable<Parameters<typeof globalThis.fetch>[1]>>>()
  expectTypeOf<Agent>().toExtend<Parameters<typeof setGlobalDispatcher8>[0]>()
  expectTypeOf<Agent>().toExtend<Parameters<typeof setGlobalDispatcher7>[0]>()
  expectTypeOf<Agent>().toExtend<ConstructorParameters<typeof RetryAgent8>[0]>()
  expectTypeOf<Agent>().toExtend<ConstructorParameters<typeof RetryAgent7>[0]>()
})

test('fetch takes agents of sluice and of undici, and gives a Response', () => {
  type Option = NonNullable<FetchInit['dispatcher']>
  expectTypeOf<Agent>().toExtend<Option>()
  expectTypeOf<Dispatcher8>().toExtend<Option>()
  expectTypeOf<Dispatcher7>().toExtend<Option>()
  expectTypeOf<SluiceResponse>().toExtend<Response>()
  expectTypeOf<PublicInterceptor>().toEqualTypeOf<DispatchInterceptor>()
})

test('interceptors of undici 7 and 8 compose', () => {
  expectTypeOf<Dispatcher8.DispatcherComposeInterceptor>().toExtend<DispatchInterceptor>()
  expectTypeOf<Dispatcher7.DispatcherComposeInterceptor>().toExtend<DispatchInterceptor>()
})

test('error instances pass for those of undici 7 and 8', () => {
  expectTypeOf<InstanceType<typeof errors.SocketError>>().toExtend<errors8.SocketError>()
  expectTypeOf<InstanceType<typeof errors.SocketError>>().toExtend<errors7.SocketError>()
  expectTypeOf<InstanceType<typeof errors.ConnectTimeoutError>>().toExtend<errors8.ConnectTimeoutError>()
  expectTypeOf<InstanceType<typeof errors.RequestAbortedError>>().toExtend<errors8.RequestAbortedError>()
  expectTypeOf<InstanceType<typeof errors.RequestAbortedError>>().toExtend<errors7.RequestAbortedError>()
  expectTypeOf<InstanceType<typeof errors.InvalidArgumentError>['code']>().toEqualTypeOf<'UND_ERR_INVALID_ARG'>()
})

test('instanceof narrows to the class', () => {
  const value: unknown = new errors.SocketError('x')
  if (value instanceof errors.SocketError) {
    expectTypeOf(value.code).toEqualTypeOf<'UND_ERR_SOCKET'>()
    expectTypeOf(value.socket).toExtend<object | null>()
  }
})

test("the platform's streams and the polyfill's are streams implementations", () => {
  expectTypeOf<{
    ReadableStream: typeof ReadableStream
    WritableStream: typeof WritableStream
  }>().toExtend<StreamsImplementation>()
  expectTypeOf<Pick<typeof polyfill, 'ReadableStream' | 'WritableStream'>>().toExtend<StreamsImplementation>()
})

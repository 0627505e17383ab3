/** One fetch on a native agent: waits for the head, then hands the body's source to the response. */
import { binding } from '../native/binding.ts'
import type { CoreErrorInfo } from '../native/binding.ts'
import type { ReadableStreamConstructor } from '../streams/byte-stream.ts'
import { unwatch } from '../streams/exchange.ts'
import type { Receiver, ResponseHead, Submission, WireRequest } from '../streams/exchange.ts'
import { lockFile } from '../streams/file-source.ts'
import { KeptUpload } from '../streams/kept-upload.ts'
import { NativeSource } from '../streams/native-source.ts'
import { Upload, UploadLengthError } from '../streams/upload.ts'
import { AbortLink } from './abort-link.ts'
import { kSubmit } from './agent.ts'
import type { Agent, AgentState } from './agent.ts'
import { BodySource } from './body-source.ts'
import { createUndiciError } from './errors.ts'
import { describe, fetchFailed, terminated } from './fetch-error.ts'
import { followRedirect, noHops } from './fetch-redirect.ts'
import type { Hops } from './fetch-redirect.ts'
import { isNullBodyStatus, toWireRequest } from './fetch-request.ts'
import type { FetchRequest } from './fetch-request.ts'
import { headerValue } from './header-list.ts'
import { createResponse, prepareResponse } from './response.ts'
import type { SluiceResponse } from './response.ts'

export class NativeFetch implements Receiver, Submission {
  readonly receiver: Receiver = this
  private readonly request: FetchRequest
  private readonly wire: WireRequest
  private readonly Implementation: ReadableStreamConstructor
  private readonly upload: Upload | KeptUpload | null
  private readonly response = Promise.withResolvers<SluiceResponse>()
  private readonly abortLink: AbortLink
  private id = 0
  private isSubmitted = false
  private isSettled = false
  private settleAgent: (() => void) | null = null
  private agentState: AgentState | null = null
  /** Where the failure of an upload that outlives its head goes. */
  private source: NativeSource | null = null
  private readonly hops: Hops
  /** Where the core cannot read the body again: its redirects are followed here, over this agent. */
  private follower: Agent | null = null
  private readonly isFollower: boolean

  constructor(request: FetchRequest, Implementation: ReadableStreamConstructor, hops: Hops = noHops) {
    this.request = request
    this.hops = hops
    this.Implementation = Implementation
    this.isFollower =
      request.redirect === 'follow' && request.body.kind === 'stream' && request.body.reopen !== undefined
    try {
      this.wire = toWireRequest(this.isFollower ? { ...request, redirect: 'manual' } : request)
    } catch (error) {
      throw fetchFailed(error)
    }
    this.upload = this.openUpload()
    if (request.body.kind === 'file') lockFile(request.body.stream)
    this.abortLink = new AbortLink(request.signal)
  }

  private openUpload(): Upload | KeptUpload | null {
    const { body, trailers } = this.request
    const onFailure = (error: unknown): void => this.failUpload(error)
    if (this.wire.isKept) return new KeptUpload(this.wire.body!, onFailure)
    if (body.kind !== 'stream') return null
    const upload = new Upload(body.source, onFailure, this.wire.upload?.length, null, trailers)
    upload.lock()
    return upload
  }

  run(agent: Agent): Promise<SluiceResponse> {
    let submitted
    try {
      submitted = agent[kSubmit](this, this.wire.origin)
    } catch (error) {
      throw fetchFailed(error)
    }
    this.id = submitted.id
    if (this.isFollower) this.follower = agent
    this.settleAgent = submitted.settle
    this.agentState = submitted.state
    this.abortLink.onAbort((reason) => this.reject(reason))
    prepareResponse()
    return this.response.promise
  }

  begin(id: number): WireRequest | null {
    if (this.isSettled) return null
    this.isSubmitted = true
    this.upload?.start(id)
    return this.wire
  }

  onUnsent(error: unknown): void {
    this.isSubmitted = false
    this.reject(fetchFailed(error))
  }

  onHead(head: ResponseHead): void {
    if (this.isSettled || this.follow(head)) return
    const isBodiless = this.request.method === 'HEAD' || isNullBodyStatus(head.status)
    const { integrity } = this.request
    if (isBodiless && integrity !== null) {
      this.reject(fetchFailed(integrity.mismatch() ?? new Error('integrity: the response has no body')))
      return
    }
    this.isSettled = true
    if (head.isComplete) {
      this.upload?.stop(undefined)
      this.finish()
      const body = isBodiless ? null : new Uint8Array(head.body)
      const { trailerText } = head
      const { signal } = this.request
      const checked = BodySource.checked(body, this.Implementation, integrity, signal)
      this.resolve(head, checked, () => Promise.resolve(trailerText))
      return
    }
    const { agentState } = this
    const { host } = head.redirectedTo === null ? this.request.url : new URL(head.redirectedTo)
    const source = new NativeSource(
      this.id,
      head.contentLength,
      (info) => terminated(causeOf(info, host, agentState)),
      this.upload,
    )
    if (this.upload !== null) this.source = source
    const finish = finisher(this.abortLink, this.settleAgent)
    source.onSettled = finish
    source.onAbandoned(finish)
    this.abortLink.watchSource(source)
    // A null body has nobody to read it (Fetch, "main fetch"), and nothing to wait for.
    if (isBodiless) source.cancel()
    this.resolve(head, BodySource.checked(isBodiless ? null : source, this.Implementation, integrity), () =>
      source.trailers(),
    )
  }

  /** Whether `head` is a redirect that this fetch goes on from. */
  private follow(head: ResponseHead): boolean {
    const agent = this.follower
    if (agent === null) return false
    this.follower = null
    try {
      const location = headerValue(head.headerText, 'location')
      const next = followRedirect(this.request, this.hops, head.status, location)
      if (next === null) return false
      this.isSettled = true
      this.upload?.stop(undefined)
      if (!head.isComplete) new NativeSource(this.id, head.contentLength, terminatedBy, null).cancel()
      this.finish()
      new NativeFetch(next.request, this.Implementation, next.hops)
        .run(agent)
        .then(this.response.resolve, this.response.reject)
    } catch (error) {
      if (this.isSettled) this.response.reject(error)
      else this.reject(fetchFailed(error))
    }
    return true
  }

  /** Only a source is read, and it listens for itself. */
  onReadable(): void {}

  onUploadReady(): void {
    this.upload?.onReady()
  }

  onError(info: CoreErrorInfo): void {
    this.isSubmitted = false
    this.reject(fetchFailed(causeOf(info, this.request.url.host, this.agentState)))
  }

  onUndelivered(error: Error): boolean {
    this.isSubmitted = false
    if (this.source !== null) return this.source.onUndelivered(error)
    this.isSettled = true
    this.upload?.stop(error)
    this.finish()
    this.response.reject(fetchFailed(error))
    return true
  }

  private resolve(head: ResponseHead, body: BodySource, trailers: () => Promise<string>): void {
    this.response.resolve(
      createResponse({
        status: head.status,
        statusText: head.statusText,
        headerText: head.headerText,
        url: head.redirectedTo ?? this.request.url.text,
        isRedirected: head.redirectedTo !== null || this.hops.count > 0,
        type: head.isCrossOrigin || this.hops.isCrossOrigin ? 'cors' : 'basic',
        body,
        trailers,
      }),
    )
  }

  private reject(error: unknown): void {
    if (this.isSettled) return
    this.isSettled = true
    if (this.isSubmitted) {
      binding.requestHandleAbort(this.id)
      unwatch(this.id)
    }
    this.upload?.stop(error)
    this.finish()
    this.response.reject(error)
  }

  private failUpload(failure: unknown): void {
    const error = failure instanceof UploadLengthError ? createUndiciError(failure) : failure
    if (this.source === null) this.reject(fetchFailed(error))
    else this.source.abort(terminated(error))
  }

  private finish(): void {
    this.abortLink.release()
    this.settleAgent?.()
  }
}

/** Of a body that nobody reads. */
const terminatedBy = (info: CoreErrorInfo): Error => terminated(createUndiciError(info))

/** What went wrong: the error that `agent.destroy` was given, where it was that. */
function causeOf(info: CoreErrorInfo, host: string, agentState: AgentState | null): Error {
  const reason = info.code === 'UND_ERR_DESTROYED' ? agentState?.reason : null
  return reason ?? describe(info, host)
}

/**
 * What ends a fetch for its signal and its agent. Made outside `onHead`: the closures of one function share their
 * variables, and this one must not reach the source, which has to be collectable while signal and agent live.
 */
function finisher(abortLink: AbortLink, settleAgent: (() => void) | null): () => void {
  return () => {
    abortLink.release()
    settleAgent?.()
  }
}

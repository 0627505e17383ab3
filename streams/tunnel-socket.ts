/**
 * What an upgraded request or a CONNECT leaves behind: both directions of its connection as one `Duplex` that can stand
 * where a `net.Socket` is expected. Reading pulls, writing waits for credit, so that either side holds back the other.
 */
import { Duplex } from 'node:stream'
import { binding, ReadState, Word } from '../native/binding.ts'
import type { CoreErrorInfo, SocketInfo } from '../native/binding.ts'
import { callListeners, unwatch, watch, words } from './exchange.ts'
import type { Receiver, ResponseHead } from './exchange.ts'
import { CHUNK_BYTES } from './native-reader.ts'

// Taken when the module loads: test suites install clocks of their own.
const { setTimeout: startTimer, clearTimeout: stopTimer } = globalThis

/** `net.Socket`'s own. */
const HIGH_WATER_MARK = 64 * 1024

type WriteCallback = (error?: Error | null) => void

export class TunnelSocket extends Duplex implements Receiver {
  /** Bytes that crossed this socket, both ways. */
  bytesRead = 0
  bytesWritten = 0
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly remoteFamily: string | undefined
  readonly connecting = false
  readonly pending = false
  /** Milliseconds without traffic until `timeout` is emitted; `undefined` before `setTimeout`. */
  timeout: number | undefined = undefined
  private readonly id: number
  private readonly toError: (info: CoreErrorInfo) => Error
  private wantsData = false
  private isReadOver = false
  private isWriteOver = false
  /** The runtime knows the id until both directions are over. */
  private isHeld = true
  private waiting: WriteCallback | null = null
  private timer: NodeJS.Timeout | null = null

  /** `ends` are the connection's, where they are known. */
  constructor(id: number, toError: (info: CoreErrorInfo) => Error, ends: SocketInfo | null) {
    super({ highWaterMark: HIGH_WATER_MARK, allowHalfOpen: false, emitClose: true })
    this.id = id
    this.toError = toError
    this.localAddress = ends?.localAddress
    this.localPort = ends?.localPort
    this.remoteAddress = ends?.remoteAddress
    this.remotePort = ends?.remotePort
    this.remoteFamily = ends?.remoteFamily
    watch(id, this)
    // A socket nobody reads yet learns of its end all the same, as Node's does.
    this.read(0)
  }

  get readyState(): 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.readable) return this.writable ? 'open' : 'readOnly'
    return this.writable ? 'writeOnly' : 'closed'
  }

  get bufferSize(): number {
    return this.writableLength
  }

  /** The local end, as `net.Socket.address` names it. */
  address(): { address?: string; family?: string; port?: number } {
    const { localAddress, localPort, remoteFamily } = this
    if (localAddress === undefined || localPort === undefined || remoteFamily === undefined) return {}
    return { address: localAddress, family: remoteFamily, port: localPort }
  }

  /** Emits `timeout` once nothing has crossed for `milliseconds`; 0 is off. */
  setTimeout(milliseconds: number, callback?: () => void): this {
    this.stopTimer()
    this.timeout = milliseconds
    if (milliseconds > 0) {
      if (callback !== undefined) this.once('timeout', callback)
      if (!this.destroyed) {
        this.timer = startTimer(() => this.emit('timeout'), milliseconds)
        this.timer.unref()
      }
    } else if (callback !== undefined) {
      this.removeListener('timeout', callback)
    }
    return this
  }

  /** The runtime writes at once in any case. */
  setNoDelay(_isOn?: boolean): this {
    return this
  }

  /** Set for every connection by the agent's `connect.keepAlive`. */
  setKeepAlive(_isOn?: boolean, _initialDelay?: number): this {
    return this
  }

  /** The process is held while the socket is open. */
  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  /** Ends the writable side, and destroys the socket when all of it was written. */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  resetAndDestroy(): this {
    return this.destroy()
  }

  override _read(): void {
    this.wantsData = true
    this.pump()
  }

  override _write(chunk: Buffer, _encoding: string, callback: WriteCallback): void {
    this.touch()
    this.bytesWritten += chunk.byteLength
    if (chunk.byteLength === 0 || binding.uploadWrite(this.id, chunk) > 0) callback()
    else this.waiting = callback
  }

  override _final(callback: WriteCallback): void {
    binding.uploadEnd(this.id, '')
    this.isWriteOver = true
    this.release()
    callback()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.stopTimer()
    const { waiting } = this
    this.waiting = null
    if (this.isHeld) {
      this.isHeld = false
      unwatch(this.id)
      binding.requestHandleAbort(this.id)
    }
    callback(error)
    waiting?.(error)
  }

  onHead(_head: ResponseHead): void {}

  onReadable(): void {
    this.pump()
  }

  onUploadReady(): void {
    const { waiting } = this
    this.waiting = null
    this.touch()
    callListeners(() => waiting?.())
  }

  onUndelivered(error: Error): boolean {
    if (this.destroyed) return false
    this.isHeld = false
    this.destroy(error)
    return true
  }

  onError(info: CoreErrorInfo): void {
    this.isHeld = false
    this.destroy(this.toError(info))
  }

  private pump(): void {
    while (this.wantsData && this.isHeld && !this.isReadOver) {
      const chunk = binding.bodyRead(this.id, CHUNK_BYTES, false) as Buffer | undefined
      const state = words[Word.readState]!
      if (chunk !== undefined) {
        this.touch()
        this.bytesRead += chunk.byteLength
        callListeners(() => (this.wantsData = this.push(chunk)))
      }
      if (state === ReadState.failed) this.fail()
      else if (state === ReadState.ended) this.endReading()
      else if (chunk === undefined) return
    }
  }

  private endReading(): void {
    this.isReadOver = true
    this.push(null)
    // Without a reader no read would notice the end.
    if (this.readableLength === 0) this.read(0)
    this.release()
  }

  private fail(): void {
    this.isReadOver = true
    this.isHeld = false
    unwatch(this.id)
    this.destroy(this.toError(JSON.parse(binding.bodyEnd(this.id)) as CoreErrorInfo))
  }

  /** Both directions are over: the runtime may forget the connection. */
  private release(): void {
    if (!this.isHeld || !this.isReadOver || !this.isWriteOver) return
    this.isHeld = false
    unwatch(this.id)
    binding.bodyEnd(this.id)
  }

  private touch(): void {
    this.timer?.refresh()
  }

  private stopTimer(): void {
    if (this.timer !== null) stopTimer(this.timer)
    this.timer = null
  }
}

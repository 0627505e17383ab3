/**
 * Takes the bytes of one body where they are: from the runtime's queue, or from the socket itself, where the body allows
 * that and its reader is the slower one. Who finds nothing waits at the same place, and not for every few bytes.
 */
import { binding, ReadState, Word } from '../native/binding.ts'
import { words } from './exchange.ts'

/** A caller may replace the clock. */
const { setTimeout: startTimeout, clearTimeout: stopTimeout } = globalThis

/** A default read's chunk: 64–256 KiB per read is flat, smaller costs calls. */
export const CHUNK_BYTES = 256 * 1024

/** A socket with less to read than is worth a wake-up is the runtime's after so long (ms). */
const PATIENCE = 1

/** Bytes that are read in one turn of the event loop: half a millisecond. */
const TURN_BYTES = 2 * 1024 * 1024

export class NativeReader {
  /** Of {@link ReadState}: what the last look found behind what it took. */
  state: number = ReadState.empty
  private readonly id: number
  private readonly onReadable: () => void
  /** Bytes that were read since the event loop last ran. */
  private taken = 0
  private isAtSocket = false
  /** Ends a wait at the socket. */
  private patience: NodeJS.Timeout | null = null
  /** Memory for a chunk. */
  private room: Buffer<ArrayBuffer> | null = null

  /** `onReadable` is called where a wait ends without a completion of the runtime. */
  constructor(id: number, onReadable: () => void) {
    this.id = id
    this.onReadable = onReadable
  }

  /** At most `max` bytes in fresh memory; `null` when there are none: look at `state`, or {@link wait}. */
  read(max: number): Buffer<ArrayBuffer> | null {
    this.isAtSocket = false
    const chunk = binding.bodyRead(this.id, max, true) as Buffer<ArrayBuffer> | undefined
    this.state = words[Word.readState]!
    if (chunk === undefined) return this.state === ReadState.direct ? this.readDirectly(max) : null
    this.taken += chunk.byteLength
    return chunk
  }

  /** How much there is shows only afterwards: a chunk that is not full is copied, and its memory is the next one's. */
  private readDirectly(max: number): Buffer<ArrayBuffer> | null {
    const room = this.room?.byteLength === max ? this.room : Buffer.allocUnsafeSlow(max)
    const filled = this.readInto(room)
    this.room = filled === max ? null : room
    if (filled === max) return room
    if (filled === 0) return null
    const chunk = Buffer.allocUnsafeSlow(filled)
    room.copy(chunk, 0, 0, filled)
    return chunk
  }

  /** The bytes that were written into `view`; 0 when there are none: look at `state`, or {@link wait}. */
  readInto(view: Uint8Array): number {
    this.isAtSocket = false
    const filled = binding.bodyReadInto(this.id, view)
    this.state = words[Word.readState]!
    this.taken += filled
    return filled
  }

  /** Takes nothing. */
  look(): number {
    this.isAtSocket = false
    binding.bodyRead(this.id, 0, false)
    return (this.state = words[Word.readState]!)
  }

  /** Whether others are due on this thread: a server may fill a body as fast as it is read. */
  get isGreedy(): boolean {
    return this.taken >= TURN_BYTES
  }

  /** The event loop has run, or will. */
  startTurn(): void {
    this.taken = 0
  }

  /** After a read that found nothing: one completion will tell of more. True where there is more already. */
  wait(): boolean {
    this.taken = 0
    if (this.state !== ReadState.drained) {
      this.dropRoom()
      return false
    }
    const isThere = this.arm(true)
    if (!this.isAtSocket) return isThere
    if (this.patience === null) this.patience = startTimeout(() => this.onImpatient(), PATIENCE)
    else this.patience.refresh()
    return false
  }

  /** Nothing is read for a while: what no budget counts is not held. */
  dropRoom(): void {
    this.room = null
  }

  /** The completion came. */
  endWait(): void {
    this.isAtSocket = false
  }

  /** Nothing is read any more. */
  close(): void {
    this.endWait()
    this.dropRoom()
    if (this.patience !== null) stopTimeout(this.patience)
  }

  /** Too little has come to be told of it, or it was, and this finds nothing to do. */
  private onImpatient(): void {
    if (!this.isAtSocket) return
    this.dropRoom()
    if (this.arm(false)) this.onReadable()
  }

  /** At the socket, or on the runtime; true where there is something already. */
  private arm(isPatient: boolean): boolean {
    binding.bodyWait(this.id, isPatient)
    this.state = words[Word.readState]!
    this.isAtSocket = this.state === ReadState.drained
    return !this.isAtSocket && this.state !== ReadState.empty
  }
}

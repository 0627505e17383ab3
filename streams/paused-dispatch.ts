/**
 * Stands for a dispatched request while its consumer has paused it: only that one can have it go on. The agent and the
 * crossing hold the request by this alone, weakly, so that a consumer who has dropped the response frees its connection
 * when it is collected, as one of `fetch` does.
 */
import { binding } from '../native/binding.ts'
import type { CoreErrorInfo } from '../native/binding.ts'
import { unwatch, watch } from './exchange.ts'
import type { Receiver } from './exchange.ts'
import type { DispatchJob, DispatchOwner } from './native-dispatch.ts'
import { noteCollected } from './starvation.ts'

/** Who has a handler whose request is paused may wait to be told of its end: the request stays as long as the handler. */
const held = new WeakMap<object, PausableDispatch>()

/** The request that is paused. */
export interface PausableDispatch extends Receiver, DispatchJob {
  /** It is held strongly again. */
  hold(): void
  isOpen(): boolean
  readonly handler: object
}

const abandoned = new FinalizationRegistry<PausedDispatch>((paused) => paused.end())

export class PausedDispatch implements Receiver, DispatchJob {
  readonly hasCrossed = true
  readonly isStarted = true
  place = -1
  private readonly id: number
  private readonly owner: DispatchOwner
  private readonly dispatch: WeakRef<PausableDispatch>
  /** `native`: in the table of the crossing too, as long as the runtime has the request. */
  private standsIn: 'nowhere' | 'agent' | 'native' = 'nowhere'

  constructor(id: number, owner: DispatchOwner, dispatch: PausableDispatch) {
    this.id = id
    this.owner = owner
    this.dispatch = new WeakRef(dispatch)
    abandoned.register(dispatch, this, this)
  }

  /** Takes the place of the request. `isNative`: the runtime still has it. */
  standFor(dispatch: PausableDispatch, isNative: boolean): void {
    if (this.standsIn !== 'nowhere') return
    const other = held.get(dispatch.handler)
    // A handler of many requests can keep one of them.
    if (other !== undefined && other !== dispatch && other.isOpen()) return
    held.set(dispatch.handler, dispatch)
    this.standsIn = isNative ? 'native' : 'agent'
    if (isNative) watch(this.id, this)
    this.owner.onReplaced(dispatch, this)
  }

  /** Gives the place back. */
  giveWay(dispatch: PausableDispatch): void {
    if (this.standsIn === 'nowhere') return
    if (this.standsIn === 'native') watch(this.id, dispatch)
    this.standsIn = 'nowhere'
    this.owner.onReplaced(this, dispatch)
  }

  /** The request is over; nothing is left to free. */
  forget(dispatch: PausableDispatch): void {
    if (held.get(dispatch.handler) === dispatch) held.delete(dispatch.handler)
    abandoned.unregister(this)
  }

  /** Nobody has the request any more. */
  end(): void {
    if (this.standsIn === 'native') {
      binding.requestHandleCancel(this.id)
      noteCollected()
      unwatch(this.id)
    }
    this.owner.onDispatched(this)
  }

  drop(error: unknown): void {
    const dispatch = this.dispatch.deref()
    dispatch?.hold()
    dispatch?.drop(error)
  }

  onHead(): void {}

  onReadable(): void {
    this.dispatch.deref()?.onReadable()
  }

  onError(info: CoreErrorInfo): void {
    const dispatch = this.dispatch.deref()
    dispatch?.hold()
    // The crossing has forgotten the request, which takes its place again no more.
    unwatch(this.id)
    dispatch?.onError(info)
  }

  onUndelivered(error: Error): boolean {
    const dispatch = this.dispatch.deref()
    dispatch?.hold()
    unwatch(this.id)
    return dispatch?.onUndelivered(error) ?? false
  }
}

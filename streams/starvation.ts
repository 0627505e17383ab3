/**
 * Requests that wait for a connection while unread responses hold every one. Whoever dropped those will not give them
 * back, and V8, for which each is a few small objects, sees no reason to collect them. So it is told of memory that is
 * held outside, a little more each time, until it has collected; the finalizers then free the connections.
 */
import { binding } from '../native/binding.ts'

/** What the core says while requests wait, and once with nobody waiting when that is over. */
export interface Starvation {
  /** The number of the connections' pool. */
  pool: number
  /** Another one once a request that waited has got a connection. */
  round: number
  waiting: number
  /** Responses that hold the connections, or all streams of them. */
  held: number
  origin: string
}

/** The code of the warning about unread responses that somebody holds. */
export const UNREAD_WARNING = 'SLUICE_UNREAD_RESPONSES'

// Taken when the module loads: test suites install clocks of their own.
const { setImmediate: startImmediate, performance: clock } = globalThis
const readClock = clock.now.bind(clock)

/** V8 starts to mark when it knows of 64 MB more than after its last collection, and goes on with every step. */
const STEP = 128 * 1024 * 1024
/** Milliseconds between two steps; the core's reminders come a little late. */
const STEP_PAUSE = 95
/** Milliseconds until connections that some responses only hold unread are a reason, and until a warning. */
const PATIENCE = 1000
/** Milliseconds that the finalizers of a collection are given. */
const FINALIZING = 10
/** Milliseconds without pressure after a collection that has freed nothing, doubled each time up to the second. */
const FIRST_REST = 250
const LONGEST_REST = 30_000
/** Collections that have freed none of them before responses are taken for held. */
const ENOUGH = 2
/** Origins that were warned about; no more than these. */
const MAX_WARNED = 100

/** One pool's plight, until a request gets through. */
interface Plight {
  round: number
  since: number
  /** When every connection was found to be held unread; `null` while somebody reads. */
  unreadSince: number | null
  /** {@link judged} then. */
  judgedBefore: number
}

const plights = new Map<number, Plight>()
const warned = new Set<string>()

/**
 * `calm` → `pressing`: V8 is told of memory that is not there → `collected`: what that has freed is not known yet → `calm`,
 * or `pressing` again.
 */
let state: 'calm' | 'pressing' | 'collected' = 'calm'
let pressure = 0
let pressedAt = 0
/** Responses that were collected before their end, and how many it were before V8 was last pressed. */
let freed = 0
let freedBefore = 0
let rest = 0
let collectedAt = -Infinity
/** Collections whose yield is known. */
let judged = 0

/** A response was collected before its end, and has given its connection back. */
export function noteCollected(): void {
  freed++
}

/** A young object that nobody holds: only a full collection takes note of it. */
const sentinel = new FinalizationRegistry<null>(onCollected)

export function onStarvation(starvation: Starvation): void {
  const { pool, round, waiting } = starvation
  if (waiting === 0) {
    plights.delete(pool)
    if (plights.size === 0) release()
    return
  }
  let plight = plights.get(pool)
  if (plight === undefined || plight.round !== round) {
    plight = { round, since: readClock(), unreadSince: null, judgedBefore: 0 }
    plights.set(pool, plight)
  }
  // Who was given a response in this very turn has had no time to read it.
  startImmediate(look, starvation, plight)
}

function look(starvation: Starvation, plight: Plight): void {
  const { pool, held } = starvation
  // It may be over by now.
  if (plights.get(pool) !== plight) return
  const now = readClock()
  const unread = binding.unreadResponses(pool)
  if (unread < held) {
    plight.unreadSince = null
  } else if (plight.unreadSince === null) {
    plight.unreadSince = now
    // One that is under way may have missed the youngest of them.
    plight.judgedBefore = state === 'calm' ? judged : judged + 1
  }
  const { unreadSince, since, judgedBefore } = plight
  if (unreadSince === null && (unread === 0 || now - since < PATIENCE)) return
  const waited = unreadSince === null ? 0 : now - unreadSince
  const isProven = judged - judgedBefore >= ENOUGH
  // Who has waited for half the time until the warning has the proof made, whatever rest is due.
  press(now, waited >= PATIENCE / 2 && !isProven)
  if (waited >= PATIENCE && isProven) warn(starvation, unread)
}

function press(now: number, isUrgent: boolean): void {
  if (state === 'collected' && now - collectedAt >= FINALIZING) {
    rest = Math.min(Math.max(FIRST_REST, rest * 2), LONGEST_REST)
    state = 'calm'
    judged++
  }
  // Finalizers may be late.
  if (state === 'calm' && freed !== freedBefore) rest = 0
  if (state === 'calm') {
    if (now < collectedAt + rest && !isUrgent) return
    state = 'pressing'
    pressure = 0
    freedBefore = freed
    sentinel.register({}, null)
  } else if (state === 'collected' || now - pressedAt < STEP_PAUSE) {
    return
  }
  pressedAt = now
  pressure += STEP
  binding.externalMemoryPress(pressure)
}

/** Nobody waits any more. */
function release(): void {
  if (pressure === 0) return
  pressure = 0
  binding.externalMemoryPress(0)
}

function onCollected(): void {
  state = 'collected'
  release()
  collectedAt = readClock()
}

function warn({ origin, waiting }: Starvation, unread: number): void {
  if (warned.has(origin) || warned.size >= MAX_WARNED) return
  warned.add(origin)
  process.emitWarning(
    `${unread} responses of ${origin} that nobody reads hold every connection to it, and ${waiting} requests wait. ` +
      'Read each body to its end, or cancel it.',
    { type: 'SluiceWarning', code: UNREAD_WARNING },
  )
}

/** The addon's own ends of the boundary, which the addon of the tests has and the shipped one has not. */
import { binding } from '../../native/binding.ts'
import type { NativeBinding } from '../../native/binding.ts'

/** A record as the runtime would make it (`native/addon/src/testing.rs`). */
export type CompletionSpec = { kind: string; id: number } & Record<string, unknown>

export interface NativeEnds extends NativeBinding {
  /** Encodes records for this copy; the number of those that were refused. */
  testCompletions(records: CompletionSpec[]): number
  /** What is read of each record of a batch. */
  testSubmissions(batch: Uint8Array): string[][]
  /** Delivers every record that waits, as the event loop would. */
  testHandOver(): void
}

/** @throws Error with an addon that was not built for tests */
export function nativeEnds(): NativeEnds {
  const ends = binding as NativeEnds
  if (ends.testCompletions !== undefined) return ends
  throw new Error('this is the shipped addon: node scripts/setup.mjs --addon=dev builds that of the tests')
}

/** A head without anything; what a test is about replaces the rest. */
export function headSpec(id: number, parts: Record<string, unknown> = {}): CompletionSpec {
  const nothing = new Uint8Array(0)
  return {
    kind: 'head',
    id,
    part: 'open',
    status: 200,
    reason: nothing,
    headers: nothing,
    body: nothing,
    trailers: nothing,
    contentLength: -1,
    isHttp2: false,
    redirectedTo: '',
    isCrossOrigin: false,
    ...parts,
  }
}

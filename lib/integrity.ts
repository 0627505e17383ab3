/** Subresource integrity (SRI §3.3), checked while the body is read. */
import type { Hash } from 'node:crypto'

/** In the order of their strength. */
const ALGORITHMS = ['sha256', 'sha384', 'sha512']
const ITEM = /^(?<algorithm>sha256|sha384|sha512)-(?<digest>[A-Za-z0-9+/_-]+={0,2})(?:\?.*)?$/

/** What a body must hash to: one of the digests of the strongest algorithm that was named. */
export class Integrity {
  private readonly hash: Hash
  private readonly digests: readonly string[]
  private readonly algorithm: string

  private constructor(algorithm: string, digests: readonly string[]) {
    const { createHash } = process.getBuiltinModule('node:crypto')
    this.algorithm = algorithm
    this.digests = digests
    this.hash = createHash(algorithm)
  }

  /** `null` where `metadata` names nothing that could be checked: what is unknown is ignored. */
  static parse(metadata: string): Integrity | null {
    if (metadata === '') return null
    let strongest = -1
    let digests: string[] = []
    for (const item of metadata.split(/[\t\n\f\r ]+/)) {
      const { algorithm, digest } = ITEM.exec(item)?.groups ?? {}
      if (algorithm === undefined || digest === undefined) continue
      const strength = ALGORITHMS.indexOf(algorithm)
      if (strength > strongest) digests = []
      if (strength >= strongest) digests.push(normalise(digest))
      strongest = Math.max(strength, strongest)
    }
    return strongest < 0 ? null : new Integrity(ALGORITHMS[strongest]!, digests)
  }

  update(chunk: Uint8Array): void {
    this.hash.update(chunk)
  }

  /** The failure of the bytes so far, or `null`. Once. */
  mismatch(): Error | null {
    const digest = this.hash.digest('base64')
    if (this.digests.includes(normalise(digest))) return null
    const error: Error & { code?: string } = new Error(`integrity mismatch: the body has ${this.algorithm}-${digest}`)
    error.code = 'SLUICE_ERR_INTEGRITY'
    return error
  }
}

/** base64 and base64url, with and without padding, are the same. */
function normalise(digest: string): string {
  return digest.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '')
}

import { readFileSync } from 'node:fs'

/**
 * The fixtures of `test/fixtures/tls`: `signed` by the test CA for localhost and the loopback addresses; `wrong-host`
 * by the CA for another name; `expired` and `future` by the CA, out of date; `chained` by an intermediate of the CA, which
 * it brings along; `self-signed` by itself; `client` by itself, to be shown to servers.
 */
export type CertificateName = 'signed' | 'wrong-host' | 'expired' | 'future' | 'chained' | 'self-signed' | 'client'

/** The certificate of the test CA, PEM. */
export const certificateAuthority = read('ca.crt')

/** A certificate and its private key, PEM. */
export function certificate(name: CertificateName): { cert: string; key: string } {
  return { cert: read(`${name}.crt`), key: read(`${name}.key`) }
}

function read(file: string): string {
  return readFileSync(new URL(`../fixtures/tls/${file}`, import.meta.url), 'utf8')
}

/** The TLS part of `connect`, as `tls.createSecureContext` takes it, checked and made plain for the core. */
import type * as Crypto from 'node:crypto'
import type { NativeAgentConfig } from '../native/binding.ts'
import { InvalidArgumentError, NotSupportedError } from './errors.ts'

/** PEM text. */
export type Pem = string | Buffer

/** A private key; encrypted ones need their passphrase. */
export type PemKey = Pem | { pem: Pem; passphrase?: string | undefined }

export type TlsVersion = 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'

export interface TlsConnectOptions {
  /** PEM certificates that replace the platform's roots. */
  ca?: Pem | readonly Pem[] | undefined
  /** PEM: the client's certificates, each leaf first and followed by its chain. */
  cert?: Pem | readonly Pem[] | undefined
  /** PEM: the private keys of {@link TlsConnectOptions.cert}. */
  key?: PemKey | readonly PemKey[] | undefined
  /** Decrypts a private key that has no passphrase of its own. */
  passphrase?: string | undefined
  /** `false` accepts any certificate. Default true, unless `NODE_TLS_REJECT_UNAUTHORIZED` is `0`. */
  rejectUnauthorized?: boolean | undefined
  /** TLS server name of every connection. */
  servername?: string | undefined
  /** The protocols to offer, of `h2` and `http/1.1`, in order of preference. */
  ALPNProtocols?: readonly (string | Uint8Array)[] | undefined
  minVersion?: TlsVersion | undefined
  maxVersion?: TlsVersion | undefined
}

const VERSIONS: readonly unknown[] = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']
const CERTIFICATE = '-----BEGIN CERTIFICATE-----'

/** Without a certificate in it an agent would trust nobody, and say so only at its first request. */
export function isCertificatePem(value: unknown): boolean {
  return (typeof value === 'string' || Buffer.isBuffer(value)) && value.includes(CERTIFICATE)
}

export function isTlsVersion(value: unknown): boolean {
  return VERSIONS.includes(value)
}

/**
 * What crosses to the core.
 * @throws InvalidArgumentError naming a certificate, key, passphrase or version that cannot work; NotSupportedError
 */
export function readTlsOptions(connect: TlsConnectOptions, allowH2: boolean | undefined): Partial<NativeAgentConfig> {
  const { ca, cert, key, rejectUnauthorized, servername } = connect
  const isLax = process.env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0'
  return {
    ca: isGiven(ca) ? joinPem(ca) : undefined,
    // They are read for the first TLS connection: parsing a whole bundle takes 20 ms.
    asksExtraCa: !isGiven(ca) && Boolean(process.env['NODE_EXTRA_CA_CERTS']),
    identities: isGiven(cert) || isGiven(key) ? readIdentities(connect) : undefined,
    rejectUnauthorized: rejectUnauthorized ?? (isLax ? false : undefined),
    servername,
    alpn: readProtocols(connect.ALPNProtocols, allowH2),
    ...readVersions(connect),
  }
}

function isGiven<Value>(value: Value | null | undefined): value is Value {
  return value !== undefined && value !== null
}

function joinPem(pem: Pem | readonly Pem[]): string {
  return [pem].flat().map(String).join('\n')
}

function readIdentities({ cert, key, passphrase }: TlsConnectOptions): string[] {
  if (!isGiven(cert)) throw new InvalidArgumentError('connect.key needs connect.cert')
  if (!isGiven(key)) throw new InvalidArgumentError('connect.cert needs connect.key')
  const crypto = process.getBuiltinModule('node:crypto')
  const chains = splitChains([cert].flat().map(String), crypto)
  return ([key].flat() as PemKey[]).flatMap((given) => {
    const own = readKey(given, passphrase, crypto)
    const chain = chains.find(({ leaf }) => leaf.checkPrivateKey(own))
    if (chain === undefined) throw new InvalidArgumentError('connect.key is not the key of connect.cert')
    return [chain.pem, own.export({ type: 'pkcs8', format: 'pem' }) as string]
  })
}

interface Chain {
  pem: string
  leaf: Crypto.X509Certificate
}

function splitChains(pems: string[], crypto: typeof Crypto): Chain[] {
  return pems.map((pem) => {
    try {
      return { pem, leaf: new crypto.X509Certificate(pem) }
    } catch (cause) {
      throw new InvalidArgumentError('invalid connect.cert: it is no PEM certificate', { cause })
    }
  })
}

function readKey(given: PemKey, passphrase: string | undefined, crypto: typeof Crypto): Crypto.KeyObject {
  const own = typeof given === 'string' || Buffer.isBuffer(given) ? { pem: given } : given
  const secret = own.passphrase ?? passphrase
  // Node's own error would repeat it.
  if (secret !== undefined && typeof secret !== 'string') throw new InvalidArgumentError('invalid connect.passphrase')
  try {
    return crypto.createPrivateKey({
      key: own.pem,
      format: 'pem',
      ...(secret === undefined ? {} : { passphrase: secret }),
    })
  } catch (cause) {
    const isEncrypted = String(own.pem).includes('ENCRYPTED')
    const what = !isEncrypted
      ? 'invalid connect.key: it is no PEM private key'
      : secret === undefined
        ? 'connect.key is encrypted, and there is no connect.passphrase'
        : 'connect.passphrase does not decrypt connect.key'
    throw new InvalidArgumentError(what, { cause })
  }
}

function readProtocols(
  protocols: TlsConnectOptions['ALPNProtocols'],
  allowH2: boolean | undefined,
): string[] | undefined {
  if (!isGiven(protocols)) return undefined
  const names = protocols.map((name) => (typeof name === 'string' ? name : Buffer.from(name).toString('latin1')))
  if (names.length === 0) throw new InvalidArgumentError('invalid connect.ALPNProtocols: it is empty')
  for (const name of names) {
    if (name !== 'h2' && name !== 'http/1.1') {
      throw new NotSupportedError(`connect.ALPNProtocols: ${name} is no protocol of HTTP that is spoken here`)
    }
  }
  if (allowH2 === false && names.includes('h2')) {
    throw new InvalidArgumentError('connect.ALPNProtocols offers h2, which allowH2 forbids')
  }
  return names
}

/** Versions before 1.2 are never spoken: as a least they ask for nothing, as a most they leave nothing. */
function readVersions({
  minVersion,
  maxVersion,
}: TlsConnectOptions): Pick<NativeAgentConfig, 'minVersion' | 'maxVersion'> {
  if (maxVersion === 'TLSv1' || maxVersion === 'TLSv1.1') {
    throw new NotSupportedError(`connect.maxVersion: ${maxVersion} is not spoken any more, TLSv1.2 is the oldest`)
  }
  if (minVersion === 'TLSv1.3' && maxVersion === 'TLSv1.2') {
    throw new InvalidArgumentError('connect.minVersion is above connect.maxVersion')
  }
  return {
    minVersion: minVersion === 'TLSv1.3' ? minVersion : undefined,
    maxVersion: maxVersion === 'TLSv1.2' ? maxVersion : undefined,
  }
}

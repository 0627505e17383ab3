/** A client that makes small requests: the contestants of `http1`, `http2` and `proxy`. */

export interface Target {
  /** Without a slash at its end. */
  origin: string
  /** The authority of the server's certificate, PEM; none for `http:`. */
  ca: string | undefined
  /** Connections the client may open, where it needs the number. */
  connections: number
  isHttp2: boolean
  /** The proxy's URL. */
  proxy: string | undefined
}

export interface Call {
  method: 'GET' | 'POST'
  path: string
  /** Of a POST. */
  body: Buffer | undefined
}

/** Makes a call and resolves with the bytes of the response's body. */
export type Client = (call: Call) => Promise<number>

export interface Opener {
  name: string
  /** Whether it can speak HTTP/2 by negotiation, and go through a proxy. */
  http2: boolean
  proxy: boolean
  open(target: Target): Promise<Client>
}

export function assertStatus(status: number): void {
  if (status !== 200) throw new Error(`status ${status}`)
}

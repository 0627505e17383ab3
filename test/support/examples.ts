/**
 * The examples of `docs/`, and the world they run in. An example is a block of code marked `js run`; every line it prints
 * is announced by a comment `// prints: …`. Hosts under `.test` are servers of this process:
 *
 * - `http://example.test` and `https://example.test` answer with JSON of what they were sent: `method`, `url`, `headers`,
 *   `bytes`, the length of the body, and `trailers`; `/hello` with the text `hello`, `/silent` not at all, `/half` with half a
 *   body, `/large` with 1 MiB
 * - `https://mutual.test` wants a client's certificate, and answers with its name
 * - `http://proxy.test:3128` and `socks5h://proxy.test:1080` are proxies
 *
 * `ca.pem`, `client.pem` and `client-key.pem` lie in the folder that an example runs in; the authority of the servers
 * is trusted.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { certificate, certificateAuthority } from './certificates.ts'
import { runProgram } from './programs.ts'
import { startProxy, startSocksProxy } from './proxies.ts'
import { startServer, startTlsServer } from './servers.ts'

const folder = new URL('../../docs/', import.meta.url)

export interface Example {
  page: string
  line: number
  code: string
  /** Marked as one that runs. */
  isRunnable: boolean
  /** The lines it says it prints. */
  prints: string[]
}

/** Every block of JavaScript in every page. */
export function findExamples(): Example[] {
  const pages = readdirSync(folder).filter((name) => name.endsWith('.md'))
  return pages.flatMap((page) => readExamples(page, readFileSync(new URL(page, folder), 'utf8')))
}

function readExamples(page: string, text: string): Example[] {
  const blocks = text.matchAll(/^```(js|ts|javascript|typescript)([^\n]*)\n(.*?)^```$/gms)
  return [...blocks].map(({ index, 2: mark, 3: code }) => ({
    page,
    line: text.slice(0, index).split('\n').length,
    code: code!,
    isRunnable: mark!.trim() === 'run',
    prints: [...code!.matchAll(/\/\/ prints: (.*)$/gm)].map((match) => match[1]!.trim()),
  }))
}

/** The servers that examples talk to. */
export interface ExampleWorld extends AsyncDisposable {
  /** Runs an example to its end; the lines it printed. @throws Error with them, if it fails */
  run(example: Example): Promise<string[]>
}

export async function startWorld(): Promise<ExampleWorld> {
  const stack = new AsyncDisposableStack()
  const use = async <Value extends AsyncDisposable>(started: Promise<Value>): Promise<Value> => stack.use(await started)
  const plain = await use(startServer(echo))
  const secure = await use(startTlsServer(echo))
  const mutual = await use(startMutual())
  const proxy = await use(startProxy())
  const socks = await use(startSocksProxy())
  const names: [string, string][] = [
    ['http://example.test', plain.origin],
    ['https://example.test', secure.origin],
    ['https://mutual.test', mutual.origin],
    ['http://proxy.test:3128', proxy.url],
    ['socks5h://proxy.test:1080', socks.url],
  ]
  return {
    async run({ code }) {
      const bound = names.reduce((text, [name, origin]) => text.replaceAll(name, origin), code)
      const env = { NODE_EXTRA_CA_CERTS: new URL('../fixtures/tls/ca.crt', import.meta.url).pathname }
      const { cert, key } = certificate('client')
      const files = { 'ca.pem': certificateAuthority, 'client.pem': cert, 'client-key.pem': key }
      const output = await runProgram(bound, env, files)
      return output === '' ? [] : output.split('\n')
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  const { method, url, headers } = request
  let bytes = 0
  request.on('data', (chunk: Buffer) => (bytes += chunk.length))
  request.on('end', () => {
    const { trailers } = request
    if (url === '/silent') return
    if (url === '/half') {
      response.writeHead(200, { 'content-length': 10 }).write('hello')
      return
    }
    if (url === '/large') {
      response.setHeader('content-length', 1024 * 1024)
      response.end(Buffer.alloc(1024 * 1024))
      return
    }
    response.end(url === '/hello' ? 'hello' : JSON.stringify({ method, url, headers, bytes, trailers }))
  })
}

async function startMutual(): Promise<{ origin: string } & AsyncDisposable> {
  const client = certificate('client')
  const options = { ...certificate('signed'), ca: client.cert, requestCert: true, rejectUnauthorized: true }
  const server = createHttpsServer(options, (request, response) => {
    response.end(String((request.socket as TLSSocket).getPeerCertificate().subject.CN))
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `https://localhost:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

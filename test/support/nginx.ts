/** A real nginx for one test, where it is installed. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { certificate } from './certificates.ts'
import { until } from './deadline.ts'
import { closedPort } from './servers.ts'

/** Requests that it serves on one connection. */
export const REQUESTS_PER_CONNECTION = 20

const candidates = ['nginx', '/usr/sbin/nginx', '/usr/local/sbin/nginx']

/** The program, or `null`. */
export const nginx = candidates.find((path) => spawnSync(path, ['-v']).status === 0) ?? null

export interface RunningNginx extends AsyncDisposable {
  /** HTTP/1.1. */
  readonly plain: string
  /** HTTP/1.1 and HTTP/2 over TLS. */
  readonly secure: string
}

function configuration(folder: string, plain: number, secure: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
    daemon off; worker_processes 1; error_log stderr; pid ${folder}/pid;
    events {}
    http {
      access_log off;
      ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
      keepalive_requests ${REQUESTS_PER_CONNECTION};
      server {
        listen 127.0.0.1:${plain};
        listen 127.0.0.1:${secure} ssl http2;
        ssl_certificate ${folder}/cert.pem;
        ssl_certificate_key ${folder}/key.pem;
        location / {
          add_header x-connection $connection;
          add_header x-protocol $server_protocol;
          return 200 "$request_method $request_uri";
        }
      }
    }`
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const settle = (isOpen: boolean): void => {
      socket.destroy()
      resolve(isOpen)
    }
    socket.once('connect', () => settle(true)).once('error', () => settle(false))
  })
}

export async function startNginx(): Promise<RunningNginx> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-nginx-'))
  const [plain, secure] = [await closedPort(), await closedPort()]
  const { cert, key } = certificate('signed')
  await writeFile(join(folder, 'cert.pem'), cert)
  await writeFile(join(folder, 'key.pem'), key)
  await writeFile(join(folder, 'nginx.conf'), configuration(folder, plain, secure))
  await mkdir(join(folder, 'logs'))
  const child = spawn(nginx!, ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  child.stderr.on('data', (text) => (log += text))
  const ended = once(child, 'close')
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`nginx ended: ${log}`)
    return (await accepts(plain)) && (await accepts(secure))
  })
  return {
    plain: `http://127.0.0.1:${plain}`,
    secure: `https://localhost:${secure}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Worker threads that are terminated while their requests are under way. */
import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { build } from 'rolldown'
import { certificateAuthority } from '../../test/support/certificates.ts'

/**
 * Plain JavaScript: Node's type stripping is WebAssembly, and terminating workers that have loaded some crashes V8 now
 * and then (nodejs/node#64500). As deep in the project as what is published.
 */
const script = join(import.meta.dirname, '..', '..', 'target', 'soak', 'worker.js')

/** Before the first {@link killWorker}. */
export async function buildWorker(): Promise<void> {
  await build({
    input: join(import.meta.dirname, 'worker.ts'),
    platform: 'node',
    output: { file: script, format: 'esm', codeSplitting: false },
    logLevel: 'warn',
  })
}

export async function killWorker(origin: string, seed: number): Promise<void> {
  const worker = new Worker(script, { workerData: { origin, seed, ca: certificateAuthority } })
  await once(worker, 'message')
  await worker.terminate()
}

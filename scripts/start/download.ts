import { fstatSync, statSync } from 'node:fs'
import { fetch, toFile } from '../../lib/index.ts'
import { fileTargetOf } from '../../streams/file-sink.ts'
import { describeError } from './describe-error.ts'
import { amount } from './format.ts'
import { ProgressBar } from './progress-bar.ts'

/** Downloads a URL into a file, which keeps its old bytes until the new ones are complete. Resolves with the exit code. */
export async function download(url: URL, file: string): Promise<number> {
  const controller = new AbortController()
  process.once('SIGINT', () => {
    controller.abort(new Error('interrupted'))
  })
  const { signal } = controller
  const start = performance.now()
  try {
    const response = await fetch(url, { signal })
    if (!response.ok) {
      await response.body?.cancel()
      const location = response.headers.get('location')
      const where = location === null ? '' : ` to ${location}, and redirects are not followed`
      process.stderr.write(`${url.href}: HTTP ${response.status} ${response.statusText}${where}\n`)
      return 1
    }
    const sink = toFile(file, { atomic: true })
    const size = (): number => sizeOf(fileTargetOf(sink)?.fd)
    const length = response.headers.get('content-length')
    using bar = new ProgressBar({ label: file, total: length === null ? undefined : Number(length), size })
    if (response.body === null) await sink.close()
    else await response.body.pipeTo(sink, { signal })
    bar.finish(statSync(file).size)
  } catch (error) {
    process.stderr.write(`${url.href}: ${describeError(error)}\n`)
    return signal.aborted ? 130 : 1
  }
  const bytes = statSync(file).size
  const seconds = (performance.now() - start) / 1000
  process.stdout.write(
    `${file}: ${amount(bytes)} (${bytes} bytes) in ${seconds.toFixed(1)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s\n`,
  )
  return 0
}

/** Asked of the descriptor: until the end the file has a name of its own. */
function sizeOf(fd: number | undefined): number {
  try {
    return fd === undefined ? 0 : fstatSync(fd).size
  } catch {
    // It has just been closed, and the last line tells the size.
    return 0
  }
}

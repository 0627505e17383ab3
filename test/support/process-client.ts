/**
 * A program that makes one request in the way its first argument names, and does nothing more: it never closes its
 * agent, and it must end by itself. Prints `done` where it has something to await.
 *
 * node process-client.ts KIND ORIGIN [FILE]
 */
import { Agent, fetch, getGlobalAgent, toFile } from '../../lib/index.ts'

const [kind, origin, file] = process.argv.slice(2)
const finished = (): void => console.log('done')

/** Dispatches, and calls `use` with the controller when the head is there. */
function dispatch(path: string, use: (controller: any) => void = () => {}): void {
  getGlobalAgent().dispatch(
    { origin: origin!, path, method: 'GET' },
    {
      onRequestStart() {},
      onResponseStart: (controller: any) => use(controller),
      onResponseData() {},
      onResponseEnd: finished,
      onResponseError: (_controller: any, error: Error) => console.log(error.message),
    },
  )
}

async function* uploaded(): AsyncGenerator<Uint8Array> {
  for (let chunk = 0; chunk < 64; chunk++) yield new Uint8Array(256 * 1024)
}

/** More than the sockets hold. */
const large = new Uint8Array(24 * 1024 * 1024)

/** Sends a body of either kind, and reads nothing of the response. */
const post = (path: string, body: Uint8Array | AsyncIterable<Uint8Array>) => async (): Promise<void> =>
  void (await fetch(origin + path, { method: 'POST', body, duplex: 'half' }))

const kinds: Record<string, () => unknown> = {
  'an agent that was made and never used': () => new Agent(),
  'an unread small body': () => fetch(`${origin}/small`),
  'an unread large body': () => fetch(`${origin}/flood`),
  'an unread body that was asked for': async () => void (await fetch(`${origin}/flood`)).body!.getReader(),
  'a body read in part': async () => void (await (await fetch(`${origin}/flood`)).body!.getReader().read()),
  'a body read to its end': async () => (await fetch(`${origin}/large`)).arrayBuffer().then(finished),
  'a body that was cancelled': async () => (await fetch(`${origin}/flood`)).body!.cancel().then(finished),
  'a fetch that was aborted': () => fetch(`${origin}/never`, { signal: AbortSignal.timeout(50) }).catch(finished),
  'a fetch that failed': () => fetch('http://127.0.0.1:1').catch(finished),
  'a failed read that nobody handles': async () => {
    const reader = (await fetch(`${origin}/cut`)).body!.getReader()
    // More than there are pieces.
    for (let read = 0; read < 64; read++) void reader.read()
  },
  'a body in a file': async () => (await fetch(`${origin}/large`)).body!.pipeTo(toFile(file!)).then(finished),
  'a request that was dispatched': () => dispatch('/large'),
  'a dispatched request that was aborted': () =>
    dispatch('/flood', (controller) => controller.abort(new Error('done'))),
  'an idle connection that is kept': async () => {
    await (await fetch(`${origin}/small`, { dispatcher: new Agent({ keepAliveTimeout: 600_000 }) })).text()
    finished()
  },
  'an upload whose response nobody reads': post('/upload', uploaded()),
  'an upload from memory whose response nobody reads': post('/upload', large),
  'an upload that a redirect has cut short': post('/see-other', uploaded()),
  'an upload from memory that a redirect has cut short': post('/see-other', large),
  'an upload whose server closes within its answer': post('/refused', uploaded()),
  'an upload from memory whose server closes within its answer': post('/refused', large),
  // These wait for a server that takes its time.
  'a head': () => fetch(`${origin}/late/head`).then(finished),
  'a read': async () => (await fetch(`${origin}/late/body`)).body!.getReader().read().then(finished),
  'the whole body': async () => (await fetch(`${origin}/late/body`)).text().then(finished),
  'a pipe into a file': async () => (await fetch(`${origin}/late/body`)).body!.pipeTo(toFile(file!)).then(finished),
  'a pipe into a file that has begun': async () =>
    (await fetch(`${origin}/late/rest`)).body!.pipeTo(toFile(file!)).then(finished),
  'a pipe of a body that has failed': async () =>
    (await fetch(`${origin}/late/cut`)).body!.pipeTo(toFile(file!)).catch(finished),
  'a dispatched head': () => dispatch('/late/head'),
  'a dispatched body': () => dispatch('/late/body'),
  'an upload': () =>
    fetch(`${origin}/late/upload`, { method: 'POST', body: uploaded(), duplex: 'half' }).then(finished),
  'an upload whose response has begun': post('/late/early', uploaded()),
  'an upload from memory whose response has begun': post('/late/early', large),
  'an upload from memory that was sent again, and whose response has begun': post('/late/again', large),
}

await kinds[kind!]!()

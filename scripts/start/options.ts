import { parseArgs } from 'node:util'

export type Options =
  | { job: 'help' }
  | { job: 'wrong'; message: string }
  | { job: 'download'; url: URL; file: string }
  | { job: 'demonstrate'; bytes: number }

const GIB = 1024 ** 3

export const USAGE = `npm start                       stream 1 GiB from an embedded server into a file, beside the built-in fetch
npm start -- --bytes N          the same with N bytes
npm start -- URL -o FILE        download URL into FILE
npm start -- --help             this text
`

/** What the command line asks for. */
export function parseOptions(args: string[]): Options {
  let parsed
  try {
    parsed = parseArgs({
      args,
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        output: { type: 'string', short: 'o' },
        bytes: { type: 'string' },
      },
    })
  } catch (error) {
    return { job: 'wrong', message: error instanceof Error ? error.message : String(error) }
  }
  const { values, positionals } = parsed
  if (values.help === true) return { job: 'help' }
  const [address, ...surplus] = positionals
  if (surplus.length > 0) return { job: 'wrong', message: `one URL at a time, not ${positionals.join(' ')}` }
  return address === undefined ? demonstration(values) : downloadOf(address, values)
}

function demonstration({ output, bytes = String(GIB) }: { output?: string; bytes?: string }): Options {
  if (output !== undefined) return { job: 'wrong', message: '-o names the file of a download: its URL is missing' }
  if (!/^[1-9]\d{0,14}$/.test(bytes))
    return { job: 'wrong', message: `--bytes takes a number of bytes, not '${bytes}'` }
  return { job: 'demonstrate', bytes: Number(bytes) }
}

function downloadOf(address: string, { output, bytes }: { output?: string; bytes?: string }): Options {
  const url = URL.parse(address)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    return { job: 'wrong', message: `not an http: or https: URL: '${address}'` }
  }
  if (bytes !== undefined) return { job: 'wrong', message: '--bytes is for the demonstration, not for a download' }
  if (output === undefined) return { job: 'wrong', message: 'where to? add -o FILE' }
  return { job: 'download', url, file: output }
}

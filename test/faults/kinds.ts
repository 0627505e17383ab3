/** Every kind of fault. */
import { codings } from './kinds/codings.ts'
import { connections } from './kinds/connections.ts'
import { framing } from './kinds/framing.ts'
import { heads } from './kinds/heads.ts'
import { http2 } from './kinds/http2.ts'
import { streams } from './kinds/http2-streams.ts'
import { names } from './kinds/names.ts'
import { proxies } from './kinds/proxies.ts'
import { redirects } from './kinds/redirects.ts'
import { responses } from './kinds/responses.ts'
import { tls } from './kinds/tls.ts'
import { protocolsOf } from './kind.ts'
import type { Kind, Protocol } from './kind.ts'

/** By what they are about, in the order of the documentation. */
export const groups: Record<string, readonly Kind[]> = {
  Connections: connections,
  TLS: tls,
  'Heads of HTTP/1.1': heads,
  'Bodies of HTTP/1.1': framing,
  'Responses of HTTP/1.1': responses,
  'Streams of HTTP/2': streams,
  'Connections of HTTP/2': http2,
  Redirects: redirects,
  'Content codings': codings,
  Names: names,
  Proxies: proxies,
}

export const kinds: readonly Kind[] = Object.values(groups).flat()

/** No fault: half an answer, whose other half comes with the next ordinary one. */
const held: Kind = { name: 'held open', h2: (wire, id) => wire.hold(id), expect: '200 ok' }

/** Several kinds may have one name, each over protocols of its own. @throws Error for a name that nobody has there */
export function kindNamed(name: string, protocol: Protocol): Kind {
  const kind = [...kinds, held].find(
    (candidate) => candidate.name === name && protocolsOf(candidate).includes(protocol),
  )
  if (kind === undefined) throw new Error(`no such kind over ${protocol}: ${name}`)
  return kind
}

/** Names that do not resolve. */
import type { AgentOptions, LookupFunction } from '../../../lib/index.ts'
import type { Kind } from '../kind.ts'

const NAME = 'http://somewhere.test'

/** `connect.lookup` is asked for names only: the request behind it has an address. */
const lookup = (answer: LookupFunction): AgentOptions => ({ connectTimeout: 2000, connect: { lookup: answer } })
const failing = (code: string): AgentOptions =>
  lookup((hostname, _options, done) =>
    done(Object.assign(new Error(`getaddrinfo ${code} ${hostname}`), { code, syscall: 'getaddrinfo', hostname }), []),
  )

export const names: Kind[] = [
  // A machine without a name server says EAI_AGAIN.
  { name: 'a name that does not exist', origin: 'http://nowhere.invalid', expect: ['ENOTFOUND', 'EAI_AGAIN'] },
  { name: 'a label that is too long', origin: `http://${'a'.repeat(64)}.test`, expect: ['ENOTFOUND', 'EAI_AGAIN'] },
  ...['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL'].map((code): Kind => ({
    name: `a lookup that fails with ${code}`,
    origin: NAME,
    options: failing(code),
    expect: code,
  })),
  {
    name: 'a lookup that throws',
    origin: NAME,
    options: lookup(() => {
      throw Object.assign(new Error('no'), { code: 'EMINE' })
    }),
    expect: 'EMINE',
  },
  { name: 'a lookup without an answer', origin: NAME, options: lookup(() => {}), expect: 'UND_ERR_CONNECT_TIMEOUT' },
  {
    name: 'a lookup of no addresses',
    origin: NAME,
    options: lookup((_name, _options, done) => done(null, [])),
    expect: 'ERR_INVALID_IP_ADDRESS',
  },
  {
    name: 'a lookup of what is no address',
    origin: NAME,
    options: lookup((_name, _options, done) => done(null, 'nonsense', 4)),
    expect: 'ERR_INVALID_IP_ADDRESS',
  },
  {
    name: 'a lookup of an address that refuses',
    origin: `${NAME}:2`,
    options: lookup((_name, _options, done) => done(null, '127.0.0.1', 4)),
    expect: 'ECONNREFUSED',
  },
].map((kind): Kind => ({ over: ['h1'], ...kind }))

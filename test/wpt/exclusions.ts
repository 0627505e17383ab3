/**
 * What a contestant does not do, with the reason. `test/wpt/wpt.test.ts` asserts that each still fails. Lines of the
 * built-in fetch say that the case is right although the reference fails it.
 */
import type { Name } from './context.ts'

export interface Exclusion {
  /** `FILE: TITLE` of the case. */
  title: string
  on: readonly Name[]
  reason: string
}

const SLUICE: readonly Name[] = ['sluice', 'sluice, reqwest', 'sluice, undici']
const ALL: readonly Name[] = ['built-in', ...SLUICE]

const METHODS = ['text', 'json', 'bytes', 'arrayBuffer', 'blob', 'formData']

/** Of fetch/api/body/formdata-parsing.any.js, and what undici's parser does. */
const UNDICI_FORMS: Record<string, string> = {
  'parses a field that speaks of the boundary': 'takes the boundary wherever it stands',
  'parses a field with the boundary in a line': 'takes the boundary wherever it stands',
  'parses a field with a longer boundary': 'takes the boundary wherever it stands',
  'parses blanks behind a boundary': 'refuses them',
  'parses escapes of a name as they are': 'undoes them',
  'parses escapes of a file name as they are': 'undoes them',
  'parses a transfer encoding, undone by nobody': 'undoes it',
  'parses the last of two types in a line': 'keeps a type as it was sent',
  'parses a type in its own form': 'keeps a type as it was sent',
  'parses a type that is none': 'keeps a type as it was sent',
  'refuses a preamble': 'passes over it',
  'refuses text behind the last boundary': 'passes over it',
  'refuses a NUL in a name': 'takes it',
  'refuses a NUL in another header': 'takes it',
  'a file was last modified in 1970': 'gives it the time of parsing',
}

/** One reason for several cases of a file. */
const several = (file: string, titles: readonly string[], on: readonly Name[], reason: string): Exclusion[] =>
  titles.map((title) => ({ title: `${file}: ${title}`, on, reason }))

export const EXCLUSIONS: readonly Exclusion[] = [
  ...several(
    'fetch/h1-parsing/status-code.window.js',
    ['0 OK', '1 OK', '99 NOT OK', '099 HELLO'].map((line) => `HTTP/1.1 ${line} is a response`),
    ALL,
    'a status below 100 is none (RFC 9110 §15; COMPATIBILITY.md)',
  ),
  ...several(
    'fetch/api/headers/header-values.any.js',
    ['\\u0001', '\\u000b', '\\f', '\\u001f', '\u007f'].map((value) => `${value} is a value`),
    ALL,
    'a control character is of no value (RFC 9110 §5.5; COMPATIBILITY.md)',
  ),
  ...several(
    'fetch/content-length/parsing.window.js',
    ['x', '4s', '-1', '0x4', 'x, x'].map((value) => `Content-Length: ${value} is 6 bytes`),
    ALL,
    'a length that is no number is an error that nothing mends (RFC 9112 §6.3; COMPATIBILITY.md)',
  ),
  ...several(
    'fetch/content-length/parsing.window.js',
    ['04\\r\\nContent-Length: 4', '04, 4'].map((value) => `Content-Length: ${value} is a network error`),
    ['sluice, reqwest'],
    'hyper compares the numbers, which are the same',
  ),
  ...several(
    'fetch/content-length/parsing.window.js',
    ['4,4', '4, 4', '4\\r\\nContent-Length: 4', '4\\r\\nContent-Length: 4,4'].map(
      (value) => `Content-Length: ${value} is 4 bytes`,
    ),
    ['built-in', 'sluice', 'sluice, undici'],
    "a second length is refused, as undici's parser does: of two readers each may believe another (COMPATIBILITY.md)",
  ),
  {
    title: 'streams/readable-streams/default-reader.any.js: a body of no bytes is closed without a read',
    on: ['built-in', 'sluice, polyfill'],
    reason: "it is open until it is read: undici's stream, and one that would not tell that it was read",
  },
  ...Object.entries(UNDICI_FORMS).map(([title, does]): Exclusion => ({
    title: `fetch/api/body/formdata-parsing.any.js: ${title}`,
    on: ['built-in'],
    reason: `undici ${does}`,
  })),
  ...[...METHODS.map((method) => `${method}() of a body that has come, after the abort,`), 'an aborted signal'].map(
    (subject): Exclusion => ({
      title: `fetch/api/abort/general.any.js: ${subject} rejects before another microtask`,
      on: ['built-in'],
      reason: 'undici rejects a microtask later',
    }),
  ),
  {
    title: 'fetch/api/abort/general.any.js: abort does nothing to a body of no bytes',
    on: ['built-in'],
    reason: "undici's stream of such a body is open until it is read",
  },
  ...['bytes=2-', 'bytes \t =\t 6-'].map((range): Exclusion => ({
    title: `fetch/range/blob.any.js: ${range}`,
    on: ['built-in'],
    reason: 'undici refuses a range without an end',
  })),
  {
    title:
      'fetch/api/basic/request-header-overrides.any.js: a referrer of the caller is sent, cut to its origin across origins',
    on: SLUICE,
    reason: 'a program has no page that referred to anything; a caller who wants the header sets it (COMPATIBILITY.md)',
  },
  {
    title:
      'fetch/api/response/response-stream-with-broken-then.any.js: text() is what was sent although Object.prototype has a then',
    on: ['sluice, undici'],
    reason:
      'bodies of a dispatcher are read through the reader of a stream, whose results are plain objects with that prototype',
  },
  {
    title:
      'fetch/api/request/request-disturbed.any.js: a Request that is aborted in the tick of the call cancels its stream',
    on: ['built-in'],
    reason: 'undici leaves the stream as it is',
  },
  {
    title: 'fetch/api/request/request-bad-port.any.js: port 0 is blocked',
    on: ['built-in'],
    reason: 'undici connects to it',
  },
  {
    title: 'fetch/api/request/request-error.any.js: only-if-cached of same-origin is a network error without a cache',
    on: ['built-in'],
    reason: 'undici asks the server',
  },
  {
    title: 'fetch/api/headers/headers-record.any.js: what is inherited or not enumerable is not sent',
    on: ['built-in'],
    reason: 'undici sends what is not enumerable',
  },
  {
    title: 'fetch/api/headers/headers-structure.any.js: blanks around the value of a response are dropped',
    on: ['built-in'],
    reason: 'undici keeps the blanks after a value',
  },
  {
    title: 'fetch/api/basic/request-upload.any.js: a chunk that is a string fails the fetch',
    on: ['built-in', ...SLUICE],
    reason: 'both send strings as UTF-8',
  },
  {
    title: 'fetch/api/basic/request-upload.any.js: a stream without duplex is refused',
    on: SLUICE,
    reason: 'duplex is inferred: there is no other mode (COMPATIBILITY.md)',
  },
  {
    title: 'fetch/api/basic/text-utf8.any.js: text() drops one BOM only',
    on: ['built-in'],
    reason: 'undici drops one and its decoder another',
  },
  {
    title: 'fetch/api/redirect/redirect-location-escape.tentative.any.js: blanks around it',
    on: ['built-in'],
    reason: 'undici keeps the blanks',
  },
]

/** Files and folders of web-platform-tests within the subjects of this suite that no case follows. */
export const NOT_FOLLOWED: readonly { path: string; reason: string }[] = [
  ...[
    'fetch/api/cors',
    'fetch/api/basic/mode-no-cors.sub.any.js',
    'fetch/api/redirect/redirect-mode.any.js, opaque responses',
    'fetch/api/redirect/redirect-origin.any.js',
    'fetch/range/sw.https.window.js',
  ].map((path) => ({ path, reason: 'a program has no origin, so that no request of its is cross-origin' })),
  ...['fetch/api/credentials', 'fetch/api/basic/request-private-network-headers.tentative.any.js'].map((path) => ({
    path,
    reason: 'there is no cookie store, no HTTP authentication by the user and no private network to guard',
  })),
  ...[
    'fetch/api/policies',
    'fetch/api/basic/referrer.any.js',
    'fetch/api/redirect/redirect-referrer.any.js',
    'fetch/api/request/destination',
    'fetch/api/request/request-navigation-type.html',
    'fetch/api/request/multi-globals',
    'fetch/api/response/multi-globals',
    'fetch/api/basic/mediasource.window.js',
    'fetch/api/basic/block-mime-as-script.html',
    'fetch/data-urls/navigate.window.js',
  ].map((path) => ({ path, reason: 'there is no page, no frame and no element' })),
  ...['fetch/api/abort/serviceworker-intercepted.https.html', 'fetch/api/abort/cache.https.html'].map((path) => ({
    path,
    reason: 'there is no service worker and no Cache',
  })),
  ...['fetch/api/request/request-cache-*.html', 'fetch/http-cache', 'fetch/stale-while-revalidate'].map((path) => ({
    path,
    reason: 'there is no HTTP cache; the cache modes are followed as the headers they send',
  })),
  ...[
    'fetch/api/idlharness.any.js',
    'fetch/api/headers, of Headers that a program makes',
    'fetch/api/request, of the Request class',
    'fetch/api/response/response-static-*.any.js',
    'fetch/api/response/response-init-*.any.js',
    'streams/*/constructor.any.js, bad-underlying-sources.any.js, bad-strategies.any.js, properties.any.js',
    'streams/readable-byte-streams/construct-byob-request.any.js, respond-after-enqueue.any.js',
    'streams/writable-streams, streams/transform-streams',
    'streams/transferable',
  ].map((path) => ({ path, reason: "these classes are the platform's, which Node tests" })),
  ...['fetch/api/request/request-keepalive-quota.html', 'fetch/api/basic/keepalive.html'].map((path) => ({
    path,
    reason: 'keepalive outlives a page, of which there is none; it is accepted',
  })),
  {
    path: 'fetch/api/basic/request-upload.any.js, of 421',
    reason: 'the pool would choose the same connection (COMPATIBILITY.md)',
  },
]

/** fetch/api/abort: a signal before, while and after, and what the body's methods make of it. */
import { once } from 'node:events'
import { expect } from 'vitest'
import { echo, encode, rejection } from '../context.ts'
import type { Context } from '../context.ts'
import { wpt } from '../registry.ts'

const file = 'fetch/api/abort/general.any.js'

/** A fetch whose server has the request and does not answer. */
async function unanswered(context: Context, init: Record<string, unknown>) {
  const asked = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<void>()
  const origin = await context.serve((request) => {
    asked.resolve()
    request.socket.on('close', () => closed.resolve())
  })
  const response = context.fetch(origin, init)
  response.catch(() => {})
  await asked.promise
  return { response, closed: closed.promise }
}

const aborted = (reason?: unknown): AbortSignal => AbortSignal.abort(reason)

/** What a fetch of `init` rejects with, when no request reached the server. */
async function unsent(context: Context, init: Record<string, unknown>, wrap = false): Promise<unknown> {
  let requests = 0
  const origin = await context.serve((_request, response) => {
    requests++
    response.end()
  })
  const reason = await rejection(wrap ? context.fetch(new Request(origin, init)) : context.fetch(origin, init))
  expect(requests).toBe(0)
  return reason
}

const METHODS = ['text', 'json', 'bytes', 'arrayBuffer', 'blob', 'formData'] as const

wpt(file, {
  'an aborted signal rejects with an AbortError, and nothing is sent': async (context) => {
    const reason = (await unsent(context, { signal: aborted() })) as DOMException
    expect(reason).toBeInstanceOf(DOMException)
    expect([reason.name, reason.code]).toEqual(['AbortError', 20])
  },
  'an aborted signal rejects with its own reason': async (context) => {
    const reason = new Error('mine')
    expect(await unsent(context, { signal: aborted(reason) })).toBe(reason)
  },
  'a reason need not be an error': async (context) => {
    for (const reason of [null, 0, '', 'text', { a: 1 }]) {
      expect(await unsent(context, { signal: aborted(reason) })).toBe(reason)
    }
  },
  'the signal of a Request counts': async (context) => {
    const reason = new Error('mine')
    expect(await unsent(context, { signal: aborted(reason) }, true)).toBe(reason)
  },
  'the signal of init goes before that of the Request': async (context) => {
    const origin = await context.serve(echo)
    const request = new Request(origin, { signal: aborted() })
    expect((await context.fetch(request, { signal: new AbortController().signal })).status).toBe(200)
  },
  'a null signal of init takes that of the Request away': async (context) => {
    const origin = await context.serve(echo)
    const request = new Request(origin, { signal: aborted() })
    expect((await context.fetch(request, { signal: null })).status).toBe(200)
  },
  'an undefined signal of init leaves that of the Request': async (context) => {
    const origin = await context.serve(echo)
    const reason = new Error('mine')
    const request = new Request(origin, { signal: aborted(reason) })
    expect(await rejection(context.fetch(request, { signal: undefined }))).toBe(reason)
  },
  'a bad URL is told before an aborted signal': async (context) => {
    expect(await rejection(context.fetch('http://', { signal: aborted() }))).toBeInstanceOf(TypeError)
  },
  'a bad method is told before an aborted signal': async (context) => {
    const init = { signal: aborted(), method: 'TRACE' }
    expect(await rejection(context.fetch('http://localhost/', init))).toBeInstanceOf(TypeError)
  },
  'an aborted signal is told before a blocked port': async (context) => {
    const reason = new Error('mine')
    expect(await rejection(context.fetch('http://localhost:22/', { signal: aborted(reason) }))).toBe(reason)
  },
  'an aborted signal is told before an unknown scheme': async (context) => {
    const reason = new Error('mine')
    expect(await rejection(context.fetch('about:blank', { signal: aborted(reason) }))).toBe(reason)
  },
  'an aborted signal cancels the body with its reason': async (context) => {
    const cancelled = Promise.withResolvers<unknown>()
    const body = new ReadableStream({ cancel: (reason) => cancelled.resolve(reason) })
    const reason = new Error('mine')
    const init = { method: 'POST', body, duplex: 'half', signal: aborted(reason) }
    expect(await unsent(context, init)).toBe(reason)
    expect(await cancelled.promise).toBe(reason)
  },
  'abort before the head rejects, and the connection is dropped': async (context) => {
    const controller = new AbortController()
    const { response, closed } = await unanswered(context, { signal: controller.signal })
    controller.abort()
    expect(((await rejection(response)) as Error).name).toBe('AbortError')
    await closed
  },
  'abort before the head rejects with the reason': async (context) => {
    const controller = new AbortController()
    const { response } = await unanswered(context, { signal: controller.signal })
    const reason = { not: 'an error' }
    controller.abort(reason)
    expect(await rejection(response)).toBe(reason)
  },
  'abort in the tick of the call rejects': async (context) => {
    const controller = new AbortController()
    const origin = await context.serve(echo)
    const response = context.fetch(origin, { signal: controller.signal })
    const reason = new Error('mine')
    controller.abort(reason)
    expect(await rejection(response)).toBe(reason)
  },
  'abort of a Request before the head rejects': async (context) => {
    const controller = new AbortController()
    const asked = Promise.withResolvers<void>()
    const origin = await context.serve(() => asked.resolve())
    const response = context.fetch(new Request(origin, { signal: controller.signal }))
    response.catch(() => {})
    await asked.promise
    const reason = new Error('mine')
    controller.abort(reason)
    expect(await rejection(response)).toBe(reason)
  },
  'one signal ends several fetches': async (context) => {
    const controller = new AbortController()
    const all = await Promise.all([1, 2, 3].map(() => unanswered(context, { signal: controller.signal })))
    const reason = new Error('mine')
    controller.abort(reason)
    for (const { response } of all) expect(await rejection(response)).toBe(reason)
  },
  'a signal serves after its fetch has ended': async (context) => {
    const controller = new AbortController()
    const origin = await context.serve(echo)
    await (await context.fetch(origin, { signal: controller.signal })).text()
    const { response } = await unanswered(context, { signal: controller.signal })
    controller.abort()
    expect(((await rejection(response)) as Error).name).toBe('AbortError')
  },
  ...Object.fromEntries(
    METHODS.map((method) => [
      `${method}() that waits rejects with the reason`,
      async (context: Context) => {
        const controller = new AbortController()
        const { response, write, closed } = await context.stream({ signal: controller.signal })
        await write('partial')
        const read = response[method]()
        read.catch(() => {})
        const reason = new Error('mine')
        controller.abort(reason)
        expect(await rejection(read)).toBe(reason)
        await closed
      },
    ]),
  ),
  ...Object.fromEntries(
    METHODS.map((method) => [
      `${method}() after the abort rejects with the reason`,
      async (context: Context) => {
        const controller = new AbortController()
        const headers = { 'content-type': 'application/x-www-form-urlencoded' }
        const { response } = await context.stream({ signal: controller.signal }, headers)
        const reason = new Error('mine')
        controller.abort(reason)
        expect(await rejection(response[method]())).toBe(reason)
      },
    ]),
  ),
  ...Object.fromEntries(
    METHODS.map((method) => [
      `${method}() of a body that has come, after the abort, rejects before another microtask`,
      async (context: Context) => {
        const controller = new AbortController()
        const response = await context.respond('a=1', { 'content-type': 'x/y' }, { signal: controller.signal })
        const reason = new Error('mine')
        controller.abort(reason)
        const order: unknown[] = []
        const read = response[method]().catch((error: unknown) => order.push(error))
        await Promise.all([read, Promise.resolve().then(() => order.push('next'))])
        expect(order).toEqual([reason, 'next'])
      },
    ]),
  ),
  'an aborted signal rejects before another microtask': async (context) => {
    const origin = await context.serve(echo)
    const order: string[] = []
    const refused = context.fetch(origin, { signal: aborted() }).catch(() => order.push('fetch'))
    await Promise.all([refused, Promise.resolve().then(() => order.push('next'))])
    expect(order).toEqual(['fetch', 'next'])
  },
  'abort errors the stream of a body that has come and is unread': async (context) => {
    const controller = new AbortController()
    const response = await context.respond('abc', {}, { signal: controller.signal })
    const reader = response.body!.getReader()
    const { closed } = reader
    closed.catch(() => {})
    controller.abort('mine')
    expect(await rejection(reader.read())).toBe('mine')
    expect(await rejection(closed)).toBe('mine')
  },
  'abort errors both halves of a clone whose body has come': async (context) => {
    const controller = new AbortController()
    const response = await context.respond('abc', {}, { signal: controller.signal })
    const clone = response.clone()
    controller.abort('mine')
    expect(await rejection(response.text())).toBe('mine')
    expect(await rejection(clone.text())).toBe('mine')
  },
  'abort makes the cancel of an unread body reject': async (context) => {
    const controller = new AbortController()
    const response = await context.respond('abc', {}, { signal: controller.signal })
    controller.abort('mine')
    expect(await rejection(response.body!.cancel())).toBe('mine')
  },
  'abort does nothing to a body of no bytes': async (context) => {
    const controller = new AbortController()
    const response = await context.respond('', { 'content-length': '0' }, { signal: controller.signal })
    const reader = response.body!.getReader()
    controller.abort()
    expect((await reader.read()).done).toBe(true)
  },
  'abort makes a read that waits reject, and closed too': async (context) => {
    const controller = new AbortController()
    const { response } = await context.stream({ signal: controller.signal })
    const reader = response.body!.getReader()
    const { closed } = reader
    closed.catch(() => {})
    const read = reader.read()
    read.catch(() => {})
    const reason = new Error('mine')
    controller.abort(reason)
    expect(await rejection(read)).toBe(reason)
    expect(await rejection(closed)).toBe(reason)
  },
  'abort errors a stream that nobody reads': async (context) => {
    const controller = new AbortController()
    const { response } = await context.stream({ signal: controller.signal })
    const { body } = response
    controller.abort('mine')
    expect(await rejection(body!.getReader().read())).toBe('mine')
  },
  'abort errors both halves of a clone': async (context) => {
    const controller = new AbortController()
    const { response } = await context.stream({ signal: controller.signal })
    const clone = response.clone()
    const reads = [response.text(), clone.text()]
    for (const read of reads) read.catch(() => {})
    controller.abort('mine')
    for (const read of reads) expect(await rejection(read)).toBe('mine')
  },
  'abort ends a pipe with the reason': async (context) => {
    const controller = new AbortController()
    const { response } = await context.stream({ signal: controller.signal })
    const aborts = Promise.withResolvers<unknown>()
    const piped = response.body!.pipeTo(new WritableStream({ abort: (reason) => aborts.resolve(reason) }))
    piped.catch(() => {})
    controller.abort('mine')
    expect(await rejection(piped)).toBe('mine')
    expect(await aborts.promise).toBe('mine')
  },
  'abort after the body was read does nothing': async (context) => {
    const controller = new AbortController()
    const origin = await context.serve(echo)
    const response = await context.fetch(origin, { signal: controller.signal })
    const text = await response.text()
    controller.abort()
    expect(text).toContain('GET')
    expect([response.status, response.bodyUsed]).toEqual([200, true])
  },
  'abort after the reader has seen the end does nothing': async (context) => {
    const controller = new AbortController()
    const { response, end } = await context.stream({ signal: controller.signal })
    const reader = response.body!.getReader()
    end()
    expect((await reader.read()).done).toBe(true)
    controller.abort()
    expect((await reader.read()).done).toBe(true)
    await reader.closed
  },
  'abort after the body was cancelled does nothing': async (context) => {
    const controller = new AbortController()
    const { response } = await context.stream({ signal: controller.signal })
    await response.body!.cancel()
    controller.abort()
    expect((await response.body!.getReader().read()).done).toBe(true)
  },
  'abort of a response without a body does nothing': async (context) => {
    const controller = new AbortController()
    const origin = await context.serve((_request, response) => response.writeHead(204).end())
    const response = await context.fetch(origin, { signal: controller.signal })
    controller.abort()
    expect([response.status, response.body, await response.text()]).toEqual([204, null, ''])
  },
  'abort while a body is sent rejects with the reason': async (context) => {
    const started = Promise.withResolvers<void>()
    const origin = await context.serve((request) => request.once('data', () => started.resolve()))
    const body = new ReadableStream({ start: (controller) => controller.enqueue(encode('a')) })
    const controller = new AbortController()
    const sent = context.fetch(origin, { method: 'POST', body, duplex: 'half', signal: controller.signal })
    sent.catch(() => {})
    await started.promise
    const reason = new Error('mine')
    controller.abort(reason)
    expect(await rejection(sent)).toBe(reason)
  },
  'abort between a redirect and its target rejects': async (context) => {
    const controller = new AbortController()
    const asked = Promise.withResolvers<void>()
    const origin = await context.serve((request, response) => {
      if (request.url === '/') response.writeHead(302, { location: '/next' }).end()
      else asked.resolve()
    })
    const sent = context.fetch(origin, { signal: controller.signal })
    sent.catch(() => {})
    await asked.promise
    controller.abort('mine')
    expect(await rejection(sent)).toBe('mine')
  },
  'abort of one fetch leaves the next its connection or another': async (context) => {
    const origin = await context.serve((request, response) => {
      if (request.url !== '/slow') response.end('ok')
    })
    const controller = new AbortController()
    const slow = context.fetch(`${origin}/slow`, { signal: controller.signal })
    controller.abort('mine')
    expect(await rejection(slow)).toBe('mine')
    expect(await (await context.fetch(origin)).text()).toBe('ok')
  },
  'a signal that is none is refused': async (context) => {
    for (const signal of [{}, 5, 'x', new AbortController(), new EventTarget()]) {
      expect(await rejection(context.fetch('http://localhost/', { signal }))).toBeInstanceOf(TypeError)
    }
  },
})

wpt('fetch/api/abort/request.any.js', {
  'the signal of a clone of a Request follows it': async (context) => {
    const controller = new AbortController()
    const asked = Promise.withResolvers<void>()
    const origin = await context.serve(() => asked.resolve())
    const request = new Request(origin, { signal: controller.signal })
    const sent = context.fetch(request.clone())
    sent.catch(() => {})
    await asked.promise
    controller.abort('mine')
    expect(await rejection(sent)).toBe('mine')
  },
  'a Request with a body and an aborted signal is not sent': async (context) => {
    const reason = new Error('mine')
    expect(await unsent(context, { method: 'POST', body: 'x', signal: aborted(reason) }, true)).toBe(reason)
  },
})

wpt('dom/abort/AbortSignal.any.js', {
  'AbortSignal.any rejects with the reason of the first': async (context) => {
    const first = new AbortController()
    const second = new AbortController()
    const signal = AbortSignal.any([first.signal, second.signal])
    const { response } = await unanswered(context, { signal })
    second.abort('second')
    first.abort('first')
    expect(await rejection(response)).toBe('second')
  },
  'AbortSignal.any of an aborted one is aborted': async (context) => {
    const signal = AbortSignal.any([new AbortController().signal, aborted('mine')])
    expect(await unsent(context, { signal })).toBe('mine')
  },
  'AbortSignal.any ends a body': async (context) => {
    const controller = new AbortController()
    const signal = AbortSignal.any([controller.signal])
    const { response } = await context.stream({ signal })
    const read = response.text()
    read.catch(() => {})
    controller.abort('mine')
    expect(await rejection(read)).toBe('mine')
  },
  'AbortSignal.timeout rejects with a TimeoutError': async (context) => {
    const origin = await context.serve(() => {})
    const signal = AbortSignal.timeout(1)
    const reason = (await rejection(context.fetch(origin, { signal }))) as DOMException
    expect([reason.name, reason.code, reason === signal.reason]).toEqual(['TimeoutError', 23, true])
  },
  'AbortSignal.timeout that is over is told at once': async (context) => {
    const signal = AbortSignal.timeout(0)
    if (!signal.aborted) await once(signal, 'abort')
    expect(await unsent(context, { signal })).toBe(signal.reason)
  },
})

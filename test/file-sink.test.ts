import { Buffer } from 'node:buffer'
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as polyfill from 'web-streams-polyfill'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createFileSink, fileTargetOf, toFile, type ToFileOptions } from '../streams/file-sink.ts'
import { countingBlock } from './support/servers.ts'

const implementations = [
  { name: 'the platform', streams: { ReadableStream, WritableStream } },
  // The polyfill's own types differ from the platform's in nothing that these tests use.
  {
    name: 'web-streams-polyfill',
    streams: polyfill as unknown as { ReadableStream: typeof ReadableStream; WritableStream: typeof WritableStream },
  },
]

const onPosix = process.platform !== 'win32'
const hasFullDevice = existsSync('/dev/full')

let folder: string
let path: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-file-sink-'))
  path = join(folder, 'target.bin')
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

const text = (value: string): Uint8Array => Buffer.from(value)
const contents = (file = path): string => readFileSync(file, 'utf8')
const modeOf = (file: string): number => statSync(file).mode & 0o777

describe.each(implementations)('toFile on the streams of $name', ({ streams }) => {
  const sinkTo = (target: string | Buffer | URL, options: ToFileOptions = {}): WritableStream =>
    toFile(target, { ...options, streams: streams as any })

  const bodyOf = (...chunks: unknown[]): ReadableStream =>
    new streams.ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk)
        controller.close()
      },
    })

  /** Gives the chunks, then fails. */
  const failingBody = (error: Error, ...chunks: unknown[]): ReadableStream => {
    const left = [...chunks]
    return new streams.ReadableStream(
      {
        pull(controller) {
          if (left.length > 0) controller.enqueue(left.shift())
          else controller.error(error)
        },
      },
      { highWaterMark: 0 },
    )
  }

  /** A stream whose first chunk is written. */
  const begun = async (options: ToFileOptions = {}, target: string = path): Promise<WritableStreamDefaultWriter> => {
    const writer = sinkTo(target, options).getWriter()
    await writer.write(text('begun'))
    return writer
  }

  test('is a WritableStream of the implementation', () => {
    expect(sinkTo(path)).toBeInstanceOf(streams.WritableStream)
  })

  test('writes the chunks in order, each one whole', async () => {
    const block = countingBlock(3_000_001)
    const chunks = [1, 65_536, 1_000_000, 1_934_464].map((length, i, all) => {
      const start = all.slice(0, i).reduce((sum, n) => sum + n, 0)
      return block.subarray(start, start + length)
    })
    await bodyOf(...chunks).pipeTo(sinkTo(path))
    expect(readFileSync(path).equals(block)).toBe(true)
  })

  test('takes every kind of byte chunk, and of a view only its own part', async () => {
    const shared = new SharedArrayBuffer(1)
    new Uint8Array(shared)[0] = 0x68
    const bytes = new TextEncoder().encode('abcdefgh')
    await bodyOf(
      bytes.subarray(0, 2),
      bytes.buffer.slice(2, 3),
      new DataView(bytes.buffer, 3, 1),
      new Uint16Array(bytes.buffer, 4, 1),
      Buffer.from('g'),
      new Uint8Array(shared),
    ).pipeTo(sinkTo(path))
    expect(contents()).toBe('abcdefgh')
  })

  test.each(['text', null, undefined, 7, {}, [1, 2]])(
    'refuses the chunk %j and removes what it had created',
    async (chunk) => {
      const writer = await begun()
      const error = await writer.write(chunk).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(TypeError)
      expect((error as Error).message).toContain('bytes')
      await expect(writer.closed).rejects.toBe(error)
      expect(readdirSync(folder)).toEqual([])
    },
  )

  describe('opens late:', () => {
    test('there is no file until the first byte arrives', async () => {
      const writer = sinkTo(path).getWriter()
      await writer.ready
      await writer.write(new Uint8Array(0))
      expect(existsSync(path)).toBe(false)
      await writer.write(text('a'))
      expect(existsSync(path)).toBe(true)
      await writer.close()
    })

    test('an empty stream makes an empty file', async () => {
      await bodyOf().pipeTo(sinkTo(path))
      expect(statSync(path).size).toBe(0)
    })

    test('an empty stream empties an existing file', async () => {
      writeFileSync(path, 'old')
      await bodyOf().pipeTo(sinkTo(path))
      expect(contents()).toBe('')
    })

    test('a source that fails before its first byte leaves no file, and an existing one as it was', async () => {
      const error = new Error('refused')
      await expect(failingBody(error).pipeTo(sinkTo(path))).rejects.toBe(error)
      expect(readdirSync(folder)).toEqual([])
      writeFileSync(path, 'old')
      await expect(failingBody(error).pipeTo(sinkTo(path))).rejects.toBe(error)
      expect(contents()).toBe('old')
    })

    test('a relative path means the folder that was current when the stream was made', async () => {
      const before = process.cwd()
      const cwd = vi.spyOn(process, 'cwd').mockReturnValue(folder)
      const sinks = [sinkTo('relative.bin'), sinkTo(Buffer.from('buffer.bin'))]
      cwd.mockRestore()
      expect(process.cwd()).toBe(before)
      for (const sink of sinks) await bodyOf(text('x')).pipeTo(sink)
      expect(readdirSync(folder).sort()).toEqual(['buffer.bin', 'relative.bin'])
    })
  })

  describe('honours backpressure:', () => {
    test('a write resolves when the operating system has the bytes', async () => {
      const writer = sinkTo(path).getWriter()
      for (let written = 100_000; written <= 500_000; written += 100_000) {
        await writer.write(new Uint8Array(100_000))
        expect(statSync(path).size).toBe(written)
      }
      await writer.close()
    })

    test('it is not ready while more bytes wait than one large chunk has', async () => {
      const writer = sinkTo(path).getWriter()
      expect(writer.desiredSize).toBe(256 * 1024)
      const first = writer.write(new Uint8Array(100 * 1024))
      expect(writer.desiredSize).toBe(156 * 1024)
      const second = writer.write(new Uint8Array(156 * 1024))
      expect(writer.desiredSize).toBe(0)
      let isReady = false
      const ready = writer.ready.then(() => (isReady = true))
      await Promise.resolve()
      expect(isReady).toBe(false)
      await Promise.all([first, second, ready])
      expect(writer.desiredSize).toBe(256 * 1024)
      await writer.close()
    })

    test('a source is not pulled while the disk is busy', async () => {
      const handle = await prototypeOfFileHandle()
      const gate = Promise.withResolvers<void>()
      const began = Promise.withResolvers<void>()
      const write = handle.write
      const spy = vi.spyOn(handle, 'write').mockImplementation(async function (this: FileHandle, ...args: any[]) {
        began.resolve()
        await gate.promise
        return Reflect.apply(write, this, args)
      } as any)
      try {
        let pulled = 0
        const source = new streams.ReadableStream(
          {
            pull(controller) {
              if (++pulled > 20) controller.close()
              else controller.enqueue(new Uint8Array(128 * 1024))
            },
          },
          { highWaterMark: 0 },
        )
        const done = source.pipeTo(sinkTo(path))
        await began.promise
        for (let turn = 0; turn < 50; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
        // 256 KiB wait: that is the chunk being written and one more.
        expect(pulled).toBeLessThanOrEqual(3)
        gate.resolve()
        await done
        expect(statSync(path).size).toBe(20 * 128 * 1024)
      } finally {
        spy.mockRestore()
      }
    })

    test('writes that the system takes in part are continued', async () => {
      const handle = await prototypeOfFileHandle()
      const write = handle.write as (...args: unknown[]) => unknown
      const spy = vi.spyOn(handle, 'write').mockImplementation(function (this: FileHandle, ...args: any[]) {
        const [bytes, offset, length, position] = args
        return Reflect.apply(write, this, [bytes, offset, Math.min(length, 7), position])
      } as any)
      try {
        const block = countingBlock(100)
        await bodyOf(block).pipeTo(sinkTo(path))
        expect(spy.mock.calls.length).toBe(Math.ceil(100 / 7))
        expect(readFileSync(path).equals(block)).toBe(true)
      } finally {
        spy.mockRestore()
      }
    })
  })

  describe('on abort', () => {
    test('a file that it created is removed', async () => {
      const writer = await begun()
      expect(contents()).toBe('begun')
      await writer.abort(new Error('enough'))
      expect(readdirSync(folder)).toEqual([])
    })

    test('a source that fails midway has its error passed on and its file removed', async () => {
      const error = new Error('torn')
      await expect(failingBody(error, text('some'), text('more')).pipeTo(sinkTo(path))).rejects.toBe(error)
      expect(readdirSync(folder)).toEqual([])
    })

    test('an AbortSignal of the pipe removes the file', async () => {
      const reason = new Error('stop')
      const controller = new AbortController()
      const source = new streams.ReadableStream({
        start: (c) => {
          c.enqueue(text('some'))
        },
      })
      const sink = sinkTo(path)
      const done = source.pipeTo(sink, { signal: controller.signal })
      await vi.waitUntil(() => existsSync(path) && statSync(path).size > 0)
      controller.abort(reason)
      await expect(done).rejects.toBe(reason)
      expect(readdirSync(folder)).toEqual([])
    })

    test('during the opening, the file is removed as well', async () => {
      const writer = sinkTo(path).getWriter()
      const written = writer.write(text('x')).catch(() => {})
      await Promise.all([writer.abort(new Error('quick')), written])
      expect(readdirSync(folder)).toEqual([])
      const target = createFileSink(path).target
      const opened = target.open().catch((error: unknown) => error)
      const reason = new Error('quicker')
      await target.abort(reason)
      expect(await opened).toBe(reason)
      expect(target.state).toBe('aborted')
      expect(readdirSync(folder)).toEqual([])
    })

    test('before the first byte nothing is touched', async () => {
      writeFileSync(path, 'old')
      await sinkTo(path).abort(new Error('no'))
      expect(contents()).toBe('old')
    })

    test.each(['w', 'w+', 'a', 'a+', 'as', 'r+', 'rs+'])(
      "an existing file is never deleted (flags '%s')",
      async (flags) => {
        writeFileSync(path, 'an old text')
        const writer = await begun({ flags })
        await writer.abort(new Error('enough'))
        expect(existsSync(path)).toBe(true)
      },
    )

    test("a file created by flags 'a' is removed", async () => {
      const writer = await begun({ flags: 'a' })
      await writer.abort()
      expect(readdirSync(folder)).toEqual([])
    })

    test('a file that has taken the name meanwhile is left alone', async () => {
      const writer = await begun()
      writeFileSync(join(folder, 'other'), 'of somebody else')
      renameSync(join(folder, 'other'), path)
      await writer.abort()
      expect(contents()).toBe('of somebody else')
    })

    test('a file that is already gone is no error', async () => {
      const writer = await begun()
      rmSync(path)
      await writer.abort()
      expect(readdirSync(folder)).toEqual([])
    })

    test('no descriptor stays open', async () => {
      const sink = sinkTo(path)
      const writer = sink.getWriter()
      await writer.write(text('x'))
      const handle = await fileTargetOf(sink)!.open()
      expect(handle.fd).toBeGreaterThan(2)
      await writer.abort()
      expect(handle.fd).toBe(-1)
    })
  })

  describe('flags', () => {
    test("'w' replaces what was there", async () => {
      writeFileSync(path, 'a much longer old text')
      await bodyOf(text('new')).pipeTo(sinkTo(path))
      expect(contents()).toBe('new')
    })

    test("'wx' refuses an existing file and leaves it as it was", async () => {
      writeFileSync(path, 'old')
      await expect(bodyOf(text('new')).pipeTo(sinkTo(path, { flags: 'wx' }))).rejects.toMatchObject({
        code: 'EEXIST',
        syscall: 'open',
        path,
      })
      expect(contents()).toBe('old')
    })

    test.each(['wx', 'xw'])("'%s' writes a new file", async (flags) => {
      await bodyOf(text('new')).pipeTo(sinkTo(path, { flags }))
      expect(contents()).toBe('new')
    })

    test("'a' appends, and an abort truncates nothing", async () => {
      writeFileSync(path, 'old,')
      await bodyOf(text('new,')).pipeTo(sinkTo(path, { flags: 'a' }))
      expect(contents()).toBe('old,new,')
      const writer = await begun({ flags: 'a' })
      await writer.abort(new Error('enough'))
      expect(contents()).toBe('old,new,begun')
    })

    test("'r+' overwrites from the start, and an abort truncates nothing", async () => {
      writeFileSync(path, 'an old text')
      const writer = await begun({ flags: 'r+' })
      await writer.abort(new Error('enough'))
      expect(contents()).toBe('begund text')
    })

    test("'r+' does not create a file", async () => {
      await expect(bodyOf(text('x')).pipeTo(sinkTo(path, { flags: 'r+' }))).rejects.toMatchObject({ code: 'ENOENT' })
      expect(readdirSync(folder)).toEqual([])
    })
  })

  describe.runIf(onPosix)('mode', () => {
    test.each([0o600, '640'])('%s is what a new file gets', async (mode) => {
      await bodyOf(text('x')).pipeTo(sinkTo(path, { mode }))
      expect(modeOf(path)).toBe(
        Number.parseInt(typeof mode === 'string' ? mode : mode.toString(8), 8) & ~process.umask(),
      )
    })

    test('an existing file keeps its own', async () => {
      writeFileSync(path, 'old')
      chmodSync(path, 0o640)
      await bodyOf(text('new')).pipeTo(sinkTo(path, { mode: 0o600 }))
      expect([contents(), modeOf(path)]).toEqual(['new', 0o640])
    })
  })

  describe('atomic', () => {
    const others = (): string[] => readdirSync(folder).filter((name) => name !== 'target.bin')

    test('writes to a sibling and takes the name on close', async () => {
      writeFileSync(path, 'old')
      const writer = await begun({ atomic: true })
      expect(contents()).toBe('old')
      expect(others()).toEqual([expect.stringMatching(/^\.target\.bin\.[0-9a-f]{12}\.tmp$/)])
      await writer.close()
      expect(contents()).toBe('begun')
      expect(others()).toEqual([])
    })

    test('makes a file that was not there, also an empty one', async () => {
      await bodyOf(text('new')).pipeTo(sinkTo(path, { atomic: true }))
      expect(contents()).toBe('new')
      await bodyOf().pipeTo(sinkTo(path, { atomic: true }))
      expect(contents()).toBe('')
      expect(others()).toEqual([])
    })

    test('leaves the old file as it was when the source fails, and no sibling', async () => {
      writeFileSync(path, 'old')
      const error = new Error('torn')
      await expect(failingBody(error, text('new')).pipeTo(sinkTo(path, { atomic: true }))).rejects.toBe(error)
      expect(contents()).toBe('old')
      expect(others()).toEqual([])
    })

    test('leaves the old file as it was when the write fails, and no sibling', async () => {
      writeFileSync(path, 'old')
      const handle = await prototypeOfFileHandle()
      const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
        code: 'ENOSPC',
        syscall: 'write',
      })
      const spy = vi.spyOn(handle, 'write').mockRejectedValue(full)
      try {
        await expect(bodyOf(text('new')).pipeTo(sinkTo(path, { atomic: true }))).rejects.toBe(full)
      } finally {
        spy.mockRestore()
      }
      expect(contents()).toBe('old')
      expect(others()).toEqual([])
    })

    test('leaves no sibling when the rename fails', async () => {
      const writer = await begun({ atomic: true })
      // A folder cannot be replaced by a file; it was not there when the writing began.
      mkdirSync(path)
      await expect(writer.close()).rejects.toMatchObject({ syscall: 'rename', dest: path })
      expect(others()).toEqual([])
      expect(statSync(path).isDirectory()).toBe(true)
    })

    test('tells a target that is a folder before the first byte is written', async () => {
      mkdirSync(path)
      const writer = sinkTo(path, { atomic: true }).getWriter()
      await expect(writer.write(text('x'))).rejects.toMatchObject({ code: 'EISDIR', syscall: 'open', path })
      await expect(writer.closed).rejects.toThrow('EISDIR')
      expect(others()).toEqual([])
    })

    test.runIf(onPosix)('replaces no device', async () => {
      await expect(bodyOf(text('x')).pipeTo(sinkTo('/dev/null', { atomic: true }))).rejects.toMatchObject({
        code: 'EINVAL',
      })
      expect(statSync('/dev/null').isCharacterDevice()).toBe(true)
    })

    test.runIf(onPosix)('keeps the permissions of the old file, unless a mode is given', async () => {
      writeFileSync(path, 'old')
      chmodSync(path, 0o666)
      const umask = process.umask()
      await bodyOf(text('new')).pipeTo(sinkTo(path, { atomic: true }))
      expect(modeOf(path)).toBe(0o666)
      await bodyOf(text('new')).pipeTo(sinkTo(path, { atomic: true, mode: 0o640 }))
      expect(modeOf(path)).toBe(0o640 & ~umask)
    })

    test.runIf(onPosix)('gives a new file the usual permissions', async () => {
      await bodyOf(text('new')).pipeTo(sinkTo(path, { atomic: true }))
      expect(modeOf(path)).toBe(0o666 & ~process.umask())
    })

    test.runIf(onPosix)('keeps a symbolic link, and replaces what it points to', async () => {
      mkdirSync(join(folder, 'real'))
      writeFileSync(join(folder, 'real', 'file'), 'old')
      symlinkSync(join('real', 'file'), path)
      await bodyOf(text('new')).pipeTo(sinkTo(path, { atomic: true }))
      expect(lstatSync(path).isSymbolicLink()).toBe(true)
      expect(contents(join(folder, 'real', 'file'))).toBe('new')
      expect(readdirSync(join(folder, 'real'))).toEqual(['file'])
    })

    test('a second name of the old file keeps the old bytes', async () => {
      writeFileSync(path, 'old')
      const second = join(folder, 'second')
      linkSync(path, second)
      await bodyOf(text('new')).pipeTo(sinkTo(path, { atomic: true }))
      expect([contents(), contents(second)]).toEqual(['new', 'old'])
    })

    test("with 'wx' refuses an existing file, at the start and at the end", async () => {
      writeFileSync(path, 'old')
      const options = { atomic: true, flags: 'wx' }
      await expect(bodyOf(text('new')).pipeTo(sinkTo(path, options))).rejects.toMatchObject({ code: 'EEXIST', path })
      rmSync(path)
      const writer = await begun(options)
      writeFileSync(path, 'came first')
      await expect(writer.close()).rejects.toMatchObject({ code: 'EEXIST', dest: path })
      expect(contents()).toBe('came first')
      expect(others()).toEqual([])
    })

    test("with 'wx' makes a new file", async () => {
      await bodyOf(text('new')).pipeTo(sinkTo(path, { atomic: true, flags: 'wx' }))
      expect(contents()).toBe('new')
      expect(others()).toEqual([])
    })

    test.each(['x'.repeat(255), 'ü'.repeat(127)])('writes a file of the longest name %s', async (name) => {
      path = join(folder, name)
      await bodyOf(text('new')).pipeTo(sinkTo(path, { atomic: true }))
      expect(readdirSync(folder)).toEqual([name])
    })

    test.runIf(process.platform === 'linux')('takes a Buffer path that is not UTF-8', async () => {
      const odd = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xfe])])
      writeFileSync(odd, 'old')
      await bodyOf(text('new')).pipeTo(sinkTo(odd, { atomic: true }))
      expect(readFileSync(odd, 'utf8')).toBe('new')
      expect(readdirSync(folder)).toHaveLength(1)
    })
  })

  describe("rejects with Node's own errors:", () => {
    test('a missing folder is ENOENT', async () => {
      const missing = join(folder, 'missing', 'target.bin')
      for (const atomic of [false, true]) {
        const writer = sinkTo(missing, { atomic }).getWriter()
        const error = await writer.write(text('x')).catch((reason: unknown) => reason)
        expect(error).toMatchObject({ code: 'ENOENT', syscall: 'open', errno: expect.any(Number) })
        await expect(writer.closed).rejects.toBe(error)
      }
      await expect(bodyOf().pipeTo(sinkTo(missing))).rejects.toMatchObject({ code: 'ENOENT', path: missing })
    })

    test('a folder is EISDIR, and stays', async () => {
      await expect(bodyOf(text('x')).pipeTo(sinkTo(folder))).rejects.toMatchObject({ syscall: 'open', path: folder })
      expect(statSync(folder).isDirectory()).toBe(true)
    })

    test('an empty path is ENOENT', async () => {
      await expect(bodyOf(text('x')).pipeTo(sinkTo(''))).rejects.toMatchObject({ code: 'ENOENT' })
    })

    test('a file in place of a folder is ENOTDIR or ENOENT, by the platform', async () => {
      writeFileSync(path, 'old')
      const below = join(path, 'below')
      for (const atomic of [false, true]) {
        const error = await bodyOf(text('x'))
          .pipeTo(sinkTo(below, { atomic }))
          .catch((reason: unknown) => reason)
        expect(error).toMatchObject({ code: onPosix ? 'ENOTDIR' : 'ENOENT' })
      }
      expect(contents()).toBe('old')
    })

    test.runIf(hasFullDevice)('a full disk is ENOSPC', async () => {
      await expect(bodyOf(text('x')).pipeTo(sinkTo('/dev/full'))).rejects.toMatchObject({
        code: 'ENOSPC',
        syscall: 'write',
      })
      expect(existsSync('/dev/full')).toBe(true)
    })

    test('a failed write removes the file that was created, and cancels the source with the error', async () => {
      const handle = await prototypeOfFileHandle()
      const broken = Object.assign(new Error('EIO: i/o error, write'), { code: 'EIO', syscall: 'write' })
      const spy = vi.spyOn(handle, 'write').mockRejectedValue(broken)
      try {
        const cancelled = Promise.withResolvers<unknown>()
        const source = new streams.ReadableStream({
          start: (controller) => {
            controller.enqueue(text('x'))
          },
          cancel: cancelled.resolve,
        })
        await expect(source.pipeTo(sinkTo(path))).rejects.toBe(broken)
        expect(await cancelled.promise).toBe(broken)
      } finally {
        spy.mockRestore()
      }
      expect(readdirSync(folder)).toEqual([])
    })
  })

  test.each([
    ['a string', (file: string) => file],
    ['a Buffer', (file: string) => Buffer.from(file)],
    ['a file: URL', (file: string) => pathToFileURL(file)],
  ])('takes %s for the path', async (_, convert) => {
    await bodyOf(text('x')).pipeTo(sinkTo(convert(path)))
    expect(contents()).toBe('x')
  })

  test.each([
    [{ encoding: 'utf8' }, "unknown option 'encoding'"],
    [{ highWaterMark: 1 }, "unknown option 'highWaterMark'"],
    [{ flags: 'r' }, "option 'flags'"],
    [{ flags: 'constructor' }, "option 'flags'"],
    [{ flags: 1 }, "option 'flags'"],
    [{ atomic: 'yes' }, "option 'atomic'"],
    [{ atomic: true, flags: 'a' }, "option 'atomic'"],
    [{ atomic: true, flags: 'r+' }, "option 'atomic'"],
    [{ mode: 'rw' }, "option 'mode'"],
    [{ mode: 0.5 }, "option 'mode'"],
    [{ mode: -1 }, "option 'mode'"],
    [{ streams: {} }, "option 'streams'"],
  ])('refuses %j by name', (options, message) => {
    expect(() => toFile(path, options as any)).toThrow(TypeError)
    expect(() => toFile(path, options as any)).toThrow(message)
  })

  test.each([[7], [null], [undefined], [{}], ['a\0b'], [new URL('http://localhost/x')]])(
    'refuses the path %j',
    (bad) => {
      expect(() => sinkTo(bad as any)).toThrow(TypeError)
    },
  )

  test('options that are undefined count as not given', async () => {
    await bodyOf(text('x')).pipeTo(sinkTo(path, { mode: undefined, flags: undefined, atomic: undefined }))
    expect(contents()).toBe('x')
  })

  describe('fileTargetOf', () => {
    test('finds the file of a stream of toFile, and of no other', () => {
      expect(fileTargetOf(sinkTo(path))?.path).toBe(path)
      expect(fileTargetOf(new streams.WritableStream())).toBeUndefined()
    })

    test('lets another hand write through the descriptor while the stream is locked', async () => {
      for (const atomic of [false, true]) {
        writeFileSync(path, 'old')
        const stream = sinkTo(path, { atomic })
        const target = fileTargetOf(stream)!
        const writer = stream.getWriter()
        expect([target.state, target.fd]).toEqual(['idle', undefined])
        const { fd } = await target.open()
        expect([target.state, target.fd]).toEqual(['open', fd])
        writeFileSync(fd, 'by the descriptor, ')
        await writer.write(text('by the writer, '))
        expect(target.bytesWritten).toBe(15)
        writeFileSync(fd, 'by the descriptor')
        await writer.close()
        expect([target.state, target.fd]).toEqual(['closed', undefined])
        expect(contents()).toBe('by the descriptor, by the writer, by the descriptor')
      }
    })

    test('an abort of the locked stream removes what was written so', async () => {
      const stream = sinkTo(path)
      const writer = stream.getWriter()
      const { fd } = await fileTargetOf(stream)!.open()
      writeFileSync(fd, 'some')
      await writer.abort(new Error('torn'))
      expect(readdirSync(folder)).toEqual([])
    })

    test('opens once', async () => {
      const target = fileTargetOf(sinkTo(path))!
      const [a, b] = await Promise.all([target.open(), target.open()])
      expect(a).toBe(b)
      await target.close()
      await expect(target.open()).rejects.toThrow('closed')
    })
  })
})

test('without `streams` the platform is used', () => {
  expect(toFile(join(tmpdir(), 'never-opened'))).toBeInstanceOf(WritableStream)
})

test('createFileSink refuses `streams`, which means nothing to a sink', () => {
  expect(() => createFileSink('x', { streams: {} } as any)).toThrow("unknown option 'streams'")
})

/** Node does not export the class: its methods are replaced to make a disk slow or broken. */
async function prototypeOfFileHandle(): Promise<FileHandle> {
  const handle = await open(join(folder, 'probe'), 'w')
  await handle.close()
  rmSync(join(folder, 'probe'))
  return Object.getPrototypeOf(handle) as FileHandle
}

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import * as sources from '../lib/index.ts'
import { startServer } from './support/servers.ts'

const root = join(import.meta.dirname, '..')
const entry = pathToFileURL(join(root, 'dist', 'lib', 'index.js')).href

async function runNode(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root })
  return stdout.trim()
}

describe('what npm run build makes', () => {
  beforeAll(() => runNode('scripts/build.mjs'), 60_000)

  it('exports what the sources export', async () => {
    const code = `import('${entry}').then((all) => console.log(Object.keys(all).sort().join()))`
    expect(await runNode('-e', code)).toBe(Object.keys(sources).sort().join())
  })

  it('loads no more of Node than it uses', async () => {
    const code = `import('${entry}').then(() => console.log(process.moduleLoadList.join()))`
    const loaded = await runNode('-e', code)
    for (const module of ['internal/util/parse_args/parse_args', 'internal/blocklist', 'NativeModule crypto']) {
      expect(loaded).not.toContain(module)
    }
  })

  it('finds the addon and fetches', async () => {
    await using server = await startServer((_request, response) => response.end('from the package'))
    const code = `import('${entry}').then(({ fetch }) => fetch('${server.origin}')).then(async (response) => console.log(await response.text()))`
    expect(await runNode('-e', code)).toBe('from the package')
  })
})

/** Builds `dist/` anew: what npm would publish, apart from the addon. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { runSteps } from './gate/steps.mjs'
import { packageScript, root } from './setup/paths.mjs'

rmSync(join(root, 'dist'), { recursive: true, force: true })
const tsc = packageScript('typescript', 'bin/tsc')
const rolldown = packageScript('rolldown', 'bin/cli.mjs')
// One file: Node takes three times as long to load the modules one by one.
const bundle = ['lib/index.ts', '--format=esm', '--platform=node', '--sourcemap', '--file=dist/lib/index.js']
const isBuilt = runSteps([
  ['tsc', process.execPath, [tsc, '-p', 'tsconfig.build.json']],
  ['rolldown', process.execPath, [rolldown, ...bundle, '--log-level=warn']],
])
process.exit(isBuilt ? 0 : 1)

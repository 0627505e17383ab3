/** Builds `dist/` anew: what npm would publish, apart from the addon. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadBuiltinsDirectly } from './build/builtins.mjs'
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
if (!isBuilt) process.exit(1)
const bundled = join(root, 'dist', 'lib', 'index.js')
writeFileSync(bundled, loadBuiltinsDirectly(readFileSync(bundled, 'utf8')))

/** Builds `dist/` anew: what npm would publish, apart from the addon. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { runSteps } from './gate/steps.mjs'
import { packageScript, root } from './setup/paths.mjs'

rmSync(join(root, 'dist'), { recursive: true, force: true })
const tsc = packageScript('typescript', 'bin/tsc')
process.exit(runSteps([['tsc', process.execPath, [tsc, '-p', 'tsconfig.build.json']]]) ? 0 : 1)

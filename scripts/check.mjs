/**
 * Everything about the sources that can be judged without running them. `--fix` writes what the formatters and the
 * linter can repair, in place of checking.
 */
import { packageScript } from './setup/paths.mjs'
import { runSteps } from './gate/steps.mjs'

const node = process.execPath
const oxlint = packageScript('oxlint', 'bin/oxlint')
const oxfmt = packageScript('oxfmt', 'bin/oxfmt')
const tsc = packageScript('typescript', 'bin/tsc')

const fixes = [
  ['oxlint --fix', node, [oxlint, '--type-aware', '--fix']],
  ['oxfmt', node, [oxfmt]],
  ['cargo fmt', 'cargo', ['fmt', '--all']],
]

const checks = [
  ['oxfmt', node, [oxfmt, '--check']],
  ['oxlint', node, [oxlint, '--type-aware', '--deny-warnings']],
  ['tsc', node, [tsc, '--noEmit']],
  ['cargo fmt', 'cargo', ['fmt', '--all', '--check']],
  ['cargo clippy', 'cargo', ['clippy', '--quiet', '--workspace', '--all-targets', '--', '-D', 'warnings']],
]

process.exit(runSteps(process.argv.includes('--fix') ? fixes : checks) ? 0 : 1)

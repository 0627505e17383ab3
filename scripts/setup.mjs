/**
 * Makes a clone ready to run: checks the tools, installs the npm packages, builds the addon and puts it where
 * `native/binding.ts` loads it. Plain JavaScript for Node 20 and later, because it runs before anything is installed.
 *
 * `--addon=dist` builds the addon as it is shipped, which is the default; `--addon=dev` the one of the tests, which
 * compiles faster and has debug assertions; `--addon=none` stops after the npm packages.
 */
import { fileURLToPath } from 'node:url'
import { buildAddon } from './setup/addon.mjs'
import { installPackages } from './setup/packages.mjs'
import { SetupError } from './setup/setup-error.mjs'
import { checkNode, checkRustToolchain } from './setup/tools.mjs'

/**
 * Sets the clone up; does nothing that is already done.
 *
 * @param {'dist' | 'dev' | 'none'} [addon]
 */
export async function setUp(addon = 'dist') {
  try {
    checkNode()
    await checkRustToolchain()
    installPackages()
    if (addon !== 'none') await buildAddon(addon)
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    process.stderr.write(`setup: ${error.message}\n`)
    process.exit(1)
  }
}

/**
 * Takes `--addon=…` from the front of the arguments.
 *
 * @param {string[]} args
 * @returns {'dist' | 'dev' | 'none'}
 */
export function takeAddonFlag(args) {
  if (!args[0]?.startsWith('--addon=')) return 'dist'
  const addon = args.shift().slice('--addon='.length)
  if (addon === 'dist' || addon === 'dev' || addon === 'none') return addon
  throw new Error(`--addon=${addon}: it is dist, dev or none`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await setUp(takeAddonFlag(process.argv.slice(2)))

/**
 * Makes a clone ready to run: checks the tools, installs the npm packages, builds the addon and puts it where
 * `native/binding.ts` loads it. Plain JavaScript for Node 20 and later, because it runs before anything is installed.
 *
 * `--no-addon` stops after the npm packages.
 */
import { fileURLToPath } from 'node:url'
import { buildAddon } from './setup/addon.mjs'
import { installPackages } from './setup/packages.mjs'
import { SetupError } from './setup/setup-error.mjs'
import { checkNode, checkRustToolchain } from './setup/tools.mjs'

/**
 * Sets the clone up; does nothing that is already done.
 *
 * @param {{ addon?: boolean }} [options]
 */
export async function setUp({ addon = true } = {}) {
  try {
    checkNode()
    await checkRustToolchain()
    installPackages()
    if (addon) await buildAddon()
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    process.stderr.write(`setup: ${error.message}\n`)
    process.exit(1)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await setUp({ addon: !process.argv.includes('--no-addon') })
}

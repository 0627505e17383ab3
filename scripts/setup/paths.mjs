import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const isWindows = process.platform === 'win32'

/** The repository's folder. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Where the addon is loaded from. */
export const addonPath = join(root, 'native', 'sluice.node')

/** The Node that the project runs on, whatever the machine's own version is. */
export const projectNode = join(root, 'node_modules', 'node', 'bin', isWindows ? 'node.exe' : 'node')

/** Whether {@link projectNode} is installed. */
export const hasProjectNode = () => existsSync(projectNode)

/**
 * The script behind a package's command, to be run by {@link projectNode}: the shims of `node_modules/.bin` differ
 * between platforms and find their own `node` on the PATH.
 *
 * @param {string} packageName
 * @param {string} script path inside the package
 */
export const packageScript = (packageName, script) => join(root, 'node_modules', packageName, script)

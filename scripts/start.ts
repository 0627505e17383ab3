/** `npm start`: sluice's main job to look at, or a download of your own. `--help` tells how. */
import { parseOptions, USAGE } from './start/options.ts'

const options = parseOptions(process.argv.slice(2))
switch (options.job) {
  case 'help':
    process.stdout.write(USAGE)
    break
  case 'wrong':
    process.stderr.write(`${options.message}\n\n${USAGE}`)
    process.exitCode = 1
    break
  case 'download': {
    // Loaded when needed: a wrong option is told at once.
    const { download } = await import('./start/download.ts')
    process.exitCode = await download(options.url, options.file)
    break
  }
  case 'demonstrate': {
    const { demonstrate } = await import('./start/demonstrate.ts')
    process.exitCode = await demonstrate(options.bytes)
    break
  }
}

/**
 * One compile cache for a run of vitest: the library is stripped of its types and compiled once, and not by each of the
 * many programs that tests start. It is gone with the run, since a program of a test comes once.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** For `globalSetup`: every process of the run inherits the variable. */
export default function setUp(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-compiled-'))
  process.env['NODE_COMPILE_CACHE'] = folder
  return () => rmSync(folder, { recursive: true, force: true })
}

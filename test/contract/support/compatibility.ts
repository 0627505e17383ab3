/** The differences that COMPATIBILITY.md admits. */
import { readFileSync } from 'node:fs'

/** The first cell of each row of the list is its id. */
export const ADMITTED: ReadonlyMap<string, string> = new Map(
  Array.from(
    readFileSync(new URL('../../../COMPATIBILITY.md', import.meta.url), 'utf8').matchAll(/^\| *(C\d+) *\|(.*)\|$/gm),
    ([, id, cells]) => [id!, cells!.trim()],
  ),
)

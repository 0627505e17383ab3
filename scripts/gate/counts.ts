/** Tests that passed and failed in one run, and what the failed ones are called. */
export interface Counts {
  passed: number
  failed: number
  /** A line for each failure that has a name. */
  failures: string[]
}

interface VitestReport {
  numPassedTests: number
  numFailedTests: number
  testResults: VitestFile[]
}

interface VitestFile {
  name: string
  status: string
  assertionResults: { status: string; fullName: string }[]
}

/** What a run of `cargo test` says of itself. One that ends badly without a failed test did not build, or crashed. */
export function countCargo(output: string, status: number): Counts {
  let passed = 0
  let failed = 0
  for (const [, ok, bad] of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)) {
    passed += Number(ok)
    failed += Number(bad)
  }
  const failures = Array.from(output.matchAll(/^test (.+) \.\.\. FAILED$/gm), ([, name]) => `cargo test: ${name}`)
  if (status !== 0 && failed === 0) failures.push(`cargo test: it did not build, or crashed (exit code ${status})`)
  return { passed, failed: atLeastOne(failed, status), failures }
}

/**
 * What vitest's JSON report says, `undefined` when there is none.
 *
 * @param root the folder that the names of files begin after
 */
export function countVitest(report: string | undefined, status: number, root: string): Counts {
  if (report === undefined) return { passed: 0, failed: 1, failures: ['vitest: it wrote no report'] }
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(report) as VitestReport
  // A file that does not even load has failed without a test in it.
  const unloaded = testResults.filter((file) => file.status === 'failed' && !hasFailedTest(file))
  const nameOf = (file: VitestFile): string =>
    file.name.startsWith(root) ? file.name.slice(root.length + 1) : file.name
  const failures = testResults.flatMap((file) =>
    file.assertionResults
      .filter((test) => test.status === 'failed')
      .map((test) => `vitest: ${nameOf(file)}: ${test.fullName}`),
  )
  for (const file of unloaded) failures.push(`vitest: ${nameOf(file)}: it does not load`)
  const failed = numFailedTests + unloaded.length
  if (status !== 0 && failed === 0) failures.push('vitest: an error outside of the tests, see above')
  return { passed: numPassedTests, failed: atLeastOne(failed, status), failures }
}

const hasFailedTest = (file: VitestFile): boolean => file.assertionResults.some((test) => test.status === 'failed')

const atLeastOne = (failed: number, status: number): number => (status === 0 ? failed : Math.max(failed, 1))

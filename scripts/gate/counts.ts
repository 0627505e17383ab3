/** Tests that passed and failed in one run. */
export interface Counts {
  passed: number
  failed: number
}

interface VitestReport {
  numPassedTests: number
  numFailedTests: number
  testResults: VitestFile[]
}

interface VitestFile {
  status: string
  assertionResults: { status: string }[]
}

/** What a run of `cargo test` says of itself. One that ends badly without a failed test did not build, or crashed. */
export function countCargo(output: string, status: number): Counts {
  let passed = 0
  let failed = 0
  for (const [, ok, bad] of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)) {
    passed += Number(ok)
    failed += Number(bad)
  }
  return { passed, failed: atLeastOne(failed, status) }
}

/** What vitest's JSON report says, `undefined` when there is none. */
export function countVitest(report: string | undefined, status: number): Counts {
  if (report === undefined) return { passed: 0, failed: 1 }
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(report) as VitestReport
  // A file that does not even load has failed without a test in it.
  const unloaded = testResults.filter((file) => file.status === 'failed' && !hasFailedTest(file)).length
  return { passed: numPassedTests, failed: atLeastOne(numFailedTests + unloaded, status) }
}

const hasFailedTest = (file: VitestFile): boolean => file.assertionResults.some((test) => test.status === 'failed')

const atLeastOne = (failed: number, status: number): number => (status === 0 ? failed : Math.max(failed, 1))

/**
 * What a run of `cargo test` says of itself. A run that ends badly without a failed test did not build, or crashed.
 *
 * @param {string} output
 * @param {number} status
 */
export function countCargo(output, status) {
  let passed = 0
  let failed = 0
  for (const [, ok, bad] of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)) {
    passed += Number(ok)
    failed += Number(bad)
  }
  return { passed, failed: atLeastOne(failed, status) }
}

/**
 * What vitest's JSON report says, `undefined` when there is none.
 *
 * @param {string | undefined} report
 * @param {number} status
 */
export function countVitest(report, status) {
  if (report === undefined) return { passed: 0, failed: 1 }
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(report)
  // A file that does not even load has failed without a test in it.
  const unloaded = testResults.filter((file) => file.status === 'failed' && !hasFailedTest(file)).length
  return { passed: numPassedTests, failed: atLeastOne(numFailedTests + unloaded, status) }
}

const hasFailedTest = (file) => file.assertionResults.some((test) => test.status === 'failed')

const atLeastOne = (failed, status) => (status === 0 ? failed : Math.max(failed, 1))

/** Some seconds of each generator of `test/fuzz`; what fails says with which seed it can be run again. */
import { test } from 'vitest'
import * as locations from './fuzz/locations.ts'
import * as multipart from './fuzz/multipart.ts'
import * as proxies from './fuzz/proxies.ts'

test('every value of a proxy is the proxy that it says, or an error, and never a direct connection', async () => {
  await proxies.run(1, 500)
})

test('a redirect leads where the URL parser of the platform says', async () => {
  await locations.run(1, 2000)
})

test('a form is read as it was sent, and a changed one is a form or an error', async () => {
  await multipart.run(1, 3000)
})

/** Some seconds of each generator of `test/fuzz`; what fails says with which seed it can be run again. */
import { test } from 'vitest'
import * as multipart from './fuzz/multipart.ts'

test('a form is read as it was sent, and a changed one is a form or an error', async () => {
  await multipart.run(1, 4000)
})

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: './test/support/compile-cache.ts',
    // A process of its own for each file: the addon counts handles, sockets and memory per process.
    pool: 'forks',
    // One for each core: by default a core is left out, and most files wait for sockets, timers and processes.
    maxWorkers: '100%',
    execArgv: ['--expose-gc'],
    // A limit for what hangs, not a measure: two cores may be shared with a build.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    retry: 0,
    typecheck: {
      enabled: true,
      include: ['test/**/*.test-d.ts'],
      tsconfig: './tsconfig.json',
      ignoreSourceErrors: false,
    },
  },
})

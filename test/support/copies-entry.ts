/** The library as one file, and the addon's functions beside it. */
export * from '../../lib/index.ts'
export { binding } from '../../native/binding.ts'

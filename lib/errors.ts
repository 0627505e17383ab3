export * from './errors/classes.ts'
export { createUndiciError } from './errors/create.ts'

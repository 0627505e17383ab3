/** Reads into a view: where nobody brings his own they are direct ones, and only where the queue was full before. */
import { vi } from 'vitest'
import { binding } from '../../native/binding.ts'

export interface Views {
  mock: { results: { value?: unknown }[] }
}

export const spyOnViews = (): Views => vi.spyOn(binding, 'bodyReadInto')

/** Those that found bytes. */
export const found = (views: Views): number => views.mock.results.filter(({ value }) => (value as number) > 0).length

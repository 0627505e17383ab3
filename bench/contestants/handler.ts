import { assertStatus } from './client.ts'

/** The part of `dispatch` that both libraries have. */
export interface Dispatches {
  dispatch(options: object, handler: object): boolean
}

/** The least of a handler: it counts the bytes of every chunk and keeps none. */
export function dispatchRequest(dispatcher: Dispatches, options: object): Promise<number> {
  return new Promise((resolve, reject) => {
    let bytes = 0
    dispatcher.dispatch(options, {
      onRequestStart() {},
      onResponseStart(_controller: unknown, status: number) {
        assertStatus(status)
      },
      onResponseData(_controller: unknown, chunk: Buffer) {
        bytes += chunk.length
      },
      onResponseEnd() {
        resolve(bytes)
      },
      onResponseError(_controller: unknown, error: Error) {
        reject(error)
      },
    })
  })
}

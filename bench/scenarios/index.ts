import type { ScenarioName } from './names.ts'
import type { Scenario } from './scenario.ts'

/** Only the one asked for: what the others load would be missing from `startup`'s figures. */
const loaders: Record<ScenarioName, () => Promise<Scenario>> = {
  http1: async () => (await import('./requests.ts')).http1,
  http2: async () => (await import('./requests.ts')).http2,
  websocket: async () => (await import('./websocket.ts')).websocket,
  proxy: async () => (await import('./requests.ts')).proxy,
  stream: async () => (await import('./stream.ts')).stream,
  upload: async () => (await import('./upload.ts')).uploads,
  startup: async () => (await import('./startup.ts')).startup,
  memory: async () => (await import('./memory.ts')).memory,
  latency: async () => (await import('./latency.ts')).latency,
  blocked: async () => (await import('./blocked.ts')).blocked,
}

export function loadScenario(name: ScenarioName): Promise<Scenario> {
  return loaders[name]()
}

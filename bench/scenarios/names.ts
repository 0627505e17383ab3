export const scenarioNames = [
  'http1',
  'http2',
  'websocket',
  'proxy',
  'stream',
  'upload',
  'startup',
  'memory',
  'latency',
  'blocked',
] as const

export type ScenarioName = (typeof scenarioNames)[number]

import { readdirSync, readlinkSync } from 'node:fs'

/** Sockets that this process holds; 0 where the system does not say. */
export function openSockets(): number {
  if (process.platform !== 'linux') return 0
  return readdirSync('/proc/self/fd').filter((fd) => isSocket(fd)).length
}

function isSocket(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:')
  } catch {
    // The descriptor of the listing itself.
    return false
  }
}

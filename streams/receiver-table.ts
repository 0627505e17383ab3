/**
 * Who is told of which request, by the id that crosses. A ring of slots and no `Map`: one that entries come to and go
 * from is rebuilt over and over, and each of its discarded tables, once old, keeps the requests of the next alive until
 * a full collection.
 */

const SLOTS = 64

export class ReceiverTable<T> {
  private slots: (T | undefined)[] = Array.from({ length: SLOTS })
  /** The id in each slot; 0 for none. */
  private ids = new Uint32Array(SLOTS)
  private mask = SLOTS - 1
  private count = 0
  private lastId = 0

  /** Takes `receiver` in; returns its id, which no other has until it is deleted and all others had their turn. */
  add(receiver: T): number {
    if (this.count > this.mask >>> 1) this.grow()
    let id = this.lastId
    do {
      id = (id + 1) >>> 0 || 1
    } while (this.ids[id & this.mask] !== 0)
    this.lastId = id
    this.count++
    this.ids[id & this.mask] = id
    this.slots[id & this.mask] = receiver
    return id
  }

  get(id: number): T | undefined {
    const slot = id & this.mask
    return this.ids[slot] === id ? this.slots[slot] : undefined
  }

  /** Puts another receiver in the place of `id`, whether or not there is one. */
  set(id: number, receiver: T): void {
    while (this.ids[id & this.mask] !== 0 && this.ids[id & this.mask] !== id) this.grow()
    const slot = id & this.mask
    if (this.ids[slot] === 0) this.count++
    this.ids[slot] = id
    this.slots[slot] = receiver
  }

  delete(id: number): void {
    const slot = id & this.mask
    if (this.ids[slot] !== id) return
    this.count--
    this.ids[slot] = 0
    this.slots[slot] = undefined
  }

  /** What was apart in half the slots stays apart. */
  private grow(): void {
    const { slots, ids } = this
    const length = slots.length * 2
    this.mask = length - 1
    this.slots = Array.from({ length })
    this.ids = new Uint32Array(length)
    for (let slot = 0; slot < slots.length; slot++) {
      const id = ids[slot]!
      if (id === 0) continue
      this.slots[id & this.mask] = slots[slot]
      this.ids[id & this.mask] = id
    }
  }
}

/** One line on a terminal that says what is being done; nothing elsewhere. */
export class Progress implements Disposable {
  private done = 0
  private readonly total: number
  private readonly output: NodeJS.WriteStream

  constructor(total: number, output: NodeJS.WriteStream = process.stderr) {
    this.total = total
    this.output = output
  }

  tell(what: string): void {
    const share = Math.floor((this.done++ / this.total) * 100)
    if (this.output.isTTY) this.output.write(`\r\u001B[K${share}% ${what}`)
  }

  [Symbol.dispose](): void {
    if (this.output.isTTY) this.output.write('\r\u001B[K')
  }
}

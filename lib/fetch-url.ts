/** The URL of a fetch, with what each request to it needs of it, once. */

/** Programs fetch a few URLs again and again, and parsing one costs more than the rest of its request in JavaScript. */
const MOST_KNOWN = 256
/** Characters of a URL that is remembered: one of `data:` may be megabytes. */
const LONGEST_KNOWN = 1024

const known = new Map<string, FetchUrl>()

/** Not to be changed once its parts were read. */
export class FetchUrl extends URL {
  private parts: { originText: string; target: string; text: string } | null = null

  /** Of `text`, which may have been parsed before. @throws TypeError (`ERR_INVALID_URL`) */
  static of(text: string): FetchUrl {
    const before = known.get(text)
    if (before !== undefined) return before
    const url = new FetchUrl(text)
    if (text.length <= LONGEST_KNOWN) {
      if (known.size >= MOST_KNOWN) known.clear()
      known.set(text, url)
    }
    return url
  }

  /** `origin`. */
  get originText(): string {
    return this.read().originText
  }

  /** Path and query; an empty query is one. */
  get target(): string {
    return this.read().target
  }

  /** Serialized without its fragment, as a response's is (Fetch, "response URL"). */
  get text(): string {
    return this.read().text
  }

  private read(): NonNullable<FetchUrl['parts']> {
    if (this.parts !== null) return this.parts
    const { href, hash, origin, pathname, search } = this
    const text = hash === '' ? href.replace(/#$/, '') : href.slice(0, href.length - hash.length)
    const target = search === '' && text.endsWith('?') ? `${pathname}?` : pathname + search
    return (this.parts = { originText: origin, target, text })
  }
}

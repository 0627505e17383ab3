/** Trims as HTTP does, which knows fewer blanks than `String.prototype.trim`. */

/** `text` without the characters of `blanks` at its ends, in one pass: an expression for the end is tried at every blank. */
export function trimBlanks(text: string, blanks: string): string {
  let start = 0
  let end = text.length
  while (start < end && blanks.includes(text[start]!)) start++
  while (end > start && blanks.includes(text[end - 1]!)) end--
  return text.slice(start, end)
}

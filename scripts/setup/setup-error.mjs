/** A failure whose message is one line that says what to do; shown without a stack. */
export class SetupError extends Error {}

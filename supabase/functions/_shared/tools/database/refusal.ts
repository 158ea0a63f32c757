/** A query that is not carried out. Its message is for the model: what is wrong, and what can be written instead. */
export class QueryRefused extends Error {
  /**
   * @param problem a sentence; says nothing the model did not write or may not know.
   * @param instead what to do, with an example where that helps.
   */
  constructor(problem: string, instead: string, options?: { cause?: unknown }) {
    super(`${problem} ${instead}`, options)
    this.name = 'QueryRefused'
  }
}

/** Something that keeps the stack from starting and that its user can put right: shown without a stack trace. */
export class StartProblem extends Error {
  override name = 'StartProblem'
}

/** Prints the outcome of a check, `name: ok` or its problems, and ends the process with 1 if there are any. */
export function report(name: string, problems: string[]): void {
  if (problems.length === 0) {
    console.log(`${name}: ok`)
    return
  }
  for (const problem of problems) console.error(`${name}: ${problem}`)
  process.exit(1)
}

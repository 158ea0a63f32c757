export type TapReport = {
  passed: number
  failed: number
  /** The failed assertions with their diagnostics, and what else is wrong, as lines to print. */
  failures: string[]
  /** Assertions that were left out, with the reason given. */
  skipped: string[]
}

/**
 * Reads the output of one pgTAP file: `1..N`, `ok n - text`, `not ok n - text`, `# diagnostics`. A file that ran another
 * number of assertions than it planned, or planned none, counts as one failure more.
 */
export function readTap(output: string[]): TapReport {
  const report: TapReport = { passed: 0, failed: 0, failures: [], skipped: [] }
  let planned: number | null = null
  let failing = false
  const fail = (line: string) => {
    report.failed++
    report.failures.push(line)
  }
  for (const line of output.flatMap((text) => text.split('\n'))) {
    const assertion = /^(not )?ok \d+(?: - )?(.*)$/.exec(line)
    const plan = /^1\.\.(\d+)/.exec(line)
    if (plan) planned = Number(plan[1])
    else if (assertion) {
      const [, not, text = ''] = assertion
      failing = false
      if (/# (SKIP|TODO)/i.test(text)) report.skipped.push(text)
      else if (not) {
        failing = true
        fail(`not ok: ${text}`)
      } else report.passed++
    } else if (line.startsWith('#') && (failing || line.startsWith('# Looks like'))) report.failures.push(`  ${line}`)
  }
  const ran = report.passed + report.failed + report.skipped.length
  if (planned === null) fail('no plan: the file must call plan() or no_plan()')
  else if (planned !== ran) fail(`planned ${planned} assertions, ran ${ran}`)
  return report
}

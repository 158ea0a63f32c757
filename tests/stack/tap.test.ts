import { expect, test } from 'vitest'
import { readTap } from '../../scripts/support/tap.ts'

test('counts assertions', () => {
  expect(readTap(['1..2', 'ok 1 - a', 'ok 2'])).toEqual({ passed: 2, failed: 0, failures: [], skipped: [] })
})

test('a failed assertion comes with its diagnostics and nobody else’s', () => {
  const report = readTap([
    '1..2',
    'ok 1 - a\n# of a',
    'not ok 2 - b\n# Failed test 2: "b"\n#   have: 1',
    '# Looks like you failed 1 test of 2',
  ])
  expect(report).toMatchObject({ passed: 1, failed: 1 })
  expect(report.failures).toEqual([
    'not ok: b',
    '  # Failed test 2: "b"',
    '  #   have: 1',
    '  # Looks like you failed 1 test of 2',
  ])
})

test('fewer assertions than planned, and none at all, are failures', () => {
  expect(readTap(['1..3', 'ok 1 - a'])).toMatchObject({
    passed: 1,
    failed: 1,
    failures: ['planned 3 assertions, ran 1'],
  })
  expect(readTap([])).toMatchObject({ passed: 0, failed: 1 })
})

test('what is skipped counts neither way and is told with its reason', () => {
  expect(readTap(['1..1', 'ok 1 - # SKIP needs pg_cron'])).toMatchObject({
    passed: 0,
    failed: 0,
    skipped: ['# SKIP needs pg_cron'],
  })
})

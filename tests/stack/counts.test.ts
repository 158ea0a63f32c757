import { expect, test } from 'vitest'
import { countAgain, countVitest, filesToTryAlone, lastCounts, namesOfFailed } from '../../scripts/support/counts.ts'

const file = (status: string, ...tests: string[]) => ({
  name: `${status}.test.ts`,
  status,
  assertionResults: tests.map((status, index) => ({ status, fullName: `${status} ${index}` })),
})

test('tests are counted, and files that failed without a failed test', () => {
  const testResults = [
    file('passed', 'passed'),
    file('failed', 'passed', 'failed'),
    file('failed'),
    file('failed', 'passed'),
  ]
  expect(countVitest({ numPassedTests: 3, numFailedTests: 1, testResults }, 1)).toEqual({ passed: 3, failed: 3 })
})

test('an exit code that nothing explains is a failure', () => {
  const report = { numPassedTests: 2, numFailedTests: 0, testResults: [file('passed', 'passed', 'passed')] }
  expect(countVitest(report, 0)).toEqual({ passed: 2, failed: 0 })
  expect(countVitest(report, 1)).toEqual({ passed: 2, failed: 1 })
})

test('the last line of counts is the one that matters', () => {
  expect(lastCounts('1 passed, 2 failed\nmore\n3 passed, 0 failed\n')).toEqual({ passed: 3, failed: 0 })
  expect(lastCounts('about 3 passed, 0 failed today')).toBeNull()
})

test('a few failed files are tried alone, and their second run is the one that counts', () => {
  const testResults = [file('passed', 'passed', 'passed'), file('failed', 'passed', 'failed'), file('failed')]
  const report = { numPassedTests: 3, numFailedTests: 1, testResults }
  expect(filesToTryAlone(report)).toEqual(['failed.test.ts', 'failed.test.ts'])
  expect(namesOfFailed(report)).toEqual(['failed.test.ts > failed 1', 'failed.test.ts'])
  expect(countAgain(report, { passed: 3, failed: 0 })).toEqual({ passed: 5, failed: 0 })
  expect(countAgain(report, { passed: 2, failed: 1 })).toEqual({ passed: 4, failed: 1 })
})

test('nothing is tried alone when all passed, or when much failed', () => {
  const passed = { numPassedTests: 1, numFailedTests: 0, testResults: [file('passed', 'passed')] }
  expect(filesToTryAlone(passed)).toEqual([])
  const broken = { numPassedTests: 0, numFailedTests: 4, testResults: Array.from({ length: 4 }, () => file('failed')) }
  expect(filesToTryAlone(broken)).toEqual([])
})

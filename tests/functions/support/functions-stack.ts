import process from 'node:process'
import { useStack } from '../../support/stack.ts'
import type { TestStack, TestStackOptions } from '../../support/stack.ts'

/** A stack that serves the functions. DENO_BIN runs them on another Deno, e.g. the version the Edge Runtime is built on. */
export function useFunctionsStack(options: Omit<TestStackOptions, 'functions' | 'denoBin'> = {}): TestStack {
  return useStack({ ...options, functions: 'on-demand', denoBin: process.env['DENO_BIN'] })
}

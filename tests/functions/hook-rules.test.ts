import { describe, expect, it } from 'vitest'
import { compilePattern } from '../../supabase/functions/_shared/hooks/pattern.ts'
import { MAX_SUBJECT_CHARS, denialBy, parseRules } from '../../supabase/functions/_shared/hooks/rules.ts'
import { createRandom } from './support/random.ts'

const denied = (condition: string, data: Record<string, unknown>) =>
  denialBy({ condition, message: 'no' }, data) === 'no'

describe('rules of hooks', () => {
  const call = {
    event: 'PreToolUse',
    tool_name: 'database_query',
    query: 'DROP table x',
    nested: { list: ['a', 1] },
    n: 7,
  }

  it.each([
    [`query CONTAINS 'drop TABLE'`, true],
    ['query CONTAINS drop table', true],
    ['query CONTAINS delete', false],
    ['query NOT CONTAINS delete', true],
    ['query STARTS_WITH "drop"', true],
    ['query STARTS_WITH table', false],
    ['query NOT STARTS_WITH select', true],
    ['query MATCHES ^drop\\s+table', true],
    [`query MATCHES 'x$'`, true],
    ['query MATCHES ^table', false],
    ['query NOT MATCHES ^select', true],
    ['tool_name IN http_request, database_query', true],
    [`tool_name IN ['http_request', "database_query"]`, true],
    ['tool_name IN (http_request)', false],
    ['tool_name NOT IN (http_request)', true],
    ['event IN PreToolUse', true],
    ['tool_input.query CONTAINS drop', true],
    ['data.query CONTAINS drop', true],
    ['nested.list CONTAINS "a"', true],
    ['n IN 7', true],
    ['absent CONTAINS x', false],
    ['absent NOT CONTAINS x', true],
    ['constructor.name CONTAINS Object', false],
    ['__proto__.toString CONTAINS native', false],
    [`query CONTAINS 'it\\'s'`, false],
  ])('%s: %s', (condition, expected) => {
    expect(denied(condition, call)).toBe(expected)
  })

  it('compare without regard to case and width', () => {
    expect(denied('query CONTAINS drop', { query: 'ＤＲＯＰ' })).toBe(true)
  })

  it('decide in order, and say what they were told to', () => {
    const rules = [
      { condition: 'query CONTAINS a', action: 'deny', message: 'first' },
      { condition: 'query CONTAINS b', action: 'deny' },
    ]
    expect(denialBy({ rules }, { query: 'ab' })).toBe('first')
    expect(denialBy({ rules }, { query: 'b' })).toBe('Refused by a rule of this agent.')
    expect(denialBy({ rules }, { query: 'c' })).toBeNull()
  })

  it('refuse a text that is too long to be checked, instead of letting it pass', () => {
    const padded = { query: `${'x'.repeat(MAX_SUBJECT_CHARS)}drop` }
    expect(denialBy({ condition: 'query MATCHES drop' }, padded)).toContain('too long')
    expect(denialBy({ condition: 'query NOT MATCHES drop' }, padded)).toContain('too long')
  })

  it.each([
    [{}, 'must hold condition'],
    [{ condition: '' }, 'condition is required'],
    [{ condition: 'query CONTAINS x', action: 'allow' }, 'must hold condition'],
    [{ rules: [] }, 'rules: Too small'],
    [{ condition: 'query' }, 'A condition has the form'],
    [{ condition: 'query EQUALS x' }, 'A condition has the form'],
    [{ condition: 'query contains x' }, 'A condition has the form'],
    [{ condition: 'a b CONTAINS x' }, 'A condition has the form'],
    [{ condition: 'query CONTAINS' }, 'needs a value'],
    [{ condition: `query CONTAINS ''` }, 'needs a value'],
    [{ condition: `query CONTAINS 'x` }, 'quote is not closed'],
    [{ condition: `query CONTAINS 'x' or y` }, 'something behind the value'],
    [{ condition: 'query IN (a' }, 'bracket is not closed'],
    [{ condition: 'query IN a,,b' }, 'need commas between'],
    [{ condition: 'query IN a,' }, 'end with a comma'],
    [{ condition: 'query MATCHES (a' }, 'Pattern: a group is not closed'],
    [{ rules: [{ condition: 'query CONTAINS a' }, { condition: 'b' }] }, 'rules[1]: A condition has the form'],
    [{ condition: `x CONTAINS ${'y'.repeat(2000)}` }, 'at most 2000 characters'],
  ])('that are not understood are refused: %j', (config, message) => {
    expect(() => parseRules(config)).toThrow(message)
  })
})

describe('patterns', () => {
  it.each([
    '(a',
    'a)',
    '*a',
    'a**',
    'a{2}{3}',
    'a{x}',
    'a{3,2}',
    '[a',
    '[z-a]',
    '(?=a)',
    '(?<n>a)',
    '(a)\\1',
    '\\p',
    '\\',
    '^*',
    'a{9999}',
    '(((a{50}){50}){50})',
    `${'('.repeat(30)}a${')'.repeat(30)}`,
    'x'.repeat(501),
  ])('refuse %s', (source) => {
    expect(() => compilePattern(source)).toThrow('Pattern:')
  })

  it('find what JavaScript finds', () => {
    const random = createRandom(7)
    const pick = (from: readonly string[]) => from[Math.floor(random() * from.length)] ?? ''
    const atoms = [
      'a',
      'b',
      '.',
      '[ab]',
      '[^a]',
      '\\d',
      '\\w',
      '\\s',
      '\\b',
      '^',
      '$',
      '(a|b)',
      '(?:ab)',
      '(a*|b)',
      'é',
      '\\.',
    ]
    const counts = ['', '', '', '*', '+', '?', '{2}', '{1,2}', '{0,}', '+?']
    let found = 0
    for (let round = 0; round < 3000; round++) {
      let source = ''
      for (let at = Math.floor(random() * 4) + 1; at > 0; at--) {
        const atom = pick(atoms)
        source += atom + (['\\b', '^', '$'].includes(atom) ? '' : pick(counts)) + (random() < 0.1 ? '|' : '')
      }
      let text = ''
      for (let at = Math.floor(random() * 6); at > 0; at--)
        text += pick(['a', 'b', 'B', ' ', '1', '.', '\n', 'É', '😀'])
      const expected = new RegExp(source, 'isu').test(text)
      if (expected) found++
      expect(compilePattern(source).test(text), `${source} in ${JSON.stringify(text)}`).toBe(expected)
    }
    expect(found).toBeGreaterThan(500)
    expect(found).toBeLessThan(2900)
  })

  it('that would keep a backtracking engine busy for ever come to an end', () => {
    for (const source of ['(a+)+$', '(a|a)*b', '(a*)*b', '(.*)*x', '.*.*.*.*=.*x', '(a|aa)+$', '(?:a?){30}a{30}b']) {
      expect(compilePattern(source).test(`${'a'.repeat(2000)}!`), source).toBe(false)
    }
  })
})

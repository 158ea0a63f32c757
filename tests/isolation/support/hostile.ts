import { existsSync, readFileSync } from 'node:fs'

/** The big list of naughty strings, where the shared data is at hand. */
const NAUGHTY = new URL('../../../../shared/data/attacks/blns.json', import.meta.url)

/** Queries that a parser, a regular expression or an index may choke on. None of them holds a NUL: Postgres has no such text. */
export const HOSTILE_QUERIES: Record<string, string> = {
  'the longest allowed': 'harbour '.repeat(500).trim(),
  'one word of 4000 letters': 'a'.repeat(4000),
  'a quoted word of 3990 letters': `"${'b'.repeat(3990)}"`,
  '500 different words': Array.from({ length: 500 }, (_, i) => `w${(i + 26).toString(26)}`).join(' '),
  '4000 quotes': '"'.repeat(4000),
  '1000 empty phrases': '""'.repeat(1000) + ' harbour',
  '600 phrases': '"a b" '.repeat(600),
  '1900 exclusions': '-a '.repeat(1300),
  'nothing but dashes': '-'.repeat(4000),
  'nested dashes and quotes': '-"-"-"'.repeat(600),
  'an exclusion of everything': '-harbour -"harbour tariff" harbour',
  'tsquery operators': `harbour & | ! <-> <1000> :* :ABCD ( ) ' '' \\ \\\\ '!(a|b)'`,
  'an open tsquery': `'harbour & (`,
  'a regular expression': '(a+)+$ [a-z]{1,1000} (?=x) \\1 (.*)*',
  'what backtracks in identifiers': `${'A1-'.repeat(1300)}!`,
  'joints of identifiers': '1-_/'.repeat(900),
  '400 identifiers': Array.from({ length: 400 }, (_, i) => `INV-${10_000 + i}`).join(' '),
  'identifiers of 32 characters': Array.from({ length: 90 }, (_, i) => `AB${String(i).padStart(30, '7')}`).join(' '),
  SQL: `'; drop table ai.chunks; -- " OR 1=1 /* $$ \\'`,
  JSON: '{"$ne": null}',
  'LIKE wildcards': '%_%\\%',
  'Chinese without a space': '東京都港湾関税率'.repeat(500),
  'Thai, Khmer and Korean': 'ภาษาไทยកម្ពុជា한국어'.repeat(200),
  'half of a pair, and combining marks': `e${'\u0301'.repeat(3000)}`,
  'characters that NFKC makes longer': '\ufdfa'.repeat(4000),
  confusables: 'hаrbоur tаriff ｈａｒｂｏｕｒ ℌ𝔞𝔯𝔟𝔬𝔲𝔯',
  'directions, joiners and tags': '\u202eruobrah\u202c h\u200da\u200cr\u2060bour \u{e0041}\u{e0042}',
  emoji: '👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿'.repeat(100),
  'control characters': '\u0001\u0002\u001b[31m\u007f harbour\r\n\t\u000b',
  'one space': ' ',
  'only stop words': 'the of and is to',
}

/** Strings of the big list that Postgres takes as a text. */
export const naughtyStrings = (): string[] =>
  existsSync(NAUGHTY)
    ? (JSON.parse(readFileSync(NAUGHTY, 'utf8')) as string[]).filter((text) => text !== '' && !text.includes('\0'))
    : []

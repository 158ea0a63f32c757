/** How the offline models read text: words of any script, without accents or endings. */

const STOP_WORDS = new Set(
  (
    'a about above after again all also am an and any are as at be because been before being below between both but by can ' +
    'could did do does doing down during each few for from further had has have having he her here hers him his how i if in ' +
    'into is it its itself just let me more most my no nor not now of off on once only or other our ours out over own please ' +
    'same shall she should so some such tell than that the their theirs them then there these they this those through to too ' +
    'under until up us very was we were what when where which while who whom whose why will with would you your yours ' +
    'der die das ein eine einer eines und oder ist sind war im in zu zum zur von mit auf für an den dem des was wie wer wo ' +
    'wann warum welche welcher welches nicht es sich bei aus nach el la los las un una y o es son de del en por para con que ' +
    'qué cómo cuál cuándo dónde quién se su al le les des du et est sont une dans pour sur avec que qui quoi quel quelle où ' +
    'comment quand pourquoi и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по только ее мне ' +
    'было вот от меня еще нет о из ему'
  ).split(' '),
)

// Scripts written without spaces between words: read as overlapping pairs of characters.
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u
const TOKEN =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}ー]+|[\p{L}\p{M}\p{N}]+(?:['’][\p{L}]+)?/gu

/** A word as the offline models compare it. */
export type Term = { text: string; isStopWord: boolean; isUnspaced: boolean }

const ENDINGS = [
  'ization',
  'ations',
  'ation',
  'ments',
  'ment',
  'ness',
  'ings',
  'ing',
  'ies',
  'ied',
  'ers',
  'ed',
  'es',
  'er',
  'ly',
  's',
  'e',
  'y',
]

/** A word without its most common English endings, so that `cancelled` and `cancellation` meet. */
export function stem(word: string): string {
  if (word.length < 5 || /\d/.test(word))
    return word.length === 4 && word.endsWith('s') && !word.endsWith('ss') ? word.slice(0, 3) : word
  let result = word
  for (const ending of ENDINGS) {
    if (word.endsWith(ending) && word.length - ending.length >= 4 && !(ending === 's' && word.endsWith('ss'))) {
      result = word.slice(0, -ending.length)
      break
    }
  }
  return result.replace(/([bdfgklmnprt])\1$/, '$1').replace(/[ei]$/, '')
}

/** Lower case, compatibility forms folded, accents taken off. */
export function fold(text: string): string {
  return text
    .normalize('NFKD')
    .replace(/([\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}])\p{M}+/gu, '$1')
    .normalize('NFC')
    .toLowerCase()
}

/** The terms of a text, in order. */
export function terms(text: string): Term[] {
  const found: Term[] = []
  for (const [token] of fold(text).matchAll(TOKEN)) {
    if (UNSPACED.test(token)) {
      const characters = Array.from(token)
      if (characters.length === 1) found.push({ text: token, isStopWord: false, isUnspaced: true })
      for (let i = 0; i + 1 < characters.length; i++) {
        found.push({ text: `${characters[i]}${characters[i + 1]}`, isStopWord: false, isUnspaced: true })
      }
    } else {
      const word = token.replace(/['’](s|t|re|ve|ll|d|m)$/, '')
      found.push({ text: word, isStopWord: STOP_WORDS.has(word), isUnspaced: false })
    }
  }
  return found
}

/** Rough number of tokens of a text, for providers that do not count: characters / 4. */
export function estimateTokens(text: string): number {
  return Math.ceil(text.length / 4)
}

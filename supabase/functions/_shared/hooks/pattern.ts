import { AppError } from '../errors.ts'

/**
 * Regular expressions whose time grows with pattern and text only, never beyond: the text is read once, with all states the
 * pattern can be in kept side by side. JavaScript's own engine tries one way after another, and a pattern such as `(a+)+$`
 * keeps it busy for ever.
 *
 * What can be written: characters, `.` (line breaks too), classes, `\d \w \s` and their opposites, `\b \B ^ $`, groups,
 * `|`, and `* + ? {n} {n,} {n,m}`. Upper and lower case are the same. References back and looking around cannot: they need
 * what makes the other engine slow.
 */
export type Pattern = { test(text: string): boolean }

/** Characters of a pattern. */
export const MAX_PATTERN_CHARS = 500
/** Steps a pattern may be compiled to; counted repetitions are written out. */
const MAX_STATES = 1000
/** Groups inside each other. */
const MAX_DEPTH = 20

type Matcher = (char: string) => boolean
type Assertion = (text: readonly string[], at: number) => boolean
type Node =
  | { kind: 'char'; matches: Matcher }
  | { kind: 'assert'; holds: Assertion }
  | { kind: 'sequence'; parts: Node[] }
  | { kind: 'choice'; options: Node[] }
  | { kind: 'repeat'; part: Node; min: number; max: number }

const refuse = (message: string): AppError => new AppError('invalid_request', `Pattern: ${message}`)

const isWord = (char: string | undefined): boolean => char !== undefined && /^\w$/.test(char)
const atBoundary: Assertion = (text, at) => isWord(text[at - 1]) !== isWord(text[at])

const ASSERTIONS: Record<string, Assertion> = {
  '^': (_text, at) => at === 0,
  $: (text, at) => at === text.length,
  b: atBoundary,
  B: (text, at) => !atBoundary(text, at),
}

const CONTROLS: Record<string, string> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v' }

/** A class as JavaScript has it. One character is all it ever sees, so there is nothing to go back for. */
function classMatcher(source: string): Matcher {
  let expression: RegExp
  try {
    expression = new RegExp(`^${source}$`, 'iu')
  } catch (error) {
    throw new AppError('invalid_request', `Pattern: ${source.slice(0, 60)} is no character class`, { cause: error })
  }
  return (char) => expression.test(char)
}

function literal(char: string): Matcher {
  const lower = char.toLowerCase()
  return (other) => other === char || other.toLowerCase() === lower
}

/** Reads a pattern by recursive descent. */
class Reader {
  private at = 0
  private depth = 0
  private readonly chars: readonly string[]

  constructor(source: string) {
    this.chars = Array.from(source)
  }

  read(): Node {
    const node = this.choice()
    if (this.at < this.chars.length) throw refuse('a group is closed that was not opened')
    return node
  }

  private take(char: string): boolean {
    if (this.chars[this.at] !== char) return false
    this.at++
    return true
  }

  private choice(): Node {
    const options = [this.sequence()]
    while (this.take('|')) options.push(this.sequence())
    return options.length === 1 && options[0] ? options[0] : { kind: 'choice', options }
  }

  private sequence(): Node {
    const parts: Node[] = []
    for (
      let next = this.chars[this.at];
      next !== undefined && next !== '|' && next !== ')';
      next = this.chars[this.at]
    ) {
      parts.push(this.repeated())
    }
    return { kind: 'sequence', parts }
  }

  private repeated(): Node {
    const part = this.atom()
    const counts = this.quantifier()
    if (counts === null) return part
    if (part.kind === 'assert') throw refuse('there is nothing to repeat')
    // Lazy or not: whether it matches is all that is asked.
    this.take('?')
    if (this.quantifier() !== null) throw refuse('there is nothing to repeat')
    return { kind: 'repeat', part, ...counts }
  }

  private quantifier(): { min: number; max: number } | null {
    if (this.take('*')) return { min: 0, max: Infinity }
    if (this.take('+')) return { min: 1, max: Infinity }
    if (this.take('?')) return { min: 0, max: 1 }
    if (this.chars[this.at] !== '{') return null
    const end = this.chars.indexOf('}', this.at)
    const counts = end < 0 ? null : /^(\d{1,4})(,(\d{0,4}))?$/.exec(this.chars.slice(this.at + 1, end).join(''))
    if (!counts) throw refuse('{ must be followed by a count; write \\{ for the character')
    this.at = end + 1
    const min = Number(counts[1])
    const max = counts[2] === undefined ? min : counts[3] === '' ? Infinity : Number(counts[3])
    if (max < min) throw refuse('a repetition ends before it begins')
    return { min, max }
  }

  private atom(): Node {
    const char = this.chars[this.at++] ?? ''
    if (char === '(') return this.group()
    if (char === '[') return this.characterClass()
    if (char === '.') return { kind: 'char', matches: () => true }
    if (char === '\\') return this.escape()
    if (char === '^' || char === '$') return { kind: 'assert', holds: ASSERTIONS[char] as Assertion }
    if ('*+?{'.includes(char)) throw refuse('there is nothing to repeat')
    return { kind: 'char', matches: literal(char) }
  }

  private group(): Node {
    if (++this.depth > MAX_DEPTH) throw refuse(`groups may lie ${MAX_DEPTH} deep`)
    if (this.take('?') && !this.take(':')) throw refuse('only (...) and (?:...) are known')
    const inner = this.choice()
    if (!this.take(')')) throw refuse('a group is not closed')
    this.depth--
    return inner
  }

  private characterClass(): Node {
    const start = this.at - 1
    this.take('^')
    for (let char = this.chars[this.at++]; char !== ']'; char = this.chars[this.at++]) {
      if (char === undefined) throw refuse('a class is not closed')
      if (char === '\\') this.at++
    }
    return { kind: 'char', matches: classMatcher(this.chars.slice(start, this.at).join('')) }
  }

  private escape(): Node {
    const char = this.chars[this.at++]
    if (char === undefined) throw refuse('it ends with a backslash')
    if ('dDwWsS'.includes(char)) return { kind: 'char', matches: classMatcher(`\\${char}`) }
    if (char === 'b' || char === 'B') return { kind: 'assert', holds: ASSERTIONS[char] as Assertion }
    const control = CONTROLS[char]
    if (control !== undefined) return { kind: 'char', matches: literal(control) }
    if (/[\p{L}\p{N}]/u.test(char)) throw refuse(`\\${char} is not known`)
    return { kind: 'char', matches: literal(char) }
  }
}

type State =
  | { kind: 'char'; matches: Matcher; next: number }
  | { kind: 'assert'; holds: Assertion; next: number }
  | { kind: 'split'; next: number[] }
  | { kind: 'end' }

/** Builds the states from the end backwards, so that each knows the one after it. */
class Compiler {
  readonly states: State[] = [{ kind: 'end' }]

  /** Index of the state that begins this node and goes on with `next`. */
  compile(node: Node, next: number): number {
    switch (node.kind) {
      case 'char':
        return this.add({ kind: 'char', matches: node.matches, next })
      case 'assert':
        return this.add({ kind: 'assert', holds: node.holds, next })
      case 'sequence':
        return node.parts.reduceRight((after, part) => this.compile(part, after), next)
      case 'choice':
        return this.add({ kind: 'split', next: node.options.map((option) => this.compile(option, next)) })
      case 'repeat':
        return this.repeat(node, next)
    }
  }

  private repeat({ part, min, max }: Extract<Node, { kind: 'repeat' }>, next: number): number {
    let entry = next
    if (max === Infinity) {
      const loop: Extract<State, { kind: 'split' }> = { kind: 'split', next: [next] }
      entry = this.add(loop)
      loop.next.push(this.compile(part, entry))
    } else {
      for (let optional = max; optional > min; optional--) {
        entry = this.add({ kind: 'split', next: [next, this.compile(part, entry)] })
      }
    }
    for (let required = 0; required < min; required++) entry = this.compile(part, entry)
    return entry
  }

  private add(state: State): number {
    if (this.states.length >= MAX_STATES) throw refuse('it is too large; count less or write it shorter')
    return this.states.push(state) - 1
  }
}

/**
 * Compiles a pattern. It is found anywhere in a text unless it says `^` or `$`.
 * @throws AppError `invalid_request` for a pattern that is too long, too large or not understood.
 */
export function compilePattern(source: string): Pattern {
  if (source.length > MAX_PATTERN_CHARS) throw refuse(`it may have at most ${MAX_PATTERN_CHARS} characters`)
  const compiler = new Compiler()
  const start = compiler.compile(new Reader(source).read(), 0)
  const { states } = compiler
  return { test: (text) => run(states, start, Array.from(text)) }
}

function run(states: readonly State[], start: number, text: readonly string[]): boolean {
  let current: number[] = []
  for (let at = 0; at <= text.length; at++) {
    // From here too: the match may begin anywhere.
    const reached = reach(states, [...current, start], text, at)
    if (reached === null) return true
    const char = text[at]
    current = []
    if (char === undefined) return false
    for (const index of reached) {
      const state = states[index]
      if (state?.kind === 'char' && state.matches(char)) current.push(state.next)
    }
  }
  return false
}

/** All states that can be in without reading on; null when the end is among them. */
function reach(
  states: readonly State[],
  from: readonly number[],
  text: readonly string[],
  at: number,
): Set<number> | null {
  const reached = new Set<number>()
  const open = [...from]
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    if (reached.has(index)) continue
    reached.add(index)
    const state = states[index]
    if (state === undefined || state.kind === 'end') return null
    if (state.kind === 'split') open.push(...state.next)
    else if (state.kind === 'assert' && state.holds(text, at)) open.push(state.next)
  }
  return reached
}

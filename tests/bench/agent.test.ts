import { describe, expect, test } from 'vitest'
import { barsOf } from '../../bench/agent/bars.ts'
import { cpuMsOf, rssMegabytesOf } from '../../bench/agent/process-use.ts'
import { formatLine, loopLines, queryLines, streamsLines, time } from '../../bench/agent/report.ts'
import { type AgentResult, type Pair, pairOf, ratioOf, type Spread, spreadOf } from '../../bench/agent/results.ts'
import { answerPieces, createGate } from '../../bench/agent/script.ts'
import { delaysBetween, Timeline } from '../../bench/agent/timeline.ts'
import { verdict } from '../../bench/search/bars.ts'

const spread = (p50: number): Spread => ({ count: 100, p50, p99: 2 * p50 })
const pair = (ours: number, bare: number): Pair => ({ ours: spread(ours), bare: spread(bare), added: ours - bare })

/** A result of which every bar holds, at its limit. */
const goodResult = (): AgentResult => ({
  loop: {
    deltas: 401,
    first: pair(17, 2),
    event: spread(1),
    heldShare: 0.1,
    rest: pair(500, 100),
  },
  http: { first: pair(400, 1), started: spread(300) },
  token: { mint: spread(9), delegated: spread(90), call: spread(80) },
  queries: [{ name: 'one table', rows: 50, translate: spread(3), whole: pair(60, 2) }],
  streams: {
    streams: 100,
    deltas: 100,
    finished: 100,
    atOnce: 100,
    wallMs: 8000,
    first: spread(2500),
    memory: { before: 150, peak: 250, after: 240 },
    cpuMs: 1600,
  },
})

describe('the bars', () => {
  test('hold at their limits, and only the loop has to be fast', () => {
    expect(verdict(barsOf(goodResult()))).toBe('all bars hold')
  })

  test.each<[string, (result: AgentResult) => void]>([
    ['loop: added to first token, ms', ({ loop }) => (loop.first.added = 15.1)],
    ['loop: added per event p50, ms', ({ loop }) => (loop.event.p50 = 1.01)],
    ['loop: slower per event p50, ms', ({ loop }) => (loop.rest.added = 401)],
    ['streams that did not finish', ({ streams }) => (streams.finished = 99)],
    ['loop: added per event p50, ms', ({ loop }) => (loop.event.p50 = NaN)],
  ])('%s falls short', (name, spoil) => {
    const result = goodResult()
    spoil(result)
    const bars = barsOf(result)
    expect(bars.filter(({ holds }) => !holds).map((bar) => bar.name)).toEqual([name])
    expect(verdict(bars)).toMatch(new RegExp(`^short: ${name} `))
  })
})

describe('the summary', () => {
  test('takes the nearest rank', () => {
    const values = Array.from({ length: 200 }, (_, index) => 200 - index)
    expect(spreadOf(values)).toEqual({ count: 200, p50: 100, p99: 198 })
    expect(() => spreadOf([])).toThrow('no values')
  })

  test('what is added is the median of differences, not the difference of medians', () => {
    const both = pairOf([11, 2, 34], [1, 1, 30])
    expect(both.added).toBe(4)
    expect(both.ours.p50 - both.bare.p50).toBe(10)
    expect(ratioOf(both)).toBe(11)
    expect(() => pairOf([1, 2], [1])).toThrow('One of ours')
  })
})

describe('the way of a text', () => {
  const timeline = (...passages: [at: number, text: string][]) => {
    const made = new Timeline()
    for (const [at, text] of passages) made.add(text, at)
    return made
  }

  test('a piece has come when the last of it has', () => {
    const before = timeline([0, 'ab'], [10, 'cd'], [20, 'ef'])
    expect(delaysBetween(before, timeline([1, 'ab'], [12, 'cd'], [23, 'ef']))).toEqual({ delays: [1, 2, 3], held: 0 })
    expect(delaysBetween(before, timeline([1, 'a'], [12, 'bcd'], [23, 'ef']))).toEqual({ delays: [12, 2, 3], held: 1 })
    expect(delaysBetween(before, timeline([25, 'abcdef']))).toEqual({ delays: [25, 15, 5], held: 2 })
  })

  test('what is lost on it, or was never there, is not measured', () => {
    expect(() => delaysBetween(timeline([0, 'ab']), timeline([1, 'a']))).toThrow('2 characters went in, 1 came out')
    expect(() => new Timeline().first).toThrow('No text')
    expect(timeline([3, 'a'], [5, 'b'])).toMatchObject({ first: 3, last: 5, chars: 2 })
  })
})

describe('the script', () => {
  test('says the same every time, a word a piece, and as much as is wanted', () => {
    const pieces = answerPieces(400)
    expect(pieces).toEqual(answerPieces(400))
    expect(pieces).toHaveLength(400)
    expect(pieces.every((piece) => /^\s*\S+$/.test(piece))).toBe(true)
    expect(pieces.join('')).toMatch(/\n- \*\*Item 4:\*\* .* `open`\?/)
    expect(answerPieces(400, 8)).not.toEqual(pieces)
  })

  test('the gate opens for the last one', async () => {
    const gate = createGate(3, 60_000)
    const passed: number[] = []
    const pass = async (number: number) => {
      await gate.pass()
      passed.push(number)
    }
    const early = [pass(1), pass(2)]
    await new Promise((resolve) => setImmediate(resolve))
    expect([passed, gate.mostAtOnce()]).toEqual([[], 2])
    await Promise.all([...early, pass(3)])
    expect([passed, gate.mostAtOnce()]).toEqual([[1, 2, 3], 3])
  })

  test('the gate opens without those that never come', async () => {
    const gate = createGate(2, 1)
    await gate.pass()
    expect(gate.mostAtOnce()).toBe(1)
  })
})

describe('what a process has used', () => {
  test('is read behind a name that looks like fields', () => {
    const stat = '4242 (deno (v) 9 9) S 1 4242 4242 0 -1 4194304 100 0 0 0 123 45 7 8 20 0 12 0 99'
    expect(cpuMsOf(stat)).toBe(1680)
    expect(() => cpuMsOf('4242 (deno) S 1')).toThrow('no line')
  })

  test('is memory in RAM, not the most there ever was', () => {
    expect(rssMegabytesOf('Name:\tdeno\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\nThreads:\t12\n')).toBe(100)
    expect(() => rssMegabytesOf('Name:\tdeno\n')).toThrow('no VmRSS')
  })
})

describe('the report', () => {
  test('has one line per figure, with a ratio beside what was added', () => {
    const { loop, queries } = goodResult()
    const lines = [...loopLines(loop), ...queryLines(queries)].map(formatLine)
    expect(lines.join('\n')).not.toMatch(/NaN|undefined/)
    expect(lines[0]).toMatch(/^loop, first token +added 15\.0 ms  loop 17\.0 ms .*bare stream 2\.0 ms, 8\.5x/)
    expect(lines.at(-1)).toMatch(/^query, one table: whole, 50 rows +added 58\.0 ms .* 30x/)
  })

  test('says where nothing is known', () => {
    const { streams } = goodResult()
    const known = streamsLines(streams).map(([, value]) => value)
    expect(known[2]).toBe('1.60 s, 16.0 ms a stream, 160 µs a piece, 20% of a core')
    expect(known[3]).toBe('150 MB before, 250 MB at most, 240 MB after, 1 MB a stream')
    const unknown = streamsLines({ ...streams, cpuMs: null, memory: null }).map(([, value]) => value)
    expect(unknown.slice(2)).toEqual(['only known on Linux', 'only known on Linux'])
  })

  test('writes short times in microseconds', () => {
    expect([0.0075, -0.05, 0.9999, 12.34, 2500].map(time)).toEqual(['7.5 µs', '-50 µs', '1.0 ms', '12.3 ms', '2.50 s'])
  })
})

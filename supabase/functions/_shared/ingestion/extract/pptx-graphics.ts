import { markdownTable } from './markdown-table.ts'
import { builtInFormat, formatOf, type NumberFormat, showNumber } from './number-formats.ts'
import { readXml } from './xml.ts'

/** Most values of one chart; of a larger one only its title is read. */
const MAX_VALUES = 20_000

type Series = { name: string; categories: Map<number, string>; values: Map<number, string> }
/** Elements of a series whose points are read, and where they go. */
const POINTS: ReadonlyMap<string, 'categories' | 'values'> = new Map([
  ['c:cat', 'categories'],
  ['c:xVal', 'categories'],
  ['c:val', 'values'],
  ['c:yVal', 'values'],
])

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim()

class ChartReader {
  title = ''
  readonly series: Series[] = []
  private points: 'categories' | 'values' | 'name' | null = null
  private point = 0
  private format: NumberFormat = 'number'
  private is1904 = false
  private inPlot = false
  private into: 'title' | 'value' | 'format' | null = null
  private text = ''

  open(name: string, attributes: Record<string, string>): void {
    if (name === 'c:date1904') this.is1904 = attributes['val'] === '1' || attributes['val'] === 'true'
    else if (name === 'c:plotArea') this.inPlot = true
    else if (name === 'c:ser') this.series.push({ name: '', categories: new Map(), values: new Map() })
    else if (name === 'c:tx' && this.inPlot) this.points = 'name'
    else if (POINTS.has(name)) {
      this.points = POINTS.get(name) ?? null
      this.format = builtInFormat(0)
    } else if (name === 'c:pt') this.point = Number(attributes['idx'])
    else if (name === 'a:t' && !this.inPlot) this.begin('title')
    else if (name === 'c:v') this.begin('value')
    else if (name === 'c:formatCode') this.begin('format')
  }

  private begin(into: 'title' | 'value' | 'format'): void {
    this.into = into
    this.text = ''
  }

  add(text: string): void {
    if (this.into) this.text += text
  }

  close(name: string): void {
    if (name === 'c:plotArea') this.inPlot = false
    else if (name === 'c:tx' || POINTS.has(name)) this.points = null
    else if (this.into && (name === 'a:t' || name === 'c:v' || name === 'c:formatCode')) {
      if (this.into === 'title') this.title += this.text
      else if (this.into === 'format') this.format = formatOf(this.text)
      else this.store(this.text)
      this.into = null
    }
  }

  private store(text: string): void {
    const series = this.series.at(-1)
    if (!series || !this.points) return
    if (this.points === 'name') {
      series.name ||= oneLine(text)
      return
    }
    const number = text.trim() === '' ? NaN : Number(text)
    const shown = Number.isFinite(number) ? showNumber(number, this.format, this.is1904) : oneLine(text)
    // Of categories in several levels the first is the most exact.
    if (!series[this.points].has(this.point)) series[this.points].set(this.point, shown)
  }
}

/** A chart as its title and a table of its values: a row per category, a column per series. @throws XmlError */
export function readChart(xml: string): string {
  const chart = new ChartReader()
  for (const event of readXml(xml)) {
    if (event.type === 'text') chart.add(event.text)
    else if (event.type === 'open') chart.open(event.name, event.attributes)
    else chart.close(event.name)
  }
  const { series } = chart
  const categories = series.find((each) => each.categories.size > 0)?.categories ?? new Map<number, string>()
  const points = [...new Set(series.flatMap(({ values }) => [...values.keys()]))].sort((one, other) => one - other)
  const header = ['', ...series.map(({ name }, index) => name || `Series ${index + 1}`)]
  const isTooLarge = points.length * series.length > MAX_VALUES
  const rows = isTooLarge
    ? []
    : points.map((point) => [categories.get(point) ?? '', ...series.map(({ values }) => values.get(point) ?? '')])
  return [oneLine(chart.title), rows.length > 0 ? markdownTable([header, ...rows]) : ''].filter(Boolean).join('\n\n')
}

/** The texts of a diagram, as a list. @throws XmlError */
export function readDiagram(xml: string): string {
  const items: string[] = []
  let inText = false
  let text = ''
  for (const event of readXml(xml)) {
    if (event.type === 'text') text += inText ? event.text : ''
    else if (event.name === 'a:t') inText = event.type === 'open'
    else if (event.name === 'dgm:pt') {
      const item = oneLine(text)
      if (event.type === 'close' && item) items.push(`- ${item}`)
      text = ''
    } else if (event.name === 'a:p' || event.name === 'a:br') text += ' '
  }
  return items.join('\n')
}

/** As much of a document as React's renderer touches: elements with children and text. Events never happen. */

class StubNode {
  readonly nodeType: number
  readonly nodeName: string
  readonly ownerDocument: StubDocument
  parentNode: StubNode | null = null
  childNodes: StubNode[] = []
  nodeValue = ''
  readonly style = {}
  readonly namespaceURI = 'http://www.w3.org/1999/xhtml'

  constructor(document: StubDocument, nodeType: number, nodeName: string, nodeValue = '') {
    this.ownerDocument = document
    this.nodeType = nodeType
    this.nodeName = nodeName
    this.nodeValue = nodeValue
  }

  get tagName(): string {
    return this.nodeName
  }
  get firstChild(): StubNode | null {
    return this.childNodes[0] ?? null
  }
  get lastChild(): StubNode | null {
    return this.childNodes.at(-1) ?? null
  }
  get textContent(): string {
    return this.nodeType === 3 ? this.nodeValue : this.childNodes.map((child) => child.textContent).join('')
  }
  set textContent(text: string) {
    if (this.nodeType === 3) this.nodeValue = text
    else this.childNodes = text === '' ? [] : [new StubNode(this.ownerDocument, 3, '#text', text)]
  }
  insertBefore(child: StubNode, before: StubNode | null): StubNode {
    child.parentNode?.removeChild(child)
    const at = before === null ? this.childNodes.length : this.childNodes.indexOf(before)
    this.childNodes.splice(at, 0, child)
    child.parentNode = this
    return child
  }
  appendChild(child: StubNode): StubNode {
    return this.insertBefore(child, null)
  }
  removeChild(child: StubNode): StubNode {
    this.childNodes = this.childNodes.filter((other) => other !== child)
    child.parentNode = null
    return child
  }
  setAttribute(): void {}
  removeAttribute(): void {}
  addEventListener(): void {}
  removeEventListener(): void {}
}

class StubDocument extends StubNode {
  readonly defaultView: object
  readonly activeElement = null

  constructor(window: object) {
    super(undefined as never, 9, '#document')
    this.defaultView = window
  }
  createElement = (name: string) => new StubNode(this, 1, name.toUpperCase())
  createElementNS = (_namespace: string, name: string) => this.createElement(name)
  createTextNode = (text: string) => new StubNode(this, 3, '#text', text)
}

/** Sets up globals that React asks for, and gives an element to render into. `remove` takes them away: others would take this for a browser. */
export function installStubDom(): { container: Element; text: () => string; remove: () => void } {
  const window: Record<string, unknown> = { event: undefined, HTMLIFrameElement: class {} }
  const document = new StubDocument(window)
  window['document'] = document
  const globals = { window, document, IS_REACT_ACT_ENVIRONMENT: true }
  Object.assign(globalThis, globals)
  const container = document.createElement('div')
  return {
    container: container as unknown as Element,
    text: () => container.textContent,
    remove: () => Object.keys(globals).forEach((name) => Reflect.deleteProperty(globalThis, name)),
  }
}

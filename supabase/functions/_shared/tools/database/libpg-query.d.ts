/** What is used of the package's Emscripten module. Pointers are numbers; 0 is null. */
export type ParserModule = {
  lengthBytesUTF8(text: string): number
  stringToUTF8(text: string, pointer: number, bytes: number): void
  UTF8ToString(pointer: number): string
  getValue(pointer: number, type: 'i32'): number
  _malloc(bytes: number): number
  _free(pointer: number): void
  _wasm_parse_query_raw(query: number): number
  _wasm_free_parse_result(result: number): void
}

type ModuleOptions = {
  /** Path of the wasm file; called unless `instantiateWasm` is given. */
  locateFile?: (name: string, folder: string) => string
  /** Instantiates the wasm file in the module's stead. */
  instantiateWasm?: (imports: WebAssembly.Imports, receive: (instance: WebAssembly.Instance) => void) => void
}

/** Makes an instance of the parser. */
export default function createModule(options: ModuleOptions): Promise<ParserModule>

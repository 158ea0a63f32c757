/**
 * What is used of the official SDK. Its package names the types of `x.js` as `x.js.d.ts`, which is nowhere: TypeScript then
 * looks beside the file, Deno has to be told.
 */
// @ts-types="@modelcontextprotocol/sdk/server/mcp"
export { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
// @ts-types="@modelcontextprotocol/sdk/server/webStandardStreamableHttp"
export { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
// @ts-types="@modelcontextprotocol/sdk/types"
export type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
// @ts-types="@modelcontextprotocol/sdk/validation/ajv-provider"
export { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv-provider.js'

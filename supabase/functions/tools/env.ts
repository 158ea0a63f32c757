import type { AppEnv, Deps } from '../_shared/context.ts'
import type { ToolCallClaims } from '../_shared/tool-tokens.ts'

/** Dependencies of the function `tools`. */
export type ToolsDeps = Deps & {
  /** @throws AppError `unauthenticated` for anything but a tool token of this project, made for this function's origin. */
  verifyToolToken: (token: string | undefined) => Promise<ToolCallClaims>
  /** Marks a token as used; false when it was before. */
  burnToolCallToken: (jti: string, expiresAt: Date) => Promise<boolean>
}
export type ToolsEnv = AppEnv<ToolsDeps>

import { z } from 'zod'

const URL_FORM = /^https?:\/\/[a-z0-9.:_[\]-]+([/?#][!-[\]-~]*)?$/i

/**
 * An address that requests may be sent to: http or https, without a name or password in it. Whether it may really be
 * reached is decided when it is, because only then it is known where its name leads.
 * @param field how messages call it.
 */
export const outboundUrl = (field: string) =>
  z
    .string(`${field} is required`)
    .max(2048, `${field} may have 2048 characters`)
    .refine(
      (url) => URL_FORM.test(url) && URL.canParse(url),
      `${field} must be an address that begins with https:// or http://, without a password in it`,
    )

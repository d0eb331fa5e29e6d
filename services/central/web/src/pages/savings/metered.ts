/** The ledger moves on once a minute, in milliseconds. */
export const metered = 60_000

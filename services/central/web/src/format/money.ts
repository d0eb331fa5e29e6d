const formats = new Map<string, Intl.NumberFormat>()

function format(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = JSON.stringify(options)
  let made = formats.get(key)
  if (!made) formats.set(key, (made = new Intl.NumberFormat('en-US', options)))
  return made
}

/** Hours that a month has, as AWS and central count. */
export const hoursPerMonth = 730

/** USD with as many digits as its size needs: $0.0416, $3.84, $1,204. */
export function money(usd: number | null | undefined): string {
  if (usd === null || usd === undefined || !Number.isFinite(usd)) return '–'
  const size = Math.abs(usd)
  const digits = size === 0 ? 2 : size < 0.1 ? 4 : size < 1000 ? 2 : 0
  const text = format({ style: 'currency', currency: 'USD', minimumFractionDigits: digits, maximumFractionDigits: digits }).format(size)
  return usd < 0 && Number(size.toFixed(digits)) !== 0 ? `−${text}` : text
}

/** USD in short, for axes: $1.2K. */
export function shortMoney(usd: number): string {
  const text = format({ style: 'currency', currency: 'USD', notation: 'compact', maximumFractionDigits: Math.abs(usd) < 10 ? 2 : 1 }).format(Math.abs(usd))
  return usd < 0 ? `−${text}` : text
}

/** A difference in USD with its sign. */
export function moneyChange(usd: number): string {
  return usd > 0 ? `+${money(usd)}` : money(usd)
}

/** 0 to 1 as a percentage: 0.4 %, 12.5 %, 61 %. */
export function percent(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return '–'
  const size = Math.abs(ratio * 100)
  const digits = size === 0 || size >= 20 ? 0 : 1
  const text = `${format({ minimumFractionDigits: digits, maximumFractionDigits: digits }).format(size)}%`
  return ratio < 0 && Number(size.toFixed(digits)) !== 0 ? `−${text}` : text
}

/** A count with thousands separated. */
export function count(n: number | null | undefined): string {
  return n === null || n === undefined || !Number.isFinite(n) ? '–' : format({ maximumFractionDigits: 0 }).format(n)
}

/** A number with at most so many digits behind the point. */
export function decimal(n: number | null | undefined, digits = 1): string {
  return n === null || n === undefined || !Number.isFinite(n) ? '–' : format({ maximumFractionDigits: digits }).format(n)
}

/** 1 node, 4 nodes. */
export function many(n: number, one: string, more = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : more}`
}

/** Bytes in binary units. */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024
    unit++
  }
  return `${decimal(n, unit === 0 ? 0 : 1)} ${units[unit]}`
}

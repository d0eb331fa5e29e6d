import { createColumnHelper, createSortedRowModel, rowSortingFeature, sortFn_basic, tableFeatures, useTable, type SortingState } from '@tanstack/react-table'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useMemo, useRef, type KeyboardEvent, type ReactNode } from 'react'
import type { Fault } from '@/api/fault'
import { cx } from './cx'
import { FaultView } from './Empty'
import { Icon } from './Icon'
import { Tip } from './Tip'

/** A column. It can be sorted by if it has a value (sorted here) or the table sorts on the server and `sortable` is set. */
export interface Column<T> {
  /** Also the server's name for sorting by it. */
  id: string
  header: string
  cell: (row: T) => ReactNode
  /** What is sorted by. */
  value?: (row: T) => string | number | undefined
  sortable?: boolean
  align?: 'right'
  /** CSS width, e.g. 8rem; without: what is left. */
  width?: string
  /** Explains the column. */
  hint?: string
}

interface Props<T> {
  /** What the table lists, for screen readers. */
  label: string
  columns: Column<T>[]
  rows: T[]
  rowId: (row: T) => string
  /** As the API has it: a column's id, with " desc" behind it to turn round. */
  sort?: string
  onSort?: (sort: string) => void
  /** The server sorts: rows come in the right order. */
  sortedByServer?: boolean
  /** A row was clicked, or Enter pressed on it. */
  onOpen?: (row: T) => void
  /** The row that is looked at. */
  current?: string
  loading?: boolean
  fault?: Fault | null
  retry?: () => void
  /** Shown when there are no rows. */
  empty?: ReactNode
  more?: { has: boolean; loading: boolean; load: () => void }
  /** Most height, CSS; rows beyond it are drawn when scrolled to. */
  height?: string
  /** Rows are old: they are greyed. */
  stale?: boolean
}

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel(), sortFns: { basic: sortFn_basic } })
const rowHeight = 38

/** The one table: sorts, draws only what is seen, is walked with the arrow keys. */
export function DataTable<T>(props: Props<T>) {
  const { label, columns, rows, rowId, sort = '', onSort, sortedByServer, onOpen, current, loading, fault, retry, empty, more, height = '32rem', stale } = props
  const scroller = useRef<HTMLDivElement>(null)

  const sorting = useMemo<SortingState>(() => {
    const [id, direction] = sort.split(' ')
    return id ? [{ id, desc: direction === 'desc' }] : []
  }, [sort])
  const defs = useMemo(() => {
    const helper = createColumnHelper<typeof features, T & object>()
    return columns.map((column) =>
      helper.accessor((row): unknown => column.value?.(row), {
        id: column.id,
        header: column.header,
        sortFn: 'basic',
        sortUndefined: 'last',
        enableSorting: Boolean(onSort) && (sortedByServer ? column.sortable === true : column.value !== undefined),
      }),
    )
  }, [columns, onSort, sortedByServer])
  const table = useTable({
    features,
    columns: defs,
    data: rows as (T & object)[],
    getRowId: rowId,
    state: { sorting },
    manualSorting: sortedByServer,
  })
  const shown = table.getRowModel().rows
  // oxlint-disable-next-line react-hooks-js/incompatible-library -- the virtualizer is meant to be read while rendering
  const virtual = useVirtualizer({ count: shown.length, getScrollElement: () => scroller.current, estimateSize: () => rowHeight, overscan: 12 })
  const items = virtual.getVirtualItems()
  const first = items[0]
  const last = items[items.length - 1]
  const above = first?.start ?? 0
  const below = last ? virtual.getTotalSize() - last.end : 0

  const nearEnd = last ? last.index >= shown.length - 15 : true
  const { has, loading: loadingMore, load } = more ?? {}
  useEffect(() => {
    if (nearEnd && has && !loadingMore) load?.()
  }, [nearEnd, has, loadingMore, load])

  const walk = (event: KeyboardEvent<HTMLTableRowElement>, index: number) => {
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: shown.length - 1, PageDown: index + 10, PageUp: index - 10 }[event.key]
    if (event.key === 'Enter' && event.target === event.currentTarget) onOpen?.(shown[index]!.original)
    if (to === undefined || event.target !== event.currentTarget) return
    event.preventDefault()
    const target = Math.max(0, Math.min(shown.length - 1, to))
    virtual.scrollToIndex(target)
    requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`tr[data-index="${target}"]`)?.focus())
  }

  if (fault && rows.length === 0) return <FaultView fault={fault} retry={retry} />
  if (!loading && rows.length === 0) return <>{empty}</>
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
    <div ref={scroller} role="group" aria-label={label} tabIndex={onOpen ? -1 : 0} className="relative overflow-auto -outline-offset-2" style={{ maxHeight: height }}>
      <table aria-label={label} aria-rowcount={more?.has ? -1 : shown.length + 1} aria-busy={loading || undefined} className={cx('w-full border-collapse text-left', stale && 'is-stale')}>
        <colgroup>
          {columns.map((column) => (
            <col key={column.id} style={column.width ? { width: column.width } : undefined} />
          ))}
        </colgroup>
        <thead className="sticky top-0 z-10 bg-panel shadow-[inset_0_-1px_0_var(--line)]">
          <tr>
            {columns.map((column) => (
              <Head key={column.id} column={column} sort={sorting[0]} can={table.getColumn(column.id)?.getCanSort() ?? false} onSort={onSort} />
            ))}
          </tr>
        </thead>
        <tbody>
          {loading && rows.length === 0 && <LoadingRows columns={columns.length} />}
          {above > 0 && <Spacer height={above} columns={columns.length} />}
          {items.map((item) => {
            const row = shown[item.index]!
            return (
              <tr
                key={row.id}
                data-index={item.index}
                aria-rowindex={item.index + 2}
                aria-current={current === row.id || undefined}
                tabIndex={onOpen ? 0 : undefined}
                onKeyDown={(event) => walk(event, item.index)}
                onClick={(event) => {
                  const inner = (event.target as HTMLElement).closest('a, button, input, select, label')
                  if (!inner && !window.getSelection()?.toString()) onOpen?.(row.original)
                }}
                style={{ height: rowHeight }}
                className={cx('border-b border-line/70 outline-offset-[-2px] last:border-0', onOpen && 'cursor-pointer hover:bg-hover', current === row.id && 'bg-accent-soft')}
              >
                {columns.map((column) => (
                  <td key={column.id} className={cx('px-2.5 py-1 whitespace-nowrap first:pl-4 last:pr-4', column.align === 'right' && 'text-right')}>
                    {column.cell(row.original)}
                  </td>
                ))}
              </tr>
            )
          })}
          {below > 0 && <Spacer height={below} columns={columns.length} />}
        </tbody>
      </table>
      {loadingMore && (
        <p role="status" className="flex items-center justify-center gap-2 py-2 text-sm text-ink-3">
          <Icon name="refresh" size={13} className="spin" /> Loading more
        </p>
      )}
      {fault && rows.length > 0 && <p className="px-4 py-2 text-sm text-bad">{fault.message}</p>}
    </div>
  )
}

function Head<T>({ column, sort, can, onSort }: { column: Column<T>; sort?: { id: string; desc: boolean }; can: boolean; onSort?: (sort: string) => void }) {
  const by = sort?.id === column.id
  const name = column.hint ? (
    <Tip text={column.hint}>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- the hint must be reachable by keyboard */}
      <span tabIndex={can ? undefined : 0} className="underline decoration-line-strong decoration-dotted underline-offset-3">
        {column.header}
      </span>
    </Tip>
  ) : (
    column.header
  )
  return (
    <th
      scope="col"
      aria-sort={can ? (by ? (sort.desc ? 'descending' : 'ascending') : 'none') : undefined}
      className={cx('h-9 px-2.5 text-xs font-medium whitespace-nowrap text-ink-3 first:pl-4 last:pr-4', column.align === 'right' && 'text-right')}
    >
      {can ? (
        <button
          type="button"
          onClick={() => onSort?.(by ? (sort.desc ? '' : `${column.id} desc`) : column.id)}
          className={cx('inline-flex min-h-6 items-center gap-1 align-middle hover:text-ink', by && 'text-ink', column.align === 'right' && 'flex-row-reverse')}
        >
          {name}
          <Icon name={by ? (sort.desc ? 'down' : 'up') : 'sort'} size={12} className={by ? '' : 'opacity-50'} />
        </button>
      ) : (
        name
      )}
    </th>
  )
}

function Spacer({ height, columns }: { height: number; columns: number }) {
  return (
    <tr aria-hidden="true" style={{ height }}>
      <td colSpan={columns} />
    </tr>
  )
}

function LoadingRows({ columns }: { columns: number }) {
  return Array.from({ length: 6 }, (_, i) => (
    <tr key={i} aria-hidden="true" style={{ height: rowHeight }}>
      {Array.from({ length: columns }, (__, j) => (
        <td key={j} className="px-3 first:pl-4">
          <div className={cx('skeleton h-3.5', (i + j) % 3 === 0 ? 'w-3/4' : (i + j) % 3 === 1 ? 'w-1/2' : 'w-2/3')} />
        </td>
      ))}
    </tr>
  ))
}

import { Link, type ErrorComponentProps } from '@tanstack/react-router'
import { faultOf } from '@/api/fault'
import { Button, buttonClass } from '@/ui/Button'
import { Empty } from '@/ui/Empty'
import { Page } from '@/ui/Page'

/** An address that leads nowhere. */
export function NotFound() {
  return (
    <Page title="Not found">
      <Empty icon="search" title="There is nothing at this address" action={<Link to="/" className={buttonClass('primary')}>To the overview</Link>}>
        The link may be old, or what it named is another customer's.
      </Empty>
    </Page>
  )
}

/** A page that broke. The rest of the product stays usable. */
export function Crashed({ error, reset }: ErrorComponentProps) {
  return (
    <Page title="Something broke">
      <div role="alert">
        <Empty
          icon="error"
          title="This page ran into an error"
          action={
            <>
              <Button icon="refresh" kind="primary" onClick={reset}>
                Try again
              </Button>
              <Link to="/" className={buttonClass()}>
                To the overview
              </Link>
            </>
          }
        >
          <code className="font-mono text-xs break-words">{faultOf(error).message}</code>
        </Empty>
      </div>
    </Page>
  )
}

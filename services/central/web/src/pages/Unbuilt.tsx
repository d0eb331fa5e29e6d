import { Empty } from '@/ui/Empty'
import { Page } from '@/ui/Page'

/** Stands where a page will be. */
export function Unbuilt({ title }: { title: string }) {
  return (
    <Page title={title}>
      <Empty icon="info" title="This page is not built yet">
        What it will show is in the REST API already: <a className="text-accent underline" href="/openapi.json">/openapi.json</a>
      </Empty>
    </Page>
  )
}

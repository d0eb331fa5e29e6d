import { Unbuilt } from '@/pages/Unbuilt'

export function Connect() {
  return <Unbuilt title="Connect a cluster" />
}

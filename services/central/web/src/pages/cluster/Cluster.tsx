import { Unbuilt } from '@/pages/Unbuilt'

export function Cluster() {
  return <Unbuilt title="Cluster" />
}

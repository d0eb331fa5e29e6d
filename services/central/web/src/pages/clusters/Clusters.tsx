import { Unbuilt } from '@/pages/Unbuilt'

export function Clusters() {
  return <Unbuilt title="Clusters" />
}

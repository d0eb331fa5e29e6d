import { sentence } from '@/format/words'

/** Why a node goes or stays, for people. */
const reasons: Record<string, string> = {
  replaced: 'Its pods fit elsewhere for less',
  spot_already: 'It is spot already',
  do_not_disrupt: 'The node forbids disruption',
  pod_do_not_disrupt: 'A pod on it forbids disruption',
  pdb_blocks: 'A disruption budget allows no eviction',
  unmanaged_pod: 'A pod on it would not come back',
  local_volume: 'A pod on it keeps data on the node',
  no_saving: 'Taking it away saves nothing',
  on_demand_floor: 'So much must stay on demand',
  spot_share: 'No more may be spot',
  not_ready: 'It is not ready',
  not_ec2: 'It is no EC2 instance',
  cordoned_by_other: 'Somebody else cordoned it',
  unschedulable_pod: 'A pod on it would find no place',
  on_demand_pods: 'A pod on it must stay on demand',
  zone_share: 'Too much would be in one zone',
  min_pools: 'Too few pools would be left',
  protected_namespace: 'A protected namespace runs on it',
  max_evictions: 'No more pods may be evicted',
  max_nodes_disrupted: 'No more nodes may be disrupted',
  sleeps: 'It sleeps',
  shared: 'A pod on it stays awake',
  no_sleeper: 'Nothing on it sleeps',
  no_common_sleep: 'Its pods do not sleep together',
  node_labels: 'A pod wants a label that a new node would lack',
}

export const reasonText = (reason: string): string => reasons[reason] ?? sentence(reason)

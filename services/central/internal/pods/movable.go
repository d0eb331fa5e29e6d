// Package pods tells what a drain does with the pods of an inventory.
package pods

import (
	"slices"
	"time"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// SettleWithin is how long a drained node may look occupied: the inventory is up
// to half a second behind the drain's own report.
const SettleWithin = 10 * time.Second

const unschedulableTaint = "node.kubernetes.io/unschedulable"

// Movable says whether a drain takes the pod away: it is not finished, not the
// node's own, and not of the kind that returns to a cordoned node as often as it is evicted.
func Movable(pod *fleetv1.Pod) bool {
	if pod.GetMirror() || pod.GetOwner().GetKind() == "DaemonSet" || pod.GetPhase() == "Succeeded" || pod.GetPhase() == "Failed" {
		return false
	}
	return !slices.ContainsFunc(pod.GetTolerations(), func(t *fleetv1.Toleration) bool {
		key := t.GetKey() == unschedulableTaint || (t.GetKey() == "" && t.GetOperator() == "Exists")
		return key && (t.GetEffect() == "" || t.GetEffect() == "NoSchedule")
	})
}

package pods

import (
	"strings"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Workload that a pod is of: the Deployment where its ReplicaSet is one's, which the
// name tells; a pod that nobody owns is its own.
func Workload(pod *fleetv1.Pod) (kind, name string) {
	kind, name = pod.GetOwner().GetKind(), pod.GetOwner().GetName()
	if kind == "" {
		return "Pod", pod.GetName()
	}
	hash := pod.GetLabels()["pod-template-hash"]
	if deployment, ok := strings.CutSuffix(name, "-"+hash); ok && kind == "ReplicaSet" && hash != "" {
		return "Deployment", deployment
	}
	return kind, name
}

package change

import (
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
)

// Moves of the pods on the nodes that go, in the order of the drains, to where landed has them.
// They are expected where the scheduler decides.
func (p Plan) Moves(w *scene.World, landed *fit.Cluster, expected bool) []*mlv1.PodMove {
	var all []*mlv1.PodMove
	for _, n := range p.Gone {
		for _, i := range w.Nodes[n].Moves {
			pod := w.Book.Pod(i)
			move := &mlv1.PodMove{
				Namespace: pod.GetNamespace(), Name: pod.GetName(), Uid: pod.GetUid(), FromNode: pod.GetNodeName(), Expected: expected,
			}
			if at := landed.At(i); at >= 0 {
				move.ToNode = landed.Node(at).Name
			}
			all = append(all, move)
		}
	}
	return all
}

// NewNodes are Metrics without instances: they have none before they are launched.
func (p Plan) NewNodes(w *scene.World) []*fleetv1.NodeMetric {
	all := p.Metrics(w)
	for _, n := range all {
		n.InstanceId = ""
	}
	return all
}

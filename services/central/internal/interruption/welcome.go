package interruption

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// welcome labels the replacement's node when it has joined: nobody else does, and
// pods choose between spot and on demand by these labels.
func (s *Service) welcome(ctx context.Context, i *store.Interruption) error {
	if i.Replacement != "launched" {
		return nil
	}
	node, err := s.Store.NodeOf(ctx, i.Cluster, i.ReplacementInstance)
	if err != nil || node == nil {
		return err
	}
	id := labelTask(i)
	known, err := s.Store.TaskOutcomes(ctx, []uuid.UUID{id})
	if err != nil || known[id].Status != "" {
		return err
	}
	parameters, err := asStruct(&fleetv1.LabelNodeParameters{
		NodeName: node.GetNodeName(), InstanceId: i.ReplacementInstance, Labels: labels(i),
	})
	if err != nil {
		return fmt.Errorf("encoding the labels of node %s: %w", node.GetNodeName(), err)
	}
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		return s.Dispatch.Add(ctx, tx, &fleetv1.Task{
			TaskId: id.String(), ClusterId: i.Cluster.String(), TaskType: "label_node", Parameters: parameters, Priority: 3,
			Deadline: timestamppb.New(time.Now().Add(5 * time.Minute)), CreatedBy: actor, Traceparent: i.Traceparent,
			Cause: "interruption",
		})
	})
	if err == nil {
		s.Dispatch.Announce(ctx, i.Cluster)
	}
	return err
}

func labelTask(i *store.Interruption) uuid.UUID {
	return uuid.NewSHA1(i.ID, []byte("label "+i.ReplacementInstance))
}

func labels(i *store.Interruption) map[string]string {
	nodeType, eks := "on-demand", "ON_DEMAND"
	if strings.HasSuffix(i.ReplacementPool, "/spot") {
		nodeType, eks = "spot", "SPOT"
	}
	return map[string]string{
		"cloudoptim.io/capacity-type": nodeType, "cloudoptim.io/managed": "true", "cloudoptim.io/interruption-id": i.ID.String(),
		"eks.amazonaws.com/capacityType": eks, "karpenter.sh/capacity-type": nodeType,
	}
}

// unwelcomed tells whether the replacement is still on its way.
func (s *Service) unwelcomed(ctx context.Context, i *store.Interruption) (bool, error) {
	if i.Replacement == "pending" {
		return true, nil
	}
	if i.Replacement != "launched" || time.Since(i.OpenedAt) > labelWithin {
		return false, nil
	}
	known, err := s.Store.TaskOutcomes(ctx, []uuid.UUID{labelTask(i)})
	return known[labelTask(i)].Status == "", err
}

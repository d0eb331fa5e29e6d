package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// atOnce bounds how many predictions one statement judges or drops.
const atOnce = 20_000

// ForetoldFor is the time from a prediction on that it speaks of.
const ForetoldFor = 24 * time.Hour

// UnjudgedNode is a spot node whose risk is to be asked for.
type UnjudgedNode struct {
	Cluster                              uuid.UUID
	Region, Node, InstanceID, Type, Zone string
	// HourlyPrice in USD; 0: not known.
	HourlyPrice   float64
	UptimeMinutes float64
}

// UnjudgedNodes are spot nodes whose risk was not asked for within the hour, at most limit.
func (s *Store) UnjudgedNodes(ctx context.Context, limit int) ([]UnjudgedNode, error) {
	rows, err := s.q.NodeUnjudged(ctx, s.db, int32(limit))
	out := make([]UnjudgedNode, 0, len(rows))
	for _, row := range rows {
		out = append(out, UnjudgedNode{
			Cluster: row.ClusterID, Region: row.Region, Node: row.NodeName, InstanceID: row.InstanceID, Type: row.InstanceType,
			Zone: row.AvailabilityZone, HourlyPrice: row.HourlyPrice, UptimeMinutes: row.UptimeMinutes,
		})
	}
	return out, wrap("looking for", "nodes without a risk", err)
}

// Prediction is what ml said of a node's next 24 hours.
type Prediction struct {
	Node UnjudgedNode
	// Known is false when ml had no answer for it.
	Known bool
	// Probability that AWS takes the node within them.
	Probability float64
	// Model that said so: its version, fleet_record or spot_advisor.
	Model string
}

// KeepPredictions notes what was said, on the nodes and to be judged; of several in an hour
// the first is judged.
func (s *Store) KeepPredictions(ctx context.Context, said []Prediction) error {
	rows := centraldb.PredictionKeepParams{}
	for _, p := range said {
		rows.ClusterIds = append(rows.ClusterIds, p.Node.Cluster)
		rows.NodeNames = append(rows.NodeNames, p.Node.Node)
		rows.InstanceIds = append(rows.InstanceIds, p.Node.InstanceID)
		rows.Known = append(rows.Known, p.Known)
		rows.Probabilities = append(rows.Probabilities, p.Probability)
		rows.Models = append(rows.Models, p.Model)
	}
	return wrap("keeping", "predictions", s.q.PredictionKeep(ctx, s.db, rows))
}

// JudgePredictions finds out what became of those whose day is over, and returns of how many.
func (s *Store) JudgePredictions(ctx context.Context) (int, error) {
	n, err := s.q.PredictionJudge(ctx, s.db, atOnce)
	return int(n), wrap("judging", "predictions", err)
}

// PrunePredictions drops some of those that are older than 400 days.
func (s *Store) PrunePredictions(ctx context.Context) error {
	_, err := s.q.PredictionPrune(ctx, s.db, atOnce)
	return wrap("dropping", "old predictions", err)
}

// JudgedBin is judged predictions of one tenth of probability, from Bin ÷ 10 on.
type JudgedBin struct {
	Bin, Predictions, Interruptions int
	// Probability and SquaredError are sums.
	Probability, SquaredError float64
}

// JudgedBins are the judged predictions of the last days, by tenth; those without any are left out.
func (s *Store) JudgedBins(ctx context.Context, cluster, customer uuid.NullUUID, days int) ([]JudgedBin, error) {
	rows, err := s.q.PredictionBins(ctx, s.db, centraldb.PredictionBinsParams{Days: int32(days), CustomerID: customer, ClusterID: cluster})
	out := make([]JudgedBin, 0, len(rows))
	for _, row := range rows {
		out = append(out, JudgedBin{
			Bin: int(row.Bin), Predictions: int(row.Predictions), Interruptions: int(row.Interruptions), Probability: row.Probability,
			SquaredError: row.SquaredError,
		})
	}
	return out, wrap("reading", "predictions", err)
}

// SpotPools are the pools that the clusters use or used within 30 days, by nodes.
func (s *Store) SpotPools(ctx context.Context, cluster, customer uuid.NullUUID) ([]*adminv1.SpotPool, error) {
	rows, err := s.q.SpotPoolList(ctx, s.db, centraldb.SpotPoolListParams{CustomerID: customer, ClusterID: cluster, RiskSeconds: RiskFor.Seconds()})
	out := make([]*adminv1.SpotPool, 0, len(rows))
	for _, row := range rows {
		pool := &adminv1.SpotPool{
			Region: row.Region, AvailabilityZone: row.AvailabilityZone, InstanceType: row.InstanceType, Nodes: row.Nodes,
			SpotPrice: row.SpotPrice, OnDemandPrice: row.OnDemandPrice, RiskModel: row.RiskModel, Interruptions: row.Interruptions,
			NodeHours: row.NodeHours,
		}
		if row.RiskKnown {
			pool.InterruptionRisk = &row.Risk
		}
		if row.RefusedUntil.Unix() > 0 { // else it is not refused
			pool.RefusedUntil = timestamppb.New(row.RefusedUntil)
		}
		out = append(out, pool)
	}
	return out, wrap("listing", "spot pools", err)
}

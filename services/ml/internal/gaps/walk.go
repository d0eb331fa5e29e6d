package gaps

import (
	"context"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/gaps/series"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

// Why a gap is not filled.
const (
	label         = "label"
	deletion      = "deletion"
	noStart       = "no_start"
	noEnd         = "no_end"
	tooLittle     = "too_little_history"
	tooOld        = "too_old"
	noCredentials = "no_credentials"
)

// hole is a gap with what is known of it.
type hole struct {
	series.Gap
	cause, method, reason string
	// slots without a row, neither observed nor imputed.
	slots []int64
}

func (h hole) fillable() bool { return h.method != "" }

// look is what was found in one series.
type look struct {
	cover *mlv1.SeriesCoverage
	holes []hole
	// reports or prices: which of them it is of, and what filling needs.
	reports *reports
	prices  *prices
}

// walk looks at every series, one at a time: the reports of a cluster may be millions.
func (s *Server) walk(ctx context.Context, q *question, visit func(*look) error) error {
	clusters, err := s.Store.Clusters(ctx, q.cluster)
	if err != nil {
		return away(err)
	}
	for _, cluster := range clusters {
		found, err := s.lookAtReports(ctx, q, cluster)
		if err != nil {
			return away(err)
		}
		for _, l := range append([]*look{found}, unfilled(q, cluster)...) {
			if err := visit(l); err != nil {
				return err
			}
		}
	}
	pools, err := s.Store.PoolsUsed(ctx, q.cluster, q.start, q.end)
	if err != nil {
		return away(err)
	}
	tells := s.History != nil && len(pools) > 0 && s.History.Available(ctx)
	for _, pool := range pools {
		found, err := s.lookAtPrices(ctx, q, pool, tells)
		if err != nil {
			return away(err)
		}
		if err := visit(found); err != nil {
			return err
		}
	}
	return nil
}

// unfilled are series that are events: what was missed in a silence stays missed. A
// label that was made up would be learned as true, and so would a node's end.
func unfilled(q *question, cluster store.Cluster) []*look {
	events := &look{cover: &mlv1.SeriesCoverage{Series: "spot_events/" + cluster.ID.String()}}
	nodes := &look{cover: &mlv1.SeriesCoverage{Series: "nodes/" + cluster.ID.String()}}
	born := cluster.Created.UnixMilli()
	for _, s := range q.silencesOf(cluster.ID) {
		gap := series.Gap{Start: max(s.Since, born), End: s.Until}
		if gap.Length() <= 0 {
			continue
		}
		switch s.Kind {
		case series.CentralSilent:
			events.holes = append(events.holes, hole{Gap: gap, cause: series.Refused, reason: label})
			nodes.holes = append(nodes.holes, hole{Gap: gap, cause: series.Refused, reason: deletion})
		case series.AgentSilent:
			nodes.holes = append(nodes.holes, hole{Gap: gap, cause: series.AgentDown, reason: deletion})
		}
	}
	events.cover.Gaps, nodes.cover.Gaps = int32(len(events.holes)), int32(len(nodes.holes))
	return []*look{events, nodes}
}

func seconds(millis int64) float64 { return (time.Duration(millis) * time.Millisecond).Seconds() }

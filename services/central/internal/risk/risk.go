// Package risk asks ml how likely AWS takes each spot node, and judges what it said when the day is over.
package risk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// roundEvery is how soon a new node has a risk.
	roundEvery = 30 * time.Second
	// perRound bounds the nodes of one round; ml takes below a millisecond for one.
	perRound = 5000
	// atOnce is how many questions ml has at a time, askWithin how long it has for each.
	atOnce, askWithin = 8, 2 * time.Second
	// keepAtOnce is how many answers one statement writes.
	keepAtOnce = 1000
)

// Watch keeps the risk of all spot nodes fresh. Pages read it from the database, so that
// ml's silence makes it old and nothing slow.
type Watch struct {
	store *store.Store
	ml    mlv1.PredictionServiceClient
	log   *slog.Logger
}

// New makes a watch that asks ml.
func New(s *store.Store, ml mlv1.PredictionServiceClient, log *slog.Logger) *Watch {
	return &Watch{store: s, ml: ml, log: log}
}

// Run makes rounds until ctx ends; one replica makes each.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(roundEvery / 2)
	defer tick.Stop()
	var told string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := w.round(ctx)
		if trouble := fmt.Sprint(err); err != nil && ctx.Err() == nil && trouble != told { // once, not each round
			w.log.WarnContext(ctx, "asking for the risk of spot nodes; it grows old until that works", "error", err)
			told = trouble
		} else if err == nil {
			told = ""
		}
	}
}

func (w *Watch) round(ctx context.Context) error {
	mine, err := w.store.TakeTurn(ctx, "risk", roundEvery)
	if err != nil || !mine {
		return err
	}
	_, judged := w.store.JudgePredictions(ctx)
	return errors.Join(judged, w.Ask(ctx))
}

// Ask asks for the risk of the nodes that were not asked for within the hour, and keeps the answers.
func (w *Watch) Ask(ctx context.Context) error {
	nodes, err := w.store.UnjudgedNodes(ctx, perRound)
	if err != nil {
		return err
	}
	for len(nodes) > 0 {
		some := nodes[:min(len(nodes), keepAtOnce)]
		nodes = nodes[len(some):]
		said, failed := w.askAbout(ctx, some)
		if len(said) > 0 { // what was answered is kept, though the rest was not
			failed = errors.Join(failed, w.store.KeepPredictions(ctx, said))
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

// askAbout asks several questions at a time. The first that ml does not answer ends it: ml is
// away, and the rest is asked in the next round.
func (w *Watch) askAbout(ctx context.Context, nodes []store.UnjudgedNode) ([]store.Prediction, error) {
	var mu sync.Mutex
	var said []store.Prediction
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, node := range nodes {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			one, err := w.ask(ctx, node)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			said = append(said, one)
			return nil
		})
	}
	err := group.Wait()
	return said, err
}

func (w *Watch) ask(ctx context.Context, node store.UnjudgedNode) (store.Prediction, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req := &mlv1.PredictSpotInterruptionRequest{
		InstanceType: node.Type, Region: node.Region, AvailabilityZone: node.Zone, UptimeMinutes: &node.UptimeMinutes,
		HorizonMinutes: store.ForetoldFor.Minutes(),
	}
	if node.HourlyPrice > 0 {
		req.Price = &node.HourlyPrice
	}
	answer, err := w.ml.PredictSpotInterruption(ctx, req)
	switch reason := fault.ReasonOf(err); {
	case err == nil && answer.GetProbability() >= 0 && answer.GetProbability() <= 1 && !math.IsNaN(answer.GetProbability()):
		return store.Prediction{Node: node, Known: true, Probability: answer.GetProbability(), Model: model(answer)}, nil
	case err == nil, reason == faultv1.Reason_REASON_INVALID_REQUEST: // it will say no more about this node in an hour
		return store.Prediction{Node: node}, nil
	default:
		return store.Prediction{}, fmt.Errorf("asking ml about node %s: %w", node.Node, err)
	}
}

// model names what said it, as SpotPool.risk_model does.
func model(answer *mlv1.PredictSpotInterruptionResponse) string {
	switch answer.GetSource() {
	case "empirical_bayes":
		return "fleet_record"
	case "advisor_prior":
		return "spot_advisor"
	default:
		return answer.GetModelVersion()
	}
}

// Package savings is what was spent, what it would have cost, and what was saved.
package savings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// HoursPerMonth turns USD per hour into USD per month: 365 × 24 ÷ 12.
const HoursPerMonth = 730

const (
	priceEvery   = time.Second
	refreshEvery = time.Hour
	// A price that ml does not know now it will hardly know in a second.
	askAgain = time.Minute
)

// Book keeps the price of every node and adds up.
type Book struct {
	store  *store.Store
	market mlv1.MarketServiceClient
	log    *slog.Logger
}

// New makes a book that asks market for prices.
func New(s *store.Store, market mlv1.MarketServiceClient, log *slog.Logger) *Book {
	return &Book{store: s, market: market, log: log}
}

// Run prices new nodes within seconds, and all of them once an hour, until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	tick := time.NewTicker(priceEvery)
	defer tick.Stop()
	var refreshed time.Time
	var told string
	asked := questions{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		every := time.Since(refreshed) > refreshEvery
		err := b.priceDue(ctx, every, asked)
		if err == nil && every {
			refreshed = time.Now()
		}
		if trouble := fmt.Sprint(err); err != nil && ctx.Err() == nil && trouble != told { // once, not each second
			b.log.WarnContext(ctx, "pricing nodes; costs are incomplete until it works", "error", err)
			told = trouble
		} else if err == nil {
			told = ""
		}
	}
}

// questions says which prices ml was asked for, and when, without knowing them.
type questions map[store.UnpricedNode]time.Time

// due are the nodes that ml was not asked about within the last minute.
func (q questions) due(nodes []store.UnpricedNode, now time.Time) []store.UnpricedNode {
	maps.DeleteFunc(q, func(_ store.UnpricedNode, at time.Time) bool { return now.Sub(at) >= askAgain })
	return slices.DeleteFunc(slices.Clone(nodes), func(node store.UnpricedNode) bool {
		_, recent := q[node]
		return recent
	})
}

func (b *Book) priceDue(ctx context.Context, every bool, asked questions) error {
	nodes, err := b.store.UnpricedNodes(ctx, every)
	if err != nil {
		return err
	}
	if !every {
		nodes = asked.due(nodes, time.Now())
	}
	if err := b.price(ctx, nodes); err != nil {
		return err // to be asked again at once
	}
	for _, node := range nodes {
		asked[node] = time.Now()
	}
	return nil
}

// Price asks for the prices of nodes that have none, or of all.
func (b *Book) Price(ctx context.Context, every bool) error {
	nodes, err := b.store.UnpricedNodes(ctx, every)
	if err != nil {
		return err
	}
	return b.price(ctx, nodes)
}

func (b *Book) price(ctx context.Context, nodes []store.UnpricedNode) error {
	byRegion := map[string][]store.UnpricedNode{}
	for _, node := range nodes {
		byRegion[node.Region] = append(byRegion[node.Region], node)
	}
	var failed []error // one region's trouble is not another's
	for region, nodes := range byRegion {
		failed = append(failed, b.priceRegion(ctx, region, nodes))
	}
	return errors.Join(failed...)
}

func (b *Book) priceRegion(ctx context.Context, region string, nodes []store.UnpricedNode) error {
	types := map[string]bool{}
	req := &mlv1.ListPricesRequest{Region: region}
	for _, node := range nodes {
		if !types[node.Type] {
			types[node.Type] = true
			req.InstanceTypes = append(req.InstanceTypes, node.Type)
		}
	}
	resp, err := b.market.ListPrices(ctx, req)
	if err != nil {
		return fmt.Errorf("asking ml for prices in %s: %w", region, err)
	}
	type pool struct{ kind, zone string }
	known := map[pool]*mlv1.Price{}
	onDemand := map[string]float64{}
	for _, price := range resp.GetPrices() {
		known[pool{price.GetInstanceType(), price.GetAvailabilityZone()}] = price
		onDemand[price.GetInstanceType()] = max(onDemand[price.GetInstanceType()], price.GetOnDemand())
	}
	var priced []store.NodePrice
	for _, node := range nodes {
		hourly := onDemand[node.Type]
		if node.NodeType == "spot" {
			hourly = known[pool{node.Type, node.Zone}].GetSpot()
		}
		if hourly > 0 && onDemand[node.Type] > 0 {
			priced = append(priced, store.NodePrice{Cluster: node.Cluster, Node: node.Node, Hourly: hourly, OnDemand: onDemand[node.Type]})
		}
	}
	return b.store.SetNodePrices(ctx, priced)
}

// Savings of a customer's clusters, of one of them, or of all, as they are now.
//
// What an optimization saved is its cost before less its cost after, for as
// long as the nodes it launched run: with half of them gone, half of it counts.
// The baseline is what is paid now plus what is saved, so that paid + saved =
// baseline always holds.
func (b *Book) Savings(ctx context.Context, cluster, customer uuid.NullUUID) (*adminv1.GetSavingsResponse, error) {
	costs, err := b.store.Costs(ctx, cluster, customer)
	if err != nil {
		return nil, err
	}
	effects, err := b.store.Effects(ctx, cluster, customer)
	if err != nil {
		return nil, err
	}
	saved := map[uuid.UUID]float64{}
	for _, effect := range effects {
		saved[effect.Cluster] += counts(effect)
	}
	out := &adminv1.GetSavingsResponse{Timestamp: timestamppb.Now()}
	for _, cost := range costs {
		out.Clusters = append(out.Clusters, &adminv1.ClusterSavings{
			ClusterId: cost.Cluster.String(), ClusterName: cost.Name, CurrentCostPerHour: cost.Current,
			BaselineCostPerHour: cost.Current + saved[cost.Cluster], SavingsPerHour: saved[cost.Cluster],
		})
		out.CurrentCostPerHour += cost.Current
		out.SavingsPerHour += saved[cost.Cluster]
	}
	out.BaselineCostPerHour = out.CurrentCostPerHour + out.SavingsPerHour
	out.SavingsPerMonth = out.SavingsPerHour * HoursPerMonth
	if out.BaselineCostPerHour > 0 {
		out.SavingsRatio = out.SavingsPerHour / out.BaselineCostPerHour
	}
	return out, nil
}

// counts is how much of an optimization's saving still holds.
func counts(effect store.Effect) float64 {
	if effect.Launched == 0 { // it only took nodes away
		return effect.SavedPerHour
	}
	return effect.SavedPerHour * (effect.Alive / effect.Launched)
}

// ClusterState is the state with its baseline.
func (b *Book) ClusterState(ctx context.Context, cluster uuid.UUID, customer uuid.NullUUID) (*fleetv1.ClusterState, error) {
	state, err := b.store.ClusterState(ctx, cluster, customer)
	if err != nil {
		return nil, err
	}
	savings, err := b.Savings(ctx, uuid.NullUUID{UUID: cluster, Valid: true}, customer)
	if err != nil {
		return nil, err
	}
	state.BaselineCostPerHour = state.CurrentCostPerHour + savings.GetSavingsPerHour()
	return state, nil
}

// AddCosts writes what they cost into clusters of a customer, or of several.
func (b *Book) AddCosts(ctx context.Context, customer uuid.NullUUID, clusters []*adminv1.Cluster) error {
	savings, err := b.Savings(ctx, uuid.NullUUID{}, customer)
	if err != nil {
		return err
	}
	byID := map[string]*adminv1.ClusterSavings{}
	for _, cluster := range savings.GetClusters() {
		byID[cluster.GetClusterId()] = cluster
	}
	for _, cluster := range clusters {
		cluster.CurrentCostPerHour = byID[cluster.GetClusterId()].GetCurrentCostPerHour()
		cluster.BaselineCostPerHour = byID[cluster.GetClusterId()].GetBaselineCostPerHour()
	}
	return nil
}

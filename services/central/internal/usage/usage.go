// Package usage counts what containers used into histograms by the hour, and reads them back.
package usage

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/histogram"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// Keep is for how long histograms are kept: what ml takes.
	Keep = 100 * 24 * time.Hour

	// readBack leaves room for the hours of today.
	readBack = Keep - 48*time.Hour

	lookEvery    = 30 * time.Second
	hoursAtATime = 200
	// mostKills is what the contract takes of a container.
	mostKills = 1000
	mib       = 1 << 20
)

// Counter counts hours that are over. Any replica may run one: they share the clusters.
type Counter struct {
	Store *store.Store
	Log   *slog.Logger
}

// Run counts until ctx ends.
func (c Counter) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := c.count(ctx); err != nil && ctx.Err() == nil {
			c.Log.ErrorContext(ctx, "counting usage; it is counted later", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// count takes the hours that are due, as long as some come of it: what another replica has in
// hand, or what cannot be counted, comes again in the next round.
func (c Counter) count(ctx context.Context) error {
	for {
		hours, err := c.Store.UsageHoursDue(ctx, hoursAtATime)
		if err != nil {
			return err
		}
		counted := 0
		for _, hour := range hours {
			mine, err := c.Store.CountUsage(ctx, hour, func(day map[store.UsageKey]*mlv1.ContainerUsage, sample *fleetv1.ClusterUsage) {
				Count(day, hour.Start, sample)
			})
			if ctx.Err() != nil {
				return err
			}
			if err != nil {
				c.Log.ErrorContext(ctx, "counting usage; it is counted later", "cluster_id", hour.Cluster, "hour", hour.Start, "error", err)
			} else if mine {
				counted++
			}
		}
		if counted == 0 || len(hours) < hoursAtATime {
			return nil
		}
	}
}

// Count adds a sample to the hour of a day, or of any other stretch of time. Containers past
// store.MostContainers are left out.
func Count(day map[store.UsageKey]*mlv1.ContainerUsage, hour time.Time, sample *fleetv1.ClusterUsage) {
	for _, w := range sample.GetWorkloads() {
		for _, c := range w.GetContainers() {
			key := store.UsageKey{Namespace: w.GetNamespace(), Kind: w.GetKind(), Name: w.GetName(), Container: c.GetContainer()}
			one := day[key]
			if one == nil {
				if len(day) >= store.MostContainers {
					continue
				}
				one = &mlv1.ContainerUsage{}
				day[key] = one
			}
			one.Replicas, one.Requests, one.Limits = w.GetReplicas(), c.GetRequests(), c.GetLimits()
			one.Restarts += c.GetRestarts()
			addKills(one, c.GetOomKills(), c.GetMemoryBytes())
			at := hourOf(one, hour)
			histogram.Add(at.Cpu, float64(c.GetCpuMillicores()))
			histogram.Add(at.Memory, float64(c.GetMemoryBytes())/mib)
		}
	}
}

// hourOf is an hour of a container, made if it is not there, in its place.
func hourOf(one *mlv1.ContainerUsage, start time.Time) *mlv1.UsageHour {
	at, there := slices.BinarySearchFunc(one.Hours, start.Unix(), func(h *mlv1.UsageHour, seconds int64) int {
		return int(h.GetStart().GetSeconds() - seconds)
	})
	if !there {
		one.Hours = slices.Insert(one.Hours, at, &mlv1.UsageHour{
			Start: timestamppb.New(start), Cpu: &mlv1.UsageHistogram{}, Memory: &mlv1.UsageHistogram{},
		})
	}
	return one.Hours[at]
}

// addKills notes kills that are not known yet: an agent tells the last one again and again. Where
// there was no limit, what the container uses now stands for what it used then.
func addKills(one *mlv1.ContainerUsage, kills []*fleetv1.ContainerKill, usedNow int64) {
	for _, kill := range kills {
		memory := kill.GetLimitBytes()
		if memory == 0 {
			memory = max(usedNow, 1)
		}
		addKill(one, &mlv1.OutOfMemoryKill{Time: kill.GetTime(), MemoryBytes: memory})
	}
}

func addKill(one *mlv1.ContainerUsage, kill *mlv1.OutOfMemoryKill) {
	known := slices.ContainsFunc(one.OomKills, func(k *mlv1.OutOfMemoryKill) bool {
		return k.GetTime().GetSeconds() == kill.GetTime().GetSeconds()
	})
	if !known && len(one.OomKills) < mostKills {
		one.OomKills = append(one.OomKills, kill)
	}
}

// Read returns what a cluster's containers used, at most mostBytes of it: older days are left out
// first. What it says of a container besides is what was said last.
func Read(ctx context.Context, s *store.Store, cluster uuid.UUID, mostBytes int) ([]*mlv1.ContainerUsage, error) {
	all, size := map[store.UsageKey]*mlv1.ContainerUsage{}, 0
	open := func(hour time.Time, sample *fleetv1.ClusterUsage) { Count(all, hour, sample) }
	first := true
	err := s.UsageDays(ctx, cluster, time.Now().Add(-readBack), open, func(day map[store.UsageKey]*mlv1.ContainerUsage) bool {
		for _, one := range day {
			size += proto.Size(one)
		}
		if size > mostBytes && !first {
			return false
		}
		first = false
		for key, one := range day {
			merge(all, key, one)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	out := make([]*mlv1.ContainerUsage, 0, len(all))
	for key, one := range all {
		one.Namespace, one.Kind, one.Name, one.Container = key.Namespace, key.Kind, key.Name, key.Container
		out = append(out, one)
	}
	return out, nil
}

// merge adds an older day.
func merge(all map[store.UsageKey]*mlv1.ContainerUsage, key store.UsageKey, day *mlv1.ContainerUsage) {
	one := all[key]
	if one == nil {
		if len(all) < store.MostContainers {
			all[key] = day
		}
		return
	}
	one.Restarts += day.GetRestarts()
	for _, kill := range day.GetOomKills() {
		addKill(one, kill)
	}
	for _, hour := range day.GetHours() {
		at := hourOf(one, hour.GetStart().AsTime())
		histogram.Merge(at.Cpu, hour.GetCpu())
		histogram.Merge(at.Memory, hour.GetMemory())
	}
}
